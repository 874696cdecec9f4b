# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An alarm is compared with the present before it is acted on."""

from typing import Any

import pytest
from requests import Response

from hacore.states import NotificationStatus as Status
from hacore_sandbox.rest import Rest
from tests.simulation import Simulation
from tests.world import SandboxAdapter, World

CRASHED = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}
HANGS = {"event": "IO_ERROR", "vir_domain_event": "IO_ERROR_REPORT"}
REBOOT = {"reboot": {"type": "HARD"}}


def report(world: World, server: str, host: str = "compute1", **payload: str) -> str:
    return world.notify(host, type="VM", payload={**CRASHED, "instance_uuid": server, **payload})


def crash(world: World, server: str) -> None:
    world.control("POST", f"/servers/{server}/crash")


def recovered(world: World, uuid: str, limit_s: float = 60) -> tuple[str, str]:
    world.engine()
    row = world.recover(uuid, limit_s)
    return row.status, row.message or ""


# ------------------------------------------------------------------- the host


def test_an_alarm_counts_for_the_host_that_it_names(world: World) -> None:
    (server,) = world.boot(1)
    assert recovered(world, report(world, server, "compute2")) == (
        Status.IGNORED,
        f"Instance {server} is on host compute1 in Nova, not on compute2.",
    )
    assert world.calls("POST", "/action") == 0


def test_a_host_name_that_nova_does_not_know_proves_nothing(world: World) -> None:
    (server,) = world.boot(1)
    crash(world, server)
    status, message = recovered(world, report(world, server, "compute1.example.org"))
    assert (status, message) == (Status.FINISHED, f"Instance {server} was restarted.")


def test_an_instance_that_we_stopped_is_started_wherever_it_is(world: World) -> None:
    (server,) = world.boot(1)
    crash(world, server)
    world.faults(calls=[{"method": "POST", "path": "action", "body": "os-start", "status": 202}])
    uuid = report(world, server)
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    world.cloud.state.hosts["compute2"].reserved += 1
    world.cloud.state.move_server(world.server(server), "compute2")  # a cold migration
    world.control("DELETE", "/faults")
    assert world.recover(uuid).status == Status.FINISHED
    assert world.server(server).guest_up


# -------------------------------------------------------------- restarted since


@pytest.mark.parametrize("ahead_s", [0, 7200, -7200])
@pytest.mark.parametrize("payload", [CRASHED, HANGS])
def test_a_restart_by_its_owner_after_the_report(
    world: World, payload: dict[str, str], ahead_s: float
) -> None:
    world.faults(clock_ahead_s=ahead_s)
    (server,) = world.boot(1)
    crash(world, server)
    uuid = report(world, server, **payload)
    world.clock.pass_time(5)
    world.act("demo", server, REBOOT)
    world.clock.pass_time(30)
    assert recovered(world, uuid) == (
        Status.IGNORED,
        f"Instance {server} has been restarted since it was reported (Nova's action reboot).",
    )
    assert world.server(server).guest_up


@pytest.mark.parametrize("ahead_s", [0, 7200, -7200])
@pytest.mark.parametrize("before_s", [0.0, 0.9, 1.9, 10.0])
def test_a_restart_before_the_report_is_none_since(
    world: World, before_s: float, ahead_s: float
) -> None:
    world.faults(clock_ahead_s=ahead_s)
    (server,) = world.boot(1)
    world.clock.pass_time(3.3)
    world.act("demo", server, REBOOT)
    world.clock.pass_time(before_s)
    crash(world, server)
    uuid = report(world, server)
    world.clock.pass_time(30.7)
    assert "was restarted" in recovered(world, uuid)[1]


def test_a_snapshot_is_no_restart(world: World) -> None:
    (server,) = world.boot(1)
    crash(world, server)
    uuid = report(world, server)
    world.clock.pass_time(5)
    world.cloud.state.actions.record(world.server(server), "createImage", world.cloud.now)
    world.clock.pass_time(30)
    assert "was restarted" in recovered(world, uuid)[1]


def test_a_guest_that_died_again_after_the_restart(world: World) -> None:
    (server,) = world.boot(1)
    crash(world, server)
    uuid = report(world, server)
    world.clock.pass_time(5)
    world.act("demo", server, REBOOT)
    world.clock.pass_time(30)
    world.control("PUT", f"/servers/{server}", {"power_state": 4})
    assert "was restarted" in recovered(world, uuid)[1]


def test_where_nova_does_not_show_its_actions_the_instance_is_restarted(world: World) -> None:
    (server,) = world.boot(1)
    crash(world, server)
    uuid = report(world, server)
    world.clock.pass_time(30)
    world.faults(calls=[{"method": "GET", "path": "os-instance-actions", "status": 403}])
    assert "was restarted" in recovered(world, uuid)[1]
    assert any("Whether the instance has been restarted is not" in m for m in world.story(uuid))


