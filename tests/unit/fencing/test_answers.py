# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What agents say, and what it means."""

import hashlib
import logging
import pathlib
import re

import pytest

from hacore.clock import SystemClock
from hacore.fencing.agents import ask, with_password
from hacore.fencing.answers import Answer, understood
from hacore.fencing.devices import Device
from hacore.fencing.programs import Ended, Programs
from hacore.states import PowerVerdict
from tests.unit.fencing.conftest import Box, Read, device_of


def of(device: Device, action: str, code: int | None, out: str = "", err: str = "") -> Answer:
    return understood(device, action, Ended(code, out, err), 40, SystemClock())


@pytest.mark.parametrize(
    ("action", "code", "out", "verdict", "already"),
    [
        ("status", 2, "Status: OFF\n", "off", False),
        ("status", 0, "Status: ON\n", "on", False),
        ("off", 0, "Success: Powered OFF\n", "off", False),
        ("off", 0, "Success: Already OFF\n", "off", True),
    ],
)
def test_words_and_code_agree(
    device: Device, action: str, code: int, out: str, verdict: str, already: bool
) -> None:
    answer = of(device, action, code, out)
    assert (answer.verdict, answer.already) == (verdict, already)
    assert answer.sentence == (f"compute-1, device fake (fence_fake at 10.0.0.1): it is {verdict}")


@pytest.mark.parametrize(
    ("action", "code", "out"),
    [
        ("status", 0, "Status: OFF\n"),
        ("status", 2, "Status: ON\n"),
        ("status", 2, ""),
        ("status", 1, "Status: OFF\n"),
        ("status", 2, "Success: Powered OFF\n"),
        ("status", 2, "Status: OFF\nStatus: ON\n"),
        ("status", 2, "Status: OFFLINE\n"),
        ("status", 2, "the Status: OFF\n"),
        ("off", 0, ""),
        ("off", 0, "Status: OFF\n"),
        ("off", 0, "Success: Rebooted\n"),
        ("off", 0, "Success: Powered ON\n"),
        ("off", 1, "Success: Powered OFF\n"),
        ("off", 2, "Success: Already OFF\n"),
    ],
)
def test_nothing_else_is_off(device: Device, action: str, code: int, out: str) -> None:
    assert of(device, action, code, out).verdict == PowerVerdict.UNKNOWN


def test_what_only_the_errors_say_is_no_state(device: Device) -> None:
    assert of(device, "status", 2, err="Status: OFF\n").verdict == PowerVerdict.UNKNOWN


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ('"GET /redfish/v1/Systems/1 HTTP/1.1" 401 None', "denied"),
        ('"POST /x HTTP/1.1" 403 12', "denied"),
        ("> RAKP 2 HMAC is invalid", "denied"),
        ("RAKP 2 message indicates an error : unauthorized name", "denied"),
        ("Set Chassis Power Control to Down/Off failed: Insufficient privilege level", "denied"),
        ("Set Session Privilege Level to ADMINISTRATOR failed", "denied"),
        (
            "Invalid completion code received: Insufficient privilege level\n"
            "Failed: Timed out waiting to power OFF",
            "on",  # what ipmitool asks beside is not the order
        ),
        ('"GET /redfish/v1/Systems/1 HTTP/1.1" 404 None', "misconfigured"),
        ("KeyError: '--password'", "misconfigured"),
        (
            "Error in open session response message : invalid authentication algorithm",
            "misconfigured",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "untrusted"),
        ('"POST /x HTTP/1.1" 503 1\nFailed: Timed out waiting to power OFF', "unreachable"),
        ("insufficient resources for session", "unreachable"),
        ("Max retries exceeded with url", "unreachable"),
        ("Connection timed out", "unreachable"),
        ("Address lookup for nowhere failed", "unreachable"),
        ("Unable to connect/login to fencing device", "unreachable"),
        ("Failed: Timed out waiting to power OFF", "on"),
        ("a new version says something new", "unknown"),
    ],
)
def test_why_an_agent_failed(
    read: Read, box: Box, programs: Programs, words: str, verdict: str
) -> None:
    box.set(mode="fails", words=f"2026-11-28 DEBUG: {words}\n")
    answer = ask(device_of(read, box), "off", 20, programs)
    assert answer.verdict == verdict
    assert ";" in answer.sentence, "it says what to do"


