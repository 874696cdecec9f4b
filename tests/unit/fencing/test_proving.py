# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Levels, orders and reads; the devices are programs of the tests' own."""

import dataclasses
import pathlib

import pytest
from oslo_config import cfg

from hacore.clock import SystemClock
from hacore.errors import LeaseLost
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.identity import Identity
from hacore.fencing.programs import Programs
from hacore.fencing.proving import Outcome, Prover, Settings
from hacore.nova.retry import Unguarded
from hacore.states import PowerVerdict
from tests.unit.fencing.conftest import Agents, Box, Orders, Read, device_of, new_box

SETTINGS = Settings(20, 0.3, 1.0, False)


class Host:
    """compute-1 with two devices, each of them a box of its own."""

    def __init__(self, folder: pathlib.Path, read: Read, *, levels: tuple[int, int]) -> None:
        self.boxes = [new_box(folder / name) for name in ("one", "two")]
        text = ""
        for number, (box, level) in enumerate(zip(self.boxes, levels, strict=True), 1):
            text += (
                f"[fake{number}]\nhosts = compute-1\nagent = fence_fake\nip = 10.0.0.{number}\n"
                f"level = {level}\nplace = {box.place}\n"
            )
        self.levels = read(text).of("compute-1")
        self.orders = Orders()

    def prove(self, programs: Programs, settings: Settings = SETTINGS) -> Outcome:
        return Prover(settings, programs).prove(self.levels, self.orders, {}, {})


def names(outcome: Outcome) -> list[str]:
    return [proof.device.name for proof in outcome.proof]


@pytest.fixture
def two_levels(tmp_path: pathlib.Path, read: Read) -> Host:
    return Host(tmp_path, read, levels=(1, 2))


@pytest.fixture
def one_level(tmp_path: pathlib.Path, read: Read) -> Host:
    return Host(tmp_path, read, levels=(1, 1))


def prove(device: Device, programs: Programs, orders: Orders, **options: object) -> Outcome:
    settings = dataclasses.replace(SETTINGS, **options)
    return Prover(settings, programs).prove(((device,),), orders, {}, {})


def test_an_order_and_two_reads(device: Device, box: Box, programs: Programs) -> None:
    orders = Orders()
    outcome = prove(device, programs, orders)
    (proof,) = outcome.proof
    assert outcome.sentences == ()
    assert box.power == "off"
    assert box.actions() == ["status", "off", "status", "status"]
    assert orders.announced == ["('compute-1', 'fake')"]
    assert [answer.verdict for answer in orders.answers] == [PowerVerdict.OFF]
    assert proof.device == device
    assert proof.ordered
    first, second = proof.reads
    assert second.moment - first.moment >= SETTINGS.confirm_delay_s
    assert second.at > first.at
    assert first.digest == second.digest != ""


def test_no_order_where_it_is_refused(device: Device, box: Box, programs: Programs) -> None:
    with pytest.raises(LeaseLost):
        prove(device, programs, Orders(refuse=LeaseLost()))
    assert box.actions() == ["status"]
    assert box.power == "on"


def test_a_device_that_lies(device: Device, box: Box, programs: Programs) -> None:
    """It says off after the order, and the next read says on."""
    box.set(mode="lies")
    outcome = prove(device, programs, Orders())
    assert outcome.proof == ()
    assert outcome.sentences == (
        "level 1: compute-1, device fake (fence_fake at 10.0.0.1): it was off and is on again; "
        "find out who switches it on.",
    )


def test_on_again_at_the_second_read(device: Device, box: Box, programs: Programs) -> None:
    box.set(states="on off on")
    outcome = prove(device, programs, Orders())
    assert outcome.proof == ()
    assert box.actions() == ["status", "off", "status", "status"]


def test_off_before(device: Device, box: Box, programs: Programs) -> None:
    box.set(power="off")
    orders = Orders()
    (proof,) = prove(device, programs, orders).proof
    assert box.actions() == ["status"] * 3
    assert not proof.ordered
    assert orders.announced == []
    assert proof.reads[-1].moment - proof.reads[0].moment >= SETTINGS.confirm_delay_already_off_s


