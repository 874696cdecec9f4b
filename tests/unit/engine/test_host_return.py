# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host that died is brought back into service."""

from typing import Any

import pytest
import sqlalchemy as sa

from hacore.db import operation_claims, operations
from hacore.db.models import Host, Notification, Operation
from hacore.errors import Conflict, LeaseLost
from hacore.states import NotificationStatus, OperationStatus, OperationType
from hacore_sandbox.model import Migration
from tests.world import World

FINISHED, FAILED, WAITING, PAUSED = (
    OperationStatus.FINISHED,
    OperationStatus.FAILED,
    OperationStatus.WAITING,
    OperationStatus.PAUSED,
)


@pytest.fixture
def world(world: World) -> World:
    """Engines look at heartbeats all the time."""
    world.always_looks = True
    world.conf.set_override("force_down", "always", "host_failure")
    return world


def died(world: World, **values: Any) -> list[str]:
    """Compute1 has died, and was recovered from; returns its instances."""
    host = world.host(**values)
    uuids = world.boot(2)
    world.engine()
    world.clock.run(lambda: world.clock.monotonic() > 10)  # it has been heard
    world.kill()
    ended = world.recover(world.notify(host.name))
    assert ended.status == NotificationStatus.FINISHED
    return uuids


def revive(world: World) -> None:
    world.control("POST", "/hosts/compute1/revive")


def ask(world: World, name: str = "compute1", **options: Any) -> str:
    """An operator asks for the return of a host."""
    row = operations.create(
        world.db, world.registered(name).uuid, OperationType.RETURN, "alice", None, options
    )
    world.wake()
    return str(row.uuid)


def operation(world: World, uuid: str) -> Operation:
    return operations.read(world.db, uuid).operation


def story(world: World, uuid: str) -> list[str]:
    return [each.message for each in operations.read(world.db, uuid).entries if each.message]


def ends(world: World, uuid: str, limit_s: float = 3600) -> Operation:
    """Let the world go on until the operation has ended; return it."""
    over = (FINISHED, FAILED)
    world.clock.run(lambda: operation(world, uuid).status in over, limit_s)
    return operation(world, uuid)


def becomes(world: World, uuid: str, status: OperationStatus, limit_s: float = 600) -> None:
    world.clock.run(lambda: operation(world, uuid).status == status, limit_s)


def test_a_host_that_is_back_is_in_service_again(world: World) -> None:
    died(world)
    service = world.service()
    assert (service.disabled, service.forced_down) == (True, True)
    revive(world)
    ended = ends(world, ask(world))
    assert (ended.status, ended.message) == (FINISHED, "compute1 is in service again.")
    assert (service.disabled, service.forced_down) == (False, False)
    host = world.registered()
    assert (host.on_maintenance, host.maintenance_by, host.disabled_by) == (False, None, None)


def test_a_host_that_is_not_heard_is_waited_for_without_a_claim(world: World) -> None:
    died(world)
    uuid = ask(world)
    becomes(world, uuid, WAITING)
    row = operation(world, uuid)
    assert row.message == "Nova does not hear compute1: start the host and its nova-compute."
    assert row.lease_until is None
    assert world.service().disabled
    revive(world)
    assert ends(world, uuid).status == FINISHED
    # however often it was looked at
    assert sum("does not hear" in line for line in story(world, uuid)) == 1


def test_a_host_that_never_comes_back_is_given_up(world: World) -> None:
    died(world)
    ended = ends(world, ask(world))
    assert (ended.status, ended.message) == (
        FAILED,
        "Given up: compute1 was not brought back within 30 min.",
    )
    service = world.service()
    assert (service.disabled, service.forced_down) == (True, True)
    assert world.registered().on_maintenance


def test_a_running_and_a_held_recovery_refuse_it(world: World) -> None:
    host = world.host()
    notification = world.notify()
    with pytest.raises(Conflict, match=f"is due; wait for its end, or abandon .* {notification}"):
        ask(world, host.name)
    with world.db.write() as session:
        held = {"status": NotificationStatus.ERROR, "held_rule": "pause", "attempt": 1}
        session.execute(sa.update(Notification.__table__).values(held))
    with pytest.raises(Conflict, match=r"is held \(pause\); abandon recovery"):
        ask(world, host.name)


