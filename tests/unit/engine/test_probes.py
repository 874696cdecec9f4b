# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Probes of fencing devices: what does not work is found by day."""

import threading
import uuid

import pytest

from hacore.db import devices as rows
from hacore.db import interventions, orders
from hacore.db.devices import Seen
from hacore.engine.context import EngineContext
from hacore.engine.probes import Probes
from hacore.engine.watch import Watch
from hacore.nova import Nova
from hacore.states import NotificationStatus as Status
from tests.devices import Devices
from tests.world import World

#: Between two probes.
INTERVAL_S = 600.0
OTHER = str(uuid.UUID(int=0xC0FFEE_0123_4567_89AB_CDEF))


@pytest.fixture
def devices(world: World) -> Devices:
    """Each host has a device that shows which box it is in; two hosts are registered."""
    world.devices = Devices(world.conf, world.cloud, "compute*", with_identity=True)
    world.always_looks = True
    world.conf.set_override("probe_interval", int(INTERVAL_S), group="fencing")
    world.conf.set_override("report_interval", 60.0, group="nova")
    world.host("compute1")
    world.host("compute2")
    return world.devices


class Prober:
    """An engine that does nothing but look at heartbeats and probe."""

    def __init__(self, world: World, name: str = "prober") -> None:
        assert world.devices is not None
        self._world = world
        nova = Nova(world.conf, clock=world.clock, http=world.http_of(name))
        watch = Watch(world.conf, world.db, nova, world.clock, name)
        context = EngineContext(
            world.conf,
            world.db,
            nova,
            world.clock,
            world.pool_of(name),
            watch,
            world.devices.fencing(world.clock),
        )
        self.stopped = threading.Event()
        probes = Probes(context, name)
        world.clock.spawn(name, watch.run, threading.Event())
        world.clock.spawn(name, probes.run, self.stopped)

    def for_s(self, seconds: float) -> None:
        """Let time pass."""
        end = self._world.clock.monotonic() + seconds
        self._world.clock.run(lambda: self._world.clock.monotonic() >= end, seconds + 60)


def cut_off(world: World) -> str:
    """Nova does not hear compute1, which has power, and is reported; an engine recovers it."""
    world.conf.set_override("report_interval", 1.0, group="nova")
    world.boot(1)
    world.kill()
    notification = world.notify()
    world.engine()
    return notification


def seen(world: World, host: str = "compute1") -> Seen:
    (one,) = rows.of_host(world.db, host)
    return one


def identity(world: World, host: str = "compute1") -> str:
    return world.cloud.bmcs.identity(world.cloud.bmcs.get(host))


def reads(caplog: pytest.LogCaptureFixture, host: str = "compute1") -> int:
    """How often the device of a host was asked for its state."""
    return sum(f"status of {host}" in record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("devices")
def test_each_device_of_a_registered_host_is_probed_once_in_an_interval(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "hacore.fencing.agents")
    prober = Prober(world)
    prober.for_s(120)
    found = rows.all_of(world.db)
    assert [(each.host, each.device, each.verdict, each.can_off) for each in found] == [
        ("compute1", "bmc", "on", "yes"),
        ("compute2", "bmc", "on", "yes"),
    ]
    assert seen(world).identity == identity(world)
    assert not seen(world).verified
    prober.for_s(3 * INTERVAL_S)
    # the first one comes at once, all others at the device's own moment of it
    assert [reads(caplog, host) for host in ("compute1", "compute2")] == [4, 4]
    assert [each.message for each in rows.history(world.db, "compute1")] == [
        "compute1, device bmc (fence_ipmilan at compute1): it is on; its identity is "
        f"{identity(world)}."
    ]


def test_0_means_never(world: World, devices: Devices) -> None:
    assert devices
    world.conf.set_override("probe_interval", 0, group="fencing")
    Prober(world).for_s(600)
    assert rows.all_of(world.db) == []


@pytest.mark.usefixtures("devices")
def test_one_engine_probes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "hacore.fencing.agents")
    first, _second = Prober(world, "a"), Prober(world, "b")
    first.for_s(120)
    assert reads(caplog) == 1