def test_off_between_the_read_and_the_order(device: Device, box: Box, programs: Programs) -> None:
    """The agent then sends nothing, and the host may be one that restarts."""
    box.set(power="off", states="on")
    (proof,) = prove(device, programs, Orders()).proof
    assert box.actions() == ["status", "off", *["status"] * 3]
    assert not proof.ordered
    assert proof.reads[-1].moment - proof.reads[0].moment >= SETTINGS.confirm_delay_already_off_s


def test_a_host_that_restarts_is_ordered(device: Device, box: Box, programs: Programs) -> None:
    box.set(states="off on")
    orders = Orders()
    (proof,) = prove(device, programs, orders).proof
    assert box.actions() == ["status", "status", "off", "status", "status"]
    assert proof.ordered
    assert len(proof.reads) == 2
    assert len(orders.announced) == 1


def status(device: Device, programs: Programs, ago_s: float) -> Answer:
    answer, _ = Prover(SETTINGS, programs).status(device)
    return dataclasses.replace(answer, moment=answer.moment - ago_s)


def test_reads_since_the_report_count(device: Device, box: Box, programs: Programs) -> None:
    box.set(power="off")
    earlier = {device.key: [status(device, programs, 40), status(device, programs, 20)]}
    settings = dataclasses.replace(SETTINGS, confirm_delay_already_off_s=30)
    (proof,) = Prover(settings, programs).prove(((device,),), Orders(), {}, earlier).proof
    assert len(proof.reads) == 3
    assert proof.reads[:2] == tuple(earlier[device.key])


def test_reads_before_one_that_said_on_do_not(device: Device, box: Box, programs: Programs) -> None:
    box.set(power="off", states="off off on off")
    earlier = {device.key: [status(device, programs, ago) for ago in (40, 30, 20, 10)]}
    (proof,) = Prover(SETTINGS, programs).prove(((device,),), Orders(), {}, earlier).proof
    assert proof.reads[0] == earlier[device.key][-1]


def test_the_next_level(two_levels: Host, programs: Programs) -> None:
    one, two = two_levels.boxes
    one.set(mode="fails", words="Max retries exceeded")
    outcome = two_levels.prove(programs)
    assert names(outcome) == ["fake2"]
    (sentence,) = outcome.sentences
    assert sentence.startswith("level 1: compute-1, device fake1 (fence_fake at 10.0.0.1): it does")
    assert two.power == "off"


def test_the_next_level_after_an_order_without_effect(two_levels: Host, programs: Programs) -> None:
    two_levels.boxes[0].set(mode="ignores")
    assert names(two_levels.prove(programs)) == ["fake2"]
    assert [answer.verdict for answer in two_levels.orders.answers] == ["on", "off"]


def test_one_level_is_enough(two_levels: Host, programs: Programs) -> None:
    assert names(two_levels.prove(programs)) == ["fake1"]
    assert two_levels.boxes[1].calls() == []


def test_no_level_proves(two_levels: Host, programs: Programs) -> None:
    for box in two_levels.boxes:
        box.set(mode="fails", words="Connection timed out")
    outcome = two_levels.prove(programs)
    assert outcome.proof == ()
    assert [sentence[:8] for sentence in outcome.sentences] == ["level 1:", "level 2:"]
    assert two_levels.orders.announced == []


def test_all_devices_of_a_level_prove(one_level: Host, programs: Programs) -> None:
    assert names(one_level.prove(programs)) == ["fake1", "fake2"]
    assert [box.power for box in one_level.boxes] == ["off", "off"]


def test_both_are_off_at_the_same_time(one_level: Host, programs: Programs) -> None:
    """Neither read of one is over before the other was ordered."""
    first, second = one_level.prove(programs).proof
    assert second.reads[0].moment < first.reads[-1].moment


def test_half_a_level_is_not_ordered(one_level: Host, programs: Programs) -> None:
    one_level.boxes[1].set(mode="fails", words="Connection timed out")
    outcome = one_level.prove(programs)
    assert outcome.proof == ()
    assert one_level.orders.announced == []
    assert one_level.boxes[0].power == "on"


def test_one_that_is_on_is_no_proof_by_the_other(one_level: Host, programs: Programs) -> None:
    one_level.boxes[1].set(mode="ignores")
    assert one_level.prove(programs).proof == ()


def test_no_device_no_proof(programs: Programs) -> None:
    assert Prover(SETTINGS, programs).prove((), Orders(), {}, {}) == Outcome()


