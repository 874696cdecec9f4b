# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Debian's fence_redfish against sushy-tools' service, over TLS: each answer, one sentence."""

import pathlib
import re
import socket

import pytest

from hacore.fencing.identity import Identity
from hacore.fencing.programs import CA_BUNDLE
from hacore.states import PowerVerdict
from tests.fencing import IPMI_PASSWORD, PASSWORD
from tests.fencing.conftest import SETTINGS, Bmc, Operator
from tests.fencing.redfish_emulator import UUIDS
from tests.servers import free_port


def options(bmc: Bmc, **changes: str) -> dict[str, str]:
    return {
        "agent": "fence_redfish",
        "ip": "127.0.0.1",
        "ipport": str(bmc.port),
        "username": "admin",
        "password": PASSWORD,
        "systems_uri": f"/redfish/v1/Systems/{UUIDS[0]}",
        "identity": UUIDS[0],
        **changes,
    }


def without_identity(bmc: Bmc, **changes: str) -> dict[str, str]:
    found = options(bmc, **changes)
    del found["identity"]
    return found


def test_a_host_is_switched_off_and_proved(redfish: Bmc, operator: Operator) -> None:
    redfish.takes(1)
    outcome = operator.proves(options(redfish))
    assert outcome.sentences == ()
    (proof,) = outcome.proof
    assert not redfish.is_on()
    assert operator.ordered == ["bmc1"]
    assert [answer.verdict for answer in operator.answers] == [PowerVerdict.OFF]
    assert proof.ordered
    assert proof.identity == Identity(UUIDS[0], verified=True)
    first, second = proof.reads
    assert first.verdict == second.verdict == PowerVerdict.OFF
    assert second.moment - first.moment >= SETTINGS.confirm_delay_s
    assert re.fullmatch("[0-9a-f]{64}", second.digest)


def test_a_host_that_was_off_gets_no_order(redfish: Bmc, operator: Operator) -> None:
    redfish.switch(on=False)
    (proof,) = operator.proves(options(redfish)).proof
    assert operator.ordered == []
    assert not proof.ordered
    assert len(proof.reads) == 3
    span_s = proof.reads[-1].moment - proof.reads[0].moment
    assert span_s >= SETTINGS.confirm_delay_already_off_s