def test_what_is_not_understood_is_quoted(device: Device) -> None:
    assert of(device, "status", 7, err="first\nit is raining\n").sentence == (
        "compute-1, device fake (fence_fake at 10.0.0.1): its answer is not understood (exit 7: it "
        f"is raining); run {device.agent.program} by hand"
    )
    assert "(exit 7: nothing)" in of(device, "status", 7).sentence


def test_an_agent_that_dies(device: Device, box: Box, programs: Programs) -> None:
    box.set(mode="dies")
    answer = ask(device, "off", 20, programs)
    assert answer.verdict == PowerVerdict.UNKNOWN
    assert "(exit -6: nothing)" in answer.sentence


def test_a_digest_is_of_what_was_said_without_the_password(device: Device) -> None:
    answer = of(device, "status", 2, "Status: OFF\n", "Sent: s3cret")
    assert answer.digest == hashlib.sha256(b"2\nStatus: OFF\n\nSent: ***").hexdigest()


def test_a_password_that_an_agent_says_is_shown_nowhere(
    read: Read, box: Box, programs: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    box.set(mode="leaks")
    device = device_of(read, box, password="never-to-be-seen")
    answer = ask(device, "status", 20, programs)
    assert "Sent: ***" in answer.sentence
    assert "never-to-be-seen" not in repr(answer) + caplog.text


class TestPasswordScript:
    @pytest.fixture(autouse=True)
    def _parts(self, read: Read, box: Box, programs: Programs) -> None:
        self._read, self._box, self._programs = read, box, programs

    def resolved(self, script: str) -> Device | Answer:
        device = device_of(self._read, self._box, f"password_script = {script}\n", password="")
        return with_password(device, self._programs)

    @pytest.mark.parametrize("password", ["of-{host}", "a b", " padded", '"quoted"', "#x", "a=b"])
    def test_the_agent_gets_what_it_prints(self, password: str) -> None:
        device = self.resolved(f"printf %s '{password}'")
        assert isinstance(device, Device)
        ask(device, "status", 20, self._programs)
        (call,) = self._box.calls()
        expected = password.replace("{host}", "compute-1")
        assert call["given"]["password"] == f'"{expected}"'  # agents take the outer quotes off
        assert "password_script" not in call["given"]

    def test_it_is_shown_nowhere(self) -> None:
        self._box.set(mode="leaks")
        device = self.resolved("echo never-to-be-seen")
        assert isinstance(device, Device)
        answer = ask(device, "status", 20, self._programs)
        assert "never-to-be-seen" not in repr(device) + repr(answer)
        assert "***" in answer.sentence

    @pytest.mark.parametrize(
        ("script", "why"),
        [
            ("exit 3", "password_script ended with 3; run it by hand"),
            ("true", "password_script did not print one line; run it by hand"),
            (
                "printf 'a\\naction=reboot'",
                "password_script did not print one line; run it by hand",
            ),
        ],
    )
    def test_no_password_no_login(self, script: str, why: str) -> None:
        answer = self.resolved(script)
        assert isinstance(answer, Answer)
        assert answer.verdict == PowerVerdict.MISCONFIGURED
        assert answer.sentence.endswith(why)
        assert self._box.calls() == []


def test_each_verdict_is_explained() -> None:
    page = pathlib.Path(__file__).resolve().parents[3] / "doc" / "fencing.md"
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", page.read_text(), re.MULTILINE)
    assert set(rows) == {str(verdict) for verdict in PowerVerdict}
