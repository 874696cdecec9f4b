# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The devices of a cloud's hosts, as an engine uses them."""

import pytest

from hacore.db import orders, proofs
from hacore.engine.fencing import Fencing
from hacore.errors import ConfigError
from hacore.states import NotificationStatus as Status
from hacore.states import ProofKind
from tests.devices import Devices
from tests.world import World


@pytest.fixture
def devices(world: World) -> Devices:
    """Each host has a device."""
    world.devices = Devices(world.conf, world.cloud, "compute*")
    world.always_looks = True
    return world.devices


def cut_off(world: World) -> str:
    """Nova does not hear compute1, which has power, and is reported."""
    world.kill()
    return world.notify()


def held(world: World, notification: str) -> str:
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    return world.notification(notification).message or ""


@pytest.mark.usefixtures("devices")
def test_a_host_is_switched_off_proved_and_evacuated(world: World) -> None:
    servers = world.boot(2)
    notification = cut_off(world)
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    (order,) = world.cloud.bmcs.get("compute1").orders
    assert (order.user, order.power) == ("admin", "off")
    (proof,) = proofs.of_host(world.db, world.registered().uuid)
    assert (proof.kind, proof.void_at) == (ProofKind.POWER_OFF, None)
    assert orders.outstanding(world.db, world.registered().uuid) == []
    assert all(world.server(server).host != "compute1" for server in servers)


def test_a_wrong_password_moves_nothing_and_is_shown_to_nobody(
    world: World, devices: Devices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    devices.write("correct-horse")
    server, *_ = world.boot(1)
    notification = cut_off(world)
    world.engine()
    message = held(world, notification)
    assert "nothing proves that compute1 is off: level 1: compute1, device bmc" in message
    assert "hacore-manage host confirm-off compute1" in message
    assert world.server(server).host == "compute1"
    told = [message, *world.story(notification), caplog.text]
    assert not any("correct-horse" in text for text in told)


def test_never_means_that_no_host_is_switched_off(world: World, devices: Devices) -> None:
    assert devices
    world.conf.set_override("require_proof", "never", group="fencing")
    world.boot(1)
    notification = cut_off(world)
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    assert world.cloud.bmcs.get("compute1").orders == []


def test_a_file_that_becomes_wrong_is_not_taken(
    world: World, devices: Devices, caplog: pytest.LogCaptureFixture
) -> None:
    fencing = devices.fencing(world.clock)
    assert [[device.name for device in level] for level in fencing.levels("compute1")] == [["bmc"]]
    with open(world.conf.fencing.devices_file, "a") as file:
        file.write("nonsense = 1\n")
    assert len(fencing.levels("compute1")) == 1
    assert "The devices of before are used." in caplog.text


def test_two_hosts_with_one_device_are_refused(world: World, devices: Devices) -> None:
    with open(world.conf.fencing.devices_file, "a") as file:
        file.write("[bmc compute2]\nplug = compute1\n")
    fencing = devices.fencing(world.clock)
    with pytest.raises(ConfigError, match="compute1 have the same device"):
        fencing.check(["compute1", "compute2"])


def test_a_file_of_another_region_is_refused(world: World, devices: Devices) -> None:
    path = world.conf.fencing.devices_file
    with open(path, "a") as file:
        file.write("[hacore]\nregion = elsewhere\n")
    with pytest.raises(ConfigError, match="is for region elsewhere, and \\[nova\\] region_name is"):
        devices.fencing(world.clock).check([])


def test_without_a_file_there_are_none(world: World) -> None:
    fencing = Fencing(world.conf, world.clock)
    assert (fencing.levels("compute1"), fencing.needs_proof("compute1")) == ((), False)


@pytest.mark.usefixtures("devices")
def test_an_engine_does_not_switch_off_the_host_that_it_runs_on(world: World) -> None:
    world.conf.set_override("own_hosts", ["compute1"])
    world.boot(1)
    notification = cut_off(world)
    world.engine()
    assert "the only engine that is alive runs on compute1 itself" in held(world, notification)
    assert world.cloud.bmcs.get("compute1").orders == []
    world.conf.set_override("own_hosts", ["control1"])
    assert world.recover(notification).status == Status.FINISHED