def test_a_host_that_restarts_is_switched_off(
    redfish: Bmc, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off at the first read, on at the second one: no proof until it was ordered."""
    redfish.switch(on=False)
    restarting = iter([True])
    real = operator._programs.guard.wait

    def wait(seconds: float) -> None:
        if seconds > 0.5 and next(restarting, False):
            redfish.switch(on=True)
        real(seconds)

    monkeypatch.setattr(operator._programs.guard, "wait", wait)
    (proof,) = operator.proves(options(redfish)).proof
    assert operator.ordered == ["bmc1"]
    assert proof.ordered
    assert len(proof.reads) == 2


def fails(operator: Operator, verdict: PowerVerdict, words: str, *classes: dict[str, str]) -> None:
    outcome = operator.proves(*classes)
    assert outcome.proof == ()
    assert [(answer.verdict) for answer in outcome.answers] == [verdict]
    (sentence,) = outcome.sentences
    assert re.fullmatch(
        rf"level 1: compute-1, device bmc1 \(fence_\w+ at \S+\): {words}\.", sentence
    ), sentence
    assert PASSWORD not in sentence
    assert IPMI_PASSWORD not in sentence


DENIED = (
    "it refuses the password or the rights of user admin; correct them there or in the file of "
    "devices"
)
UNREACHABLE = "it does not answer; check its address, its power and the network to it"
UNTRUSTED = (
    "its certificate cannot be verified, and it was given no password; put the certificate of its "
    "issuer into the file that REQUESTS_CA_BUNDLE names"
)
MISCONFIGURED = (
    "it does not know what it was asked for; check systems_uri, plug, cipher and privlvl"
)


def test_wrong_password(redfish: Bmc, operator: Operator) -> None:
    fails(operator, PowerVerdict.DENIED, DENIED, options(redfish, password="wrong"))
    assert operator.ordered == []


def test_wrong_password_as_the_agent_says_it(
    redfish: Bmc, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identity and agent log in each for itself."""
    skip_identity(monkeypatch)
    fails(operator, PowerVerdict.DENIED, DENIED, without_identity(redfish, password="wrong"))


def skip_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Identity(None, verified=False)
    monkeypatch.setattr("hacore.fencing.identity.check", lambda *_: nothing)


@pytest.mark.parametrize("by", ["identity", "agent"])
def test_wrong_system(
    redfish: Bmc, operator: Operator, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "agent":
        skip_identity(monkeypatch)
    wrong = without_identity(redfish, systems_uri="/redfish/v1/Systems/nowhere")
    fails(operator, PowerVerdict.MISCONFIGURED, MISCONFIGURED, wrong)


@pytest.mark.parametrize("by", ["identity", "agent"])
def test_wrong_certificate(
    redfish: Bmc,
    operator: Operator,
    certificates: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    if by == "agent":
        skip_identity(monkeypatch)
    monkeypatch.setenv(CA_BUNDLE, str(certificates / "other.crt"))
    fails(operator, PowerVerdict.UNTRUSTED, UNTRUSTED, without_identity(redfish))


@pytest.mark.parametrize("by", ["identity", "agent"])
def test_a_certificate_of_another_name(
    redfish: Bmc, operator: Operator, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "agent":
        skip_identity(monkeypatch)
    fails(operator, PowerVerdict.UNTRUSTED, UNTRUSTED, without_identity(redfish, ip="localhost"))


@pytest.mark.parametrize("by", ["identity", "agent"])
def test_nothing_listens(
    redfish: Bmc, operator: Operator, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "agent":
        skip_identity(monkeypatch)
    dead = without_identity(redfish, ipport=str(free_port()))
    fails(operator, PowerVerdict.UNREACHABLE, UNREACHABLE, dead)


def test_a_device_that_never_answers(redfish: Bmc, operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        mute = without_identity(redfish, ipport=str(listening.getsockname()[1]))
        fails(operator, PowerVerdict.UNREACHABLE, UNREACHABLE, mute)


KILLED = (
    f"it did not answer within {SETTINGS.deadline_s:g} s and the agent was killed; check its "
    "address, its power and the network to it"
)


def test_an_order_that_hangs(redfish: Bmc, operator: Operator) -> None:
    redfish.behaves("hang")
    fails(operator, PowerVerdict.UNREACHABLE, KILLED, options(redfish))
    assert [answer.verdict for answer in operator.answers] == [PowerVerdict.UNREACHABLE]


def test_an_order_that_is_accepted_and_ignored(redfish: Bmc, operator: Operator) -> None:
    redfish.behaves("ignore")
    still_on = "it took the order and the host is still on; switch it off by hand"
    fails(operator, PowerVerdict.ON, still_on, options(redfish))


def test_an_order_that_is_refused_with_an_error(redfish: Bmc, operator: Operator) -> None:
    redfish.behaves("refuse")
    error = "it answered with an error of its own; if that stays so, restart its BMC"
    fails(operator, PowerVerdict.UNREACHABLE, error, options(redfish))


def test_an_order_that_the_user_may_not_give(redfish: Bmc, operator: Operator) -> None:
    redfish.behaves("forbid")
    fails(operator, PowerVerdict.DENIED, DENIED, options(redfish))
    assert redfish.is_on()


def test_switched_on_again(redfish: Bmc, operator: Operator) -> None:
    operator.then = lambda: redfish.switch(on=True)
    again = "it was off and is on again; find out who switches it on"
    fails(operator, PowerVerdict.ON, again, options(redfish))


def test_the_wrong_box(redfish: Bmc, operator: Operator) -> None:
    other = options(redfish, systems_uri=f"/redfish/v1/Systems/{UUIDS[1]}")
    words = (
        f"it shows {UUIDS[1]}, not {UUIDS[0]}, which the file of devices names, so nothing was "
        f"switched; check which host is behind its address"
    )
    fails(operator, PowerVerdict.WRONG_BOX, words, other)
    assert operator.ordered == []
    assert redfish.is_on()


def test_an_identity_is_learned(redfish: Bmc, operator: Operator) -> None:
    answer, shown = operator.status(without_identity(redfish))
    assert answer.verdict == PowerVerdict.ON
    assert shown == Identity(UUIDS[0], verified=False)
    known = {answer.device.key: shown}
    (proof,) = operator.proves(without_identity(redfish), known=known).proof
    assert proof.identity == Identity(UUIDS[0], verified=False)


def test_a_box_that_was_swapped(redfish: Bmc, operator: Operator) -> None:
    known = {("compute-1", "bmc1"): Identity("a-serial-number", verified=True)}
    outcome = operator.proves(without_identity(redfish), known=known)
    (answer,) = outcome.answers
    assert answer.verdict == PowerVerdict.WRONG_BOX
    assert "not a-serial-number, which it has shown before" in answer.sentence


def test_a_password_of_a_script(redfish: Bmc, operator: Operator) -> None:
    by_script = options(redfish, password_script=f"echo {PASSWORD}; : {{host}}")
    del by_script["password"]
    assert operator.proves(by_script).proof
