# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An instance crashes: rules 6 of the recovery."""

from typing import Any

import pytest

from hacore.states import NotificationStatus as Status
from tests.world import World

CRASHED = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}


def crashed(world: World, server: str, **payload: str) -> str:
    """The guest dies and is reported; returns the notification."""
    world.control("POST", f"/servers/{server}/crash")
    payload = {**CRASHED, "instance_uuid": server, **payload}
    return world.notify(world.server(server).host or "", type="VM", payload=payload)


def test_a_crashed_instance_is_restarted(world: World) -> None:
    (server,) = world.boot(1)
    uuid = crashed(world, server)
    world.engine()
    ended = world.recover(uuid, limit_s=60)
    assert (ended.status, ended.message) == (Status.FINISHED, f"Instance {server} was restarted.")
    assert (world.server(server).vm_state, world.server(server).guest_up) == ("active", True)


@pytest.mark.parametrize(
    ("event", "vir_domain_event", "status"),
    [
        ("LIFECYCLE", "STOPPED_FAILED", Status.FINISHED),
        ("IO_ERROR", "IO_ERROR_REPORT", Status.FINISHED),
        ("QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED", Status.FINISHED),
        ("LIFECYCLE", "STARTED", Status.IGNORED),
        ("QEMU_GUEST_AGENT_ERROR", "STOPPED", Status.IGNORED),
    ],
)
def test_which_events_are_acted_on(
    world: World, event: str, vir_domain_event: str, status: Status
) -> None:
    (server,) = world.boot(1)
    uuid = crashed(world, server, event=event, vir_domain_event=vir_domain_event)
    world.engine()
    assert world.recover(uuid).status == status


@pytest.mark.parametrize(
    ("boot", "status", "says"),
    [
        ({"metadata": {}}, Status.FINISHED, "not HA-enabled"),
        ({"metadata": {"HA_Enabled": "no"}}, Status.FINISHED, "not HA-enabled"),
        ({"states": {"vm_state": "paused"}}, Status.IGNORED, "is paused"),
        ({"states": {"vm_state": "rescued"}}, Status.IGNORED, "is rescued"),
    ],
)
def test_what_is_left_alone(world: World, boot: dict[str, Any], status: Status, says: str) -> None:
    (server,) = world.boot(1, **boot)
    uuid = world.notify(type="VM", payload={**CRASHED, "instance_uuid": server})
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == status
    assert says in (ended.message or "")
    assert world.calls("POST", "/action") == 0


def test_every_instance_where_that_is_configured(world: World) -> None:
    world.conf.set_override("process_all_instances", True, group="instance_failure")
    (server,) = world.boot(1, metadata={})
    uuid = crashed(world, server)
    world.engine()
    assert "restarted" in (world.recover(uuid).message or "")


@pytest.mark.parametrize("vm_state", ["resized", "stopped", "error"])
def test_other_states_end_active_too(world: World, vm_state: str) -> None:
    (server,) = world.boot(1, states={"vm_state": vm_state})
    uuid = world.notify(type="VM", payload={**CRASHED, "instance_uuid": server})
    world.engine()
    assert world.recover(uuid).status == Status.FINISHED
    assert world.server(server).vm_state == "active"


def test_an_instance_that_is_gone(world: World) -> None:
    missing = "11111111-2222-3333-4444-555555555555"
    uuid = world.notify(type="VM", payload={**CRASHED, "instance_uuid": missing})
    world.engine()
    ended = world.recover(uuid)
    assert (ended.status, ended.message) == (
        Status.FINISHED,
        f"Instance {missing} no longer exists.",
    )


def test_an_instance_that_does_not_stop_is_an_error_with_its_state(world: World) -> None:
    (server,) = world.boot(1)
    world.kill()  # its host does nothing any more, and nobody reported that
    uuid = world.notify(type="VM", payload={**CRASHED, "instance_uuid": server})
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == Status.FAILED
    assert f"Timed out after 180 s waiting for instance {server} to be stopped" in (
        ended.message or ""
    )
    assert "task_state powering-off" in (ended.message or "")


def test_a_host_recovery_that_came_later_takes_care_of_it(world: World) -> None:
    (server,) = world.boot(1)
    vm = crashed(world, server)
    world.kill()
    host = world.notify()
    world.engine()
    assert world.recover(host).status == Status.FINISHED
    ended = world.recover(vm)
    assert ended.status == Status.IGNORED
    assert ended.message == f"Instance {server} is recovered by host recovery {host}."


def test_a_crash_after_the_host_recovery_is_a_new_one(world: World) -> None:
    (server,) = world.boot(1)
    world.kill()
    host = world.notify()
    world.engine()
    world.recover(host)
    world.clock.pass_time(10)
    vm = crashed(world, server)
    assert "restarted" in (world.recover(vm).message or "")


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_an_engine_that_dies_does_not_make_it_restart_twice(world: World, moment: float) -> None:
    (server,) = world.boot(1)
    uuid = crashed(world, server)
    world.engine("a")
    world.clock.at(moment, lambda: world.kill_engine("a"))
    world.clock.at(moment, lambda: world.engine("b"))
    assert world.recover(uuid).status == Status.FINISHED
    assert world.server(server).vm_state == "active"
    assert world.calls("POST", "/action") == 2  # one stop, one start


def test_many_at_once(world: World) -> None:
    servers = world.boot(30)
    uuids = [crashed(world, server) for server in servers]
    world.engine()
    for uuid in uuids:
        assert world.recover(uuid, limit_s=60).status == Status.FINISHED


def test_many_that_wait_share_one_look_per_host_and_interval(world: World) -> None:
    servers = world.boot(30)
    for server in servers:
        crashed(world, server)
    world.engine()
    world.clock.run(lambda: all(world.server(s).guest_up for s in servers), limit_s=120)
    # one stop and one start each; each is read alone before either
    assert world.calls("POST", "/action") == 60
    assert world.calls("GET", "/servers/{id}") == 60
    assert world.calls("GET", "/servers/detail") < 30
    # an alarm that is acted on at once is older than no restart that could be meant
    assert world.calls("GET", "/os-instance-actions") == 0


def test_a_host_failure_in_a_storm_is_served_at_once(world: World) -> None:
    world.conf.set_override("max_concurrent_recoveries", 8)
    world.kill("compute2")  # what it had stays "powering-off": these recoveries take minutes
    stuck = world.boot(20, "compute2")
    for server in stuck:
        world.notify("compute2", type="VM", payload={**CRASHED, "instance_uuid": server})
    world.engine()
    world.clock.run(lambda: any(world.server(s).task_state == "powering-off" for s in stuck))
    world.boot(3)
    world.kill()
    assert world.recover(world.notify(), limit_s=30).status == Status.FINISHED


def test_the_uuid_may_be_written_in_other_ways(world: World) -> None:
    (server,) = world.boot(1)
    world.control("POST", f"/servers/{server}/crash")
    written = server.upper().replace("-", "")
    uuid = world.notify(type="VM", payload={**CRASHED, "instance_uuid": written})
    world.engine()
    assert world.recover(uuid).message == f"Instance {server} was restarted."
