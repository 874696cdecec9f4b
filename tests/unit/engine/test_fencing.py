# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The devices of a cloud's hosts, as an engine uses them."""

from pathlib import Path

import pytest

from hacore.db import orders, proofs
from hacore.db.models import Base
from hacore.engine.fencing import Fencing
from hacore.engine.flows import Flows
from hacore.errors import ConfigError
from hacore.states import NotificationStatus as Status
from hacore.states import ProofKind
from tests.devices import Devices
from tests.unit.engine.test_flows import configure, install
from tests.unit.engine.test_proofs import MAIN, POST
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
    assert not any("correct-horse" in text for text in [*everything_stored(world), caplog.text])
    assert world.told
    assert "correct-horse" not in repr(world.told)


def everything_stored(world: World) -> list[str]:
    """Each row of each table, which is all that an API can show."""
    with world.db.read() as session:
        return [
            str(row)
            for table in Base.metadata.sorted_tables
            for row in session.execute(table.select())
        ]


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


#: Says in the history what the host is before it goes on.
LOOKS = """
from hacore.tasks.base import Task

class Looks(Task):
    def execute(self, host_name):
        proof = self.context.gates.proof()
        down = self.novaclient.service(host_name).forced_down
        self.update_details(f"{host_name}: {proof.kind if proof else 'no proof'}, {down}.")
"""


@pytest.fixture
def fences_first(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A step of the operator's own needs the host off, and comes before the one that disables."""
    install(monkeypatch, tmp_path, LOOKS, "Looks")
    pre = ["fence_compute_host_task", "looks", "disable_compute_service_task"]
    configure(world.conf, pre=pre, main=MAIN, post=POST)


@pytest.mark.usefixtures("fences_first", "devices")
def test_a_step_that_comes_first_does_all_of_the_order(world: World) -> None:
    servers = world.boot(2)
    notification = cut_off(world)
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    assert "compute1: power_off, True." in world.story(notification)
    assert [order.power for order in world.cloud.bmcs.get("compute1").orders] == ["off"]
    assert len(proofs.of_host(world.db, world.registered().uuid)) == 1
    assert "nova-compute on compute1 is already disabled" in " ".join(world.story(notification))
    assert all(world.server(server).host != "compute1" for server in servers)


@pytest.mark.usefixtures("fences_first", "devices")
def test_a_step_that_comes_first_is_held_without_a_proof(world: World) -> None:
    (server,) = world.boot(1)
    world.cloud.bmcs.change("compute1", {"mode": "dead"})
    notification = cut_off(world)
    world.engine()
    assert "nothing proves that compute1 is off: level 1: " in held(world, notification)
    assert not any(line.startswith("compute1: ") for line in world.story(notification))
    assert world.server(server).host == "compute1"


@pytest.mark.usefixtures("fences_first")
def test_a_step_that_comes_first_leaves_a_host_without_device_to_the_next_one(
    world: World,
) -> None:
    world.boot(1)
    notification = cut_off(world)
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    story = world.story(notification)
    assert "compute1 has no fencing device; it is not switched off." in story
    assert "compute1: no proof, False." in story


@pytest.mark.usefixtures("devices")
def test_a_list_that_leaves_the_devices_alone_is_refused(world: World) -> None:
    configure(world.conf, main=["prepare_HA_enabled_instances_task", "evacuate_instances_task"])
    with pytest.raises(ConfigError) as caught:
        Flows(world.conf)
    assert str(caught.value) == (
        "[taskflow_driver_recovery_flows] host_auto_failure_recovery_tasks: no task has the host "
        "switched off, and [fencing] devices_file is set; add disable_compute_service_task, or "
        "fence_compute_host_task before it."
    )
    world.conf.set_override("require_proof", "never", group="fencing")
    Flows(world.conf)
    world.conf.set_override("require_proof", "configured", group="fencing")
    world.conf.set_override("devices_file", "", group="fencing")
    Flows(world.conf)