def test_of_two_events_of_one_crash_the_second_is_ignored(world: World) -> None:
    (server,) = world.boot(1)
    crash(world, server)
    first = report(world, server)
    second = report(world, server, **HANGS)
    world.engine()
    assert world.recover(first).status == Status.FINISHED
    ended = world.recover(second)
    assert (ended.status, ended.message) == (
        Status.IGNORED,
        f"Instance {server} has been restarted since it was reported (notification {first}).",
    )
    assert world.calls("POST", "/action") == 2


def test_a_start_that_took_too_long_is_not_repeated(world: World) -> None:
    world.cloud.state.settings = type(world.cloud.settings)(
        **{**vars(world.cloud.settings), "start_s": 100.0}
    )
    (server,) = world.boot(1)
    crash(world, server)
    uuid = report(world, server)
    world.engine()
    ended = world.recover(uuid)
    assert (ended.status, ended.message) == (
        Status.FINISHED,
        f"Instance {server} was restarted by an earlier attempt.",
    )
    assert world.calls("POST", "/action") == 2


# ------------------------------------------------------------------------- busy


@pytest.mark.parametrize(
    ("payload", "task_state", "says"),
    [
        (CRASHED, "rebooting_hard", "was being restarted when it was reported"),
        (CRASHED, "rebuild_spawning", "was being restarted when it was reported"),
        (CRASHED, "image_snapshot", "was restarted"),
        (CRASHED, "migrating", "was restarted"),
        # a guest that hangs is one that Nova shows as running
        (HANGS, "rebooting_hard", "was restarted"),
    ],
)
def test_what_ends_while_hacore_waits(
    world: World, payload: dict[str, str], task_state: str, says: str
) -> None:
    (server,) = world.boot(1, states={"task_state": task_state})
    uuid = report(world, server, **payload)
    world.clock.at(9, lambda: world.control("PUT", f"/servers/{server}", {"task_state": None}))
    assert says in recovered(world, uuid)[1]
    assert f"Waiting until instance {server} is idle (task_state {task_state})." in world.story(
        uuid
    )


class Interrupted(SandboxAdapter):
    """Something begins just before an order reaches Nova, and takes five seconds."""

    def __init__(self, rest: Rest, clock: Simulation, world: World, order: str) -> None:
        super().__init__(rest, clock)
        self._world, self._order = world, order

    def send(self, request: Any, **options: Any) -> Response:
        if self._order and self._order in str(request.body):
            self._order = ""
            path = f"/servers/{request.url.split('/')[-2]}"
            self._world.control("PUT", path, {"task_state": "image_snapshot"})
            ends_at = self._world.clock.monotonic() + 5
            free = {"task_state": None}
            self._world.clock.at(ends_at, lambda: self._world.control("PUT", path, free))
        return super().send(request, **options)


@pytest.mark.parametrize("order", ["os-stop", "os-start"])
def test_a_refused_order_is_no_order_under_way(
    world: World, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = Interrupted(world.rest, world.clock, world, order)
    monkeypatch.setattr(world, "http_of", lambda _name: adapter)
    (server,) = world.boot(1)
    crash(world, server)
    assert recovered(world, report(world, server), limit_s=20)[0] == Status.FINISHED
    assert world.server(server).guest_up


# ------------------------------------------------------------------ host, process


def test_a_host_that_was_acted_on_is_recovered_to_the_end(world: World) -> None:
    stopped = world.notify(payload={"event": "STOPPED", "host_status": "NORMAL"})
    world.engine()
    world.clock.run(lambda: world.notification(stopped).status == Status.ERROR)
    world.notify(payload={"event": "STARTED", "host_status": "NORMAL"})
    ended = world.recover(stopped)
    assert ended.status == Status.IGNORED
    assert "Given up after 3 attempts" in (ended.message or "")


def test_a_host_that_has_started_since_is_left_alone(world: World) -> None:
    stopped = world.notify(payload={"event": "STOPPED", "host_status": "NORMAL"})
    world.clock.pass_time(1)
    started = world.notify(payload={"event": "STARTED", "host_status": "NORMAL"})
    assert recovered(world, stopped) == (
        Status.IGNORED,
        f"Host compute1 has started since (notification {started}).",
    )
    assert not world.registered().on_maintenance


def test_another_process_that_has_started_says_nothing(world: World) -> None:
    stopped = {"event": "STOPPED", "process_name": "nova-compute"}
    uuid = world.notify(type="PROCESS", payload=stopped)
    world.clock.pass_time(1)
    world.notify(type="PROCESS", payload={"event": "STARTED", "process_name": "libvirtd"})
    assert recovered(world, uuid)[0] == Status.FINISHED
    assert world.service().disabled