def test_a_report_that_it_has_started_is_no_recovery(world: World) -> None:
    died(world)
    revive(world)
    uuid = ask(world)
    started = {"event": "STARTED", "host_status": "NORMAL", "cluster_status": "ONLINE"}
    assert world.recover(world.notify(payload=started)).status == NotificationStatus.FINISHED
    assert ends(world, uuid).status == FINISHED


def test_one_at_a_time(world: World) -> None:
    world.host()
    uuid = ask(world)
    with pytest.raises(Conflict, match=rf"while operation {uuid} \(return\) of it has not ended"):
        ask(world)


def record_of(world: World, instance_uuid: str) -> Migration:
    (record,) = world.cloud.state.migrations_of[instance_uuid]
    return record


def test_a_record_that_stays_done_stops_it(world: World) -> None:
    uuid, other = died(world)
    revive(world)
    world.clock.run(lambda: record_of(world, uuid).status == "completed")
    record_of(world, uuid).status = "done"  # as Nova's destination may write it afterwards
    ended = ends(world, ask(world))
    number = record_of(world, uuid).id
    assert (ended.status, ended.message) == (
        FAILED,
        f"compute1 may still run instances that were evacuated (evacuation {number} of instance "
        f"{uuid} is done): restart nova-compute on compute1 once more, then return it again.",
    )
    service = world.service()
    assert (service.disabled, service.forced_down) == (True, True)
    assert world.registered().on_maintenance
    assert record_of(world, other).status == "completed"
    world.kill()
    revive(world)
    assert ends(world, ask(world)).status == FINISHED


def test_an_open_record_whose_instance_has_arrived_is_named(world: World) -> None:
    uuid, _ = died(world)
    revive(world)
    world.clock.run(lambda: record_of(world, uuid).status == "completed")
    record_of(world, uuid).status = "accepted"
    ended = ends(world, ask(world))
    assert ended.status == FINISHED
    assert f"of instance {uuid} is still accepted in Nova" in (ended.message or "")


def test_what_a_person_disabled_stays_disabled(world: World) -> None:
    died(world)
    world.service().disabled_reason = "fan is broken"
    revive(world)
    ended = ends(world, ask(world))
    assert ended.status == FINISHED
    assert "stays disabled, which was not done by hacore (fan is broken)" in (ended.message or "")
    assert world.service().disabled
    host = world.registered()
    assert not host.on_maintenance
    assert host.disabled_by is not None


def test_a_reserved_host_is_reserved_again(world: World) -> None:
    died(world, reserved=True)
    assert not world.registered().reserved
    revive(world)
    assert ends(world, ask(world)).status == FINISHED
    assert world.registered().reserved


def test_a_host_whose_nova_compute_had_died(world: World) -> None:
    world.host()
    world.engine()
    stopped = {"event": "STOPPED", "process_name": "nova-compute"}
    world.recover(world.notify(type="PROCESS", payload=stopped))
    assert world.service().disabled
    assert ends(world, ask(world)).status == FINISHED
    assert not world.service().disabled
    assert not world.registered().on_maintenance


# --------------------------------------------------- the host fails once more


def back(world: World) -> str:
    """Its return has begun, and waits for the operator's own check."""
    died(world)
    revive(world)
    world.conf.set_override("ready_command", "false", "host_return")
    world.conf.set_override("wait_period_after_service_update", 600)
    uuid = ask(world)
    world.clock.run(lambda: any("as up" in line for line in story(world, uuid)))
    assert not world.service().forced_down
    return uuid


def test_its_recovery_goes_first_and_ends_the_return(world: World) -> None:
    uuid = back(world)
    new = world.boot(1)
    world.kill()
    notification = world.notify()
    becomes(world, uuid, PAUSED, limit_s=30)
    ended = ends(world, uuid)
    assert ended.status == FAILED
    assert ended.message == (
        "Its host failed meanwhile, and the recovery took over (notification "
        f"{notification}); begin again once the host is repaired."
    )
    assert world.recover(notification).status == NotificationStatus.FINISHED
    assert world.server(new[0]).host != "compute1"
    assert world.registered().on_maintenance