def test_a_device_with_a_problem_is_not_asked(read: Read, box: Box, programs: Programs) -> None:
    device = dataclasses.replace(device_of(read, box), problem="it has one; correct it")
    outcome = prove(device, programs, Orders())
    assert [answer.verdict for answer in outcome.answers] == [PowerVerdict.MISCONFIGURED]
    assert box.calls() == []


@pytest.mark.parametrize(
    "host", ["c\naction=on", "c\n", "c=1", "c 1", "c*", "c[1]", "c$(reboot)", "c;reboot", "-c", ""]
)
def test_the_name_of_a_host_is_no_option(
    read: Read, box: Box, programs: Programs, host: str
) -> None:
    """It comes from the API, and the pattern covers it: no agent and no script is run for it."""
    devices = read(
        f"[fake]\nhosts = *\nagent = fence_fake\nip = {{host}}-bmc\nplace = {box.place}\n"
        f"username = u\npassword_script = touch {box.place}/{{host}}\n"
    )
    ((device,),) = devices.of(host)
    outcome = prove(device, programs, Orders())
    assert outcome.proof == ()
    assert f"the host name {host!r} cannot be used for fencing" in outcome.sentences[0]
    assert box.calls() == []
    assert {path.name for path in box.place.iterdir()} == {"power", "mode"}


def test_a_verified_identity_may_be_required(device: Device, box: Box, programs: Programs) -> None:
    outcome = prove(device, programs, Orders(), require_verified=True)
    (sentence,) = outcome.sentences
    assert sentence.endswith(
        "its identity is not verified, and [fencing] require_verified is set; write identity into "
        "[fake compute-1]."
    )
    assert box.calls() == []


class LostLater(Unguarded):
    """The lease is lost while the second read is waited for."""

    def wait(self, seconds: float) -> None:
        if seconds > 60:
            raise LeaseLost
        super().wait(seconds)


def test_no_proof_once_the_lease_is_lost(device: Device, box: Box) -> None:
    clock = SystemClock()
    with pytest.raises(LeaseLost):
        prove(device, Programs(clock, LostLater(clock)), Orders(), confirm_delay_s=90)
    assert box.actions() == ["status", "off", "status"]


def test_status_changes_nothing(device: Device, box: Box, programs: Programs) -> None:
    prover = Prover(SETTINGS, programs)
    answer, shown = prover.status(device)
    assert (answer.verdict, answer.device) == (PowerVerdict.ON, device)
    assert shown == Identity(None, verified=False)
    box.set(power="off")
    assert prover.status(device)[0].verdict == PowerVerdict.OFF
    assert box.actions() == ["status", "status"]


def test_a_password_of_a_script_is_not_in_a_proof(read: Read, box: Box, programs: Programs) -> None:
    more = "password_script = echo never-to-be-seen\n"
    device = device_of(read, box, more, password="")
    outcome = prove(device, programs, Orders())
    assert outcome.proof[0].device == device
    assert "never-to-be-seen" not in repr(outcome)
    assert box.calls()[-1]["given"]["password"] == '"never-to-be-seen"'


def test_settings_are_those_of_the_configuration(conf: cfg.ConfigOpts) -> None:
    conf.set_override("deadline", 12, group="fencing")
    conf.set_override("require_verified", True, group="fencing")
    assert Settings.of(conf.fencing) == Settings(12, 3, 30, True)


def test_an_agent_that_was_removed(device: Device, agents: Agents, programs: Programs) -> None:
    (agents.folder / "fence_fake").unlink()
    (answer,) = prove(device, programs, Orders()).answers
    assert answer.verdict == PowerVerdict.MISCONFIGURED
    assert "cannot be run" in answer.sentence
    assert answer.sentence.endswith("; install it again")


def test_a_script_without_password_switches_nothing(
    read: Read, box: Box, programs: Programs
) -> None:
    device = device_of(read, box, "password_script = exit 1\n", password="")
    orders = Orders()
    (answer,) = prove(device, programs, orders).answers
    assert answer.verdict == PowerVerdict.MISCONFIGURED
    assert orders.announced == []
    assert Prover(SETTINGS, programs).status(device)[0].verdict == PowerVerdict.MISCONFIGURED
    assert box.calls() == []