@pytest.mark.usefixtures("devices")
def test_a_change_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    prober = Prober(world)
    prober.for_s(120)
    world.cloud.bmcs.get("compute1").mode = "dead"
    prober.for_s(3 * INTERVAL_S)
    assert seen(world).verdict == "unreachable"
    assert seen(world).identity == identity(world)  # what it was known by stays
    (line,) = [
        r for r in caplog.records if "compute1, device" in r.message and r.levelname != "INFO"
    ]
    assert line.levelname == "WARNING"
    assert line.getMessage().endswith("(unreachable)")
    world.cloud.bmcs.get("compute1").mode = "normal"
    prober.for_s(INTERVAL_S)
    assert [each.verdict for each in rows.history(world.db, "compute1")] == [
        "on",
        "unreachable",
        "on",
    ]


def test_a_refused_login_is_tried_twice(
    world: World, devices: Devices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "hacore.engine.probes")
    devices.write("correct-horse")
    prober = Prober(world)
    prober.for_s(3 * INTERVAL_S)
    assert (seen(world).verdict, seen(world).denials) == ("denied", 2)
    probed_at = seen(world).probed_at
    prober.for_s(2 * INTERVAL_S)
    assert seen(world).probed_at == probed_at
    devices.write("admin")
    prober.for_s(120)
    assert (seen(world).verdict, seen(world).denials) == ("on", 0)
    assert "correct-horse" not in caplog.text


def test_a_retry_begins_anew(world: World, devices: Devices) -> None:
    devices.write("wrong")
    prober = Prober(world)
    notification = world.notify(status=Status.FAILED)
    prober.for_s(3 * INTERVAL_S)
    assert seen(world).denials == 2
    interventions.try_again(world.db, notification, "alice", 10 * INTERVAL_S)
    assert seen(world).denials == 0


@pytest.mark.usefixtures("devices")
def test_another_box_is_the_wrong_one_until_a_person_accepts_it(world: World) -> None:
    prober = Prober(world)
    prober.for_s(120)
    before = identity(world)
    world.cloud.bmcs.get("compute1").identity = OTHER
    prober.for_s(INTERVAL_S)
    assert seen(world).verdict == "wrong_box"
    assert f"it shows {OTHER}, not {before}, which it has shown before" in str(seen(world).sentence)
    assert seen(world).identity == before

    assert rows.accept(world.db, "compute1", "bmc", OTHER, "alice") == before

    prober.for_s(INTERVAL_S)
    assert (seen(world).verdict, seen(world).accepted_by) == ("on", "alice")
    accepted = next(each for each in rows.history(world.db, "compute1") if each.by)
    assert (accepted.by, accepted.identity_before, accepted.identity) == ("alice", before, OTHER)


@pytest.mark.usefixtures("devices")
def test_a_recovery_uses_what_was_learned(world: World) -> None:
    Prober(world).for_s(120)
    world.cloud.bmcs.get("compute1").identity = OTHER
    notification = cut_off(world)
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    message = world.notification(notification).message or ""
    assert "which it has shown before, so nothing was switched" in message
    assert world.cloud.bmcs.get("compute1").orders == []


@pytest.mark.usefixtures("devices")
def test_one_box_of_two_hosts_switches_neither(world: World) -> None:
    world.cloud.bmcs.get("compute2").identity = identity(world)
    prober = Prober(world)
    prober.for_s(2 * INTERVAL_S)
    assert [seen(world, host).verdict for host in ("compute1", "compute2")] == ["wrong_box"] * 2
    assert f"it shows {identity(world)}, and so does the device of compute2" in str(
        seen(world).sentence
    )
    notification = cut_off(world)
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    assert "so does the device of compute2" in (world.notification(notification).message or "")
    assert world.cloud.bmcs.get("compute1").orders == []
    # it is found out which of them is wrong
    world.cloud.bmcs.get("compute2").identity = None
    prober.for_s(2 * INTERVAL_S)
    assert seen(world, "compute2").verdict == "on"
    assert seen(world).identity != seen(world, "compute2").identity