def test_a_false_alarm_gives_it_back(world: World) -> None:
    uuid = back(world)
    world.conf.set_override("max_recovery_attempts", 1)
    world.conf.set_override("wait_period_after_service_update", 30)
    notification = world.notify()
    becomes(world, uuid, PAUSED, limit_s=30)
    assert world.recover(notification).status == NotificationStatus.IGNORED
    world.conf.set_override("ready_command", "true", "host_return")
    assert ends(world, uuid).status == FINISHED
    assert any("the recovery was ignored" in line for line in story(world, uuid))
    assert not world.service().disabled


def test_the_engine_of_a_paused_one_writes_nothing_more(world: World) -> None:
    world.host()
    ask(world)
    claim = operation_claims.claim(world.db, "x", 60)
    assert claim is not None
    world.notify()
    world.engine()
    becomes(world, claim.uuid, PAUSED)
    with pytest.raises(LeaseLost):
        operation_claims.finish(world.db, claim, FINISHED, "late")


# ------------------------------------------------------------ what goes wrong


def test_a_return_that_fails_leaves_the_host_as_it_was(world: World) -> None:
    died(world)
    revive(world)
    world.conf.set_override("ready_command", "sh -c 'echo no storage; exit 3'", "host_return")
    ended = ends(world, ask(world))
    assert (ended.status, ended.message) == (
        FAILED,
        "[host_return] ready_command does not succeed for compute1 within 180 s: exit status 3: "
        "no storage. compute1 is forced down again.",
    )
    service = world.service()
    assert (service.disabled, service.forced_down) == (True, True)
    assert service.disabled_reason == "Masakari detected host failed."
    assert world.registered().on_maintenance


def test_one_that_cannot_be_enabled_is_disabled_and_forced_down_again(world: World) -> None:
    died(world)
    revive(world)
    # the second one: it is forced up before
    refused = {"method": "PUT", "path": "os-services", "status": 403, "every": 2, "times": 1}
    world.faults(calls=[refused])
    ended = ends(world, ask(world))
    assert ended.status == FAILED
    assert "compute1 is disabled and forced down again." in (ended.message or "")
    service = world.service()
    assert (service.disabled, service.forced_down) == (True, True)
    assert world.registered().disabled_by is not None


def test_nova_refuses_to_force_it_up(world: World) -> None:
    died(world)
    revive(world)
    why = "Unable to force up host compute1 as `done` evacuation migration records remain."
    world.faults(calls=[{"method": "PUT", "path": "os-services", "status": 400, "message": why}])
    begun = world.clock.monotonic()
    ended = ends(world, ask(world))
    assert ended.status == FAILED
    assert why in (ended.message or "")
    assert "Restart nova-compute on compute1 once more" in (ended.message or "")
    assert world.clock.monotonic() - begun > 60  # it was asked again and again
    assert world.service().forced_down


def test_what_nova_refuses_to_show_in_the_end_fails_nothing(world: World) -> None:
    died(world)
    revive(world)
    uuid = ask(world)
    world.clock.run(lambda: any("off maintenance" in line for line in story(world, uuid)))
    world.faults(calls=[{"method": "GET", "path": "servers/detail", "status": 403}])
    ended = ends(world, uuid)
    assert ended.status == FINISHED
    assert "compute1 is in service again. Instances were not looked at" in (ended.message or "")


def test_the_command_gets_the_host_and_nothing_else(world: World, tmp_path: Any) -> None:
    died(world)
    revive(world)
    script = tmp_path / "ready"
    script.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\n")
    script.chmod(0o755)
    world.conf.set_override("ready_command", str(script), "host_return")
    assert ends(world, ask(world)).status == FINISHED
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", "HACORE_HOST"}
    assert "HACORE_HOST=compute1" in (tmp_path / "env").read_text()