@pytest.mark.usefixtures("devices")
def test_a_device_that_says_off_while_nova_hears_its_host_is_another_hosts(world: World) -> None:
    """That of compute1 switches compute3, and compute3 is off."""
    bmc = world.cloud.bmcs.get("compute1")
    bmc.box, bmc.identity = "compute3", OTHER
    world.cloud.bmcs._switch("compute3", False)
    prober = Prober(world)
    prober.for_s(2 * INTERVAL_S)
    assert seen(world).verdict == "wrong_box"
    assert "it said off while Nova heard compute1" in str(seen(world).sentence)
    # compute1 is cut off now, and lives: what its device says proves nothing
    notification = cut_off(world)
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    assert "it said off while Nova heard compute1" in (
        world.notification(notification).message or ""
    )


@pytest.mark.usefixtures("devices")
def test_a_host_that_is_switched_off_has_no_wrong_device(world: World) -> None:
    prober = Prober(world)
    prober.for_s(120)
    world.cloud.bmcs._switch("compute1", False)
    prober.for_s(INTERVAL_S)
    assert seen(world).verdict == "off"


def test_a_device_that_is_taken_out_of_the_file_keeps_its_identity(
    world: World, devices: Devices
) -> None:
    prober = Prober(world)
    prober.for_s(120)
    devices.classes = {"bmc": {"hosts": "compute2"}}
    devices.write("admin")
    prober.for_s(120)
    assert [each.host for each in rows.all_of(world.db)] == ["compute2"]
    world.cloud.bmcs.get("compute1").identity = OTHER
    devices.classes = {"bmc": {"hosts": "compute*"}}
    devices.write("admin")
    prober.for_s(2 * INTERVAL_S)
    assert seen(world).verdict == "wrong_box"


@pytest.mark.usefixtures("devices")
def test_what_the_file_names_is_not_learned(world: World, devices: Devices) -> None:
    devices.write("admin", f"[bmc compute1]\nidentity = {identity(world).upper()}\n")
    Prober(world).for_s(120)
    assert (seen(world).identity, seen(world).verified) == (identity(world).upper(), True)


@pytest.mark.usefixtures("devices")
def test_one_talks_to_a_device_at_a_time(world: World) -> None:
    assert rows.take(world.db, "compute1", "bmc", "somebody", 100)
    assert not rows.take(world.db, "compute1", "bmc", "another", 100)
    assert rows.take(world.db, "compute2", "bmc", "another", 100)
    began = world.clock.monotonic()
    notification = cut_off(world)
    assert world.recover(notification).status == Status.FINISHED  # who is frozen loses its turn
    (order,) = world.cloud.bmcs.get("compute1").orders
    assert order.at >= 100 > began
    assert orders.outstanding(world.db, world.registered().uuid) == []


@pytest.mark.usefixtures("devices")
def test_a_turn_is_given_back_by_who_has_it(world: World) -> None:
    assert rows.take(world.db, "compute1", "bmc", "a", 100)
    rows.give_back(world.db, "compute1", "bmc", "b")
    assert not rows.take(world.db, "compute1", "bmc", "b", 100)
    rows.give_back(world.db, "compute1", "bmc", "a")
    assert rows.take(world.db, "compute1", "bmc", "b", 100)


@pytest.mark.usefixtures("devices")
def test_who_takes_a_recovery_over_has_its_turn_at_once(world: World) -> None:
    assert rows.take(world.db, "compute1", "bmc", "n1/1/x", 100)
    assert not rows.take(world.db, "compute1", "bmc", "n1/1/y", 100)
    assert not rows.take(world.db, "compute1", "bmc", "n2/1/x", 100)
    assert rows.take(world.db, "compute1", "bmc", "n1/2/z", 100)
    rows.give_back(world.db, "compute1", "bmc", "n1/1/x")
    assert not rows.take(world.db, "compute1", "bmc", "probe", 100)