def test_nova_is_away_for_a_while(world: World) -> None:
    died(world)
    revive(world)
    uuid = ask(world)
    world.faults(unavailable={"compute": 400.0})
    becomes(world, uuid, WAITING)
    assert ends(world, uuid).status == FINISHED


def test_an_instance_that_an_old_order_has_hit_is_reset(world: World) -> None:
    world.host()
    (uuid,) = world.boot(1)
    world.engine()
    world.clock.run(lambda: world.clock.monotonic() > 10)
    path = f"/servers/{uuid}/live-migrate"
    world.control("POST", path, {"host": "compute3", "status": "accepted"})
    world.kill()
    world.recover(world.notify())
    revive(world)
    world.clock.run(lambda: world.server(uuid).vm_state == "error")
    ended = ends(world, ask(world))
    assert ended.status == FINISHED
    assert f"since orders of before had set them to ERROR: vm-1 ({uuid})." in (ended.message or "")
    server = world.server(uuid)
    assert (server.vm_state, server.guest_up) == ("active", True)


def test_an_instance_in_error_for_another_reason_is_left_alone(world: World) -> None:
    uuid, other = died(world)
    revive(world)
    world.cloud.lifecycle.fail(world.server(uuid), "disk is full")
    stopped = world.boot(1, states={"vm_state": "stopped"}, name="old")
    ended = ends(world, ask(world))
    assert ended.status == FINISHED
    assert world.server(uuid).vm_state == "error"
    assert world.server(other).vm_state == "active"
    assert f"Powered off on compute1: old-1 ({stopped[0]})" in (ended.message or "")


# ------------------------------------------------------------------- kill -9

STEPS = (
    "ConfirmHostHeardTask",
    "ConfirmEvacuationsCompletedTask",
    "ForceUpComputeServiceTask",
    "ConfirmHostReadyTask",
    "EnableComputeServiceTask",
    "EndMaintenanceTask",
    "SettleInstancesTask",
)


@pytest.mark.parametrize("state", ["RUNNING", "SUCCESS"])
@pytest.mark.parametrize("step", STEPS)
def test_it_survives_kill_9_at_each_step(world: World, step: str, state: str) -> None:
    died(world)
    revive(world)
    uuid = ask(world)

    def reached() -> bool:
        entries = operations.read(world.db, uuid).entries
        return any((each.step, each.state) == (step, state) for each in entries)

    world.clock.run(reached)
    world.kill_engine()
    world.engine("b")
    ended = ends(world, uuid)
    assert ended.status == FINISHED
    service = world.service()
    assert (service.disabled, service.forced_down) == (False, False)
    assert not world.registered().on_maintenance
    # by the recovery disabled and forced down, by the return forced up and enabled
    assert world.calls("PUT", "/os-services/{id}") == 4


def test_a_stopped_engine_gives_it_to_the_next(world: World) -> None:
    died(world)
    revive(world)
    uuid = ask(world)
    world.clock.run(lambda: "Nova hears compute1." in story(world, uuid))
    world.engine("b")
    world.stop_engine()
    assert ends(world, uuid, limit_s=200).status == FINISHED
    assert "Released: The engine is stopping." in story(world, uuid)


def test_at_most_eight_are_worked_on_by_an_engine(world: World) -> None:
    names = [f"compute{number}" for number in range(1, 12)]
    for name in names:
        world.host(name)
    uuids = [ask(world, name) for name in names]
    queue = world.engine()
    world.clock.run(lambda: queue.is_busy)
    running = sum(operation(world, uuid).status == OperationStatus.RUNNING for uuid in uuids)
    assert running == 8


def test_the_circle(world: World) -> None:
    """Death, evacuation, return, and death once more."""
    died(world)
    revive(world)
    assert ends(world, ask(world)).status == FINISHED
    new = world.boot(2)
    world.kill()
    assert world.recover(world.notify()).status == NotificationStatus.FINISHED
    assert {world.server(uuid).host for uuid in new}.isdisjoint({"compute1"})
    revive(world)
    assert ends(world, ask(world)).status == FINISHED
    with world.db.read() as session:
        row = session.scalars(sa.select(Host)).one()
    assert (row.on_maintenance, row.disabled_by) == (False, None)
