# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host fails: rules 7 of the recovery, on the sandbox under a simulated clock."""

from typing import Any

import pytest

from hacore.states import MoveStatus
from hacore.states import NotificationStatus as Status
from tests import factories
from tests.world import World


def recovered(world: World, **values: Any) -> str:
    """compute1 dies, is reported, and an engine recovers it; returns the notification."""
    world.kill()
    uuid = world.notify(**values)
    world.engine()
    world.recover(uuid)
    return uuid


def assert_home(world: World, servers: list[str], vm_state: str = "active") -> None:
    """All are elsewhere, idle, in `vm_state` and unlocked."""
    for server in map(world.server, servers):
        assert (server.vm_state, server.task_state) == (vm_state, None)
        assert server.host != "compute1"
        assert server.locked_by is None


def evacuations(world: World) -> dict[str, int]:
    """How many evacuations Nova has recorded, by instance."""
    counts: dict[str, int] = {}
    for migration in world.cloud.state.migrations:
        counts[migration.server.uuid] = counts.get(migration.server.uuid, 0) + 1
    return counts


# ------------------------------------------------------------------- whole


def test_all_instances_are_evacuated_and_unlocked(world: World) -> None:
    servers = world.boot(20)
    uuid = recovered(world)
    ended = world.notification(uuid)
    assert (ended.status, ended.message) == (Status.FINISHED, "20 evacuated, 0 skipped.")
    assert_home(world, servers)
    moves = world.moves(uuid)
    assert {move.status for move in moves.values()} == {MoveStatus.SUCCEEDED}
    assert {m.instance_uuid: m.dest_host for m in moves.values()} == {
        uuid: world.server(uuid).host for uuid in servers
    }
    assert evacuations(world) == dict.fromkeys(servers, 1)


def test_the_host_is_on_maintenance_and_not_reserved_afterwards(world: World) -> None:
    world.host(reserved=True)
    world.boot(1)
    uuid = recovered(world)
    host = world.registered()
    assert (host.on_maintenance, host.maintenance_by, host.reserved) == (True, uuid, False)
    service = world.service()
    assert (service.disabled, service.disabled_reason) == (True, "Masakari detected host failed.")


def test_a_host_without_instances_is_finished(world: World) -> None:
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert world.notification(uuid).message == "No instances to evacuate on compute1."


def test_calls_per_instance_are_few(world: World) -> None:
    world.boot(50)
    world.kill()
    uuid = world.notify()
    world.control("DELETE", "/requests")
    world.engine()
    world.recover(uuid)
    assert world.calls("POST", "/action") == 50  # no locks: Nova itself refuses their owners
    assert world.calls("POST", "/auth/tokens") == 1


def test_looks_are_few_where_evacuations_take_long(world: World) -> None:
    vars(world.cloud.settings)["spawn_s"] = 20.0
    world.boot(50)
    world.kill()
    uuid = world.notify()
    world.control("DELETE", "/requests")
    begun = world.clock.monotonic()
    world.engine()
    world.recover(uuid)
    looks = world.calls("GET", "/os-migrations")
    # once a second in the first twenty, then three times in twenty
    assert looks < 20 + (world.clock.monotonic() - begun - 20) / 4
    assert world.calls("GET", "/servers") <= looks / 2  # they confirm what two looks have seen


# ----------------------------------------------------------- what is acted on


@pytest.mark.parametrize(
    ("payload", "status", "says"),
    [
        ({"event": "STARTED", "host_status": "NORMAL"}, Status.FINISHED, "nothing to do"),
        ({"event": "STOPPED", "host_status": "UNKNOWN"}, Status.IGNORED, "expected NORMAL"),
        ({"event": "STOPPED"}, Status.IGNORED, "is None, expected"),
        ({"event": "WOBBLED", "host_status": "NORMAL"}, Status.IGNORED, "WOBBLED"),
    ],
)
def test_nothing_is_done_unless_the_monitor_is_sure(
    world: World, payload: dict[str, str], status: Status, says: str
) -> None:
    servers = world.boot(2)
    uuid = recovered(world, payload=payload)
    ended = world.notification(uuid)
    assert ended.status == status
    assert says in (ended.message or "")
    assert not world.service().disabled
    assert not world.registered().on_maintenance
    assert {world.server(server).host for server in servers} == {"compute1"}


def test_a_disabled_segment_is_left_alone(world: World) -> None:
    segment = factories.segment(world.db, name="off", enabled=False)
    world.hosts["compute1"] = factories.host(world.db, segment_uuid=segment.uuid)
    uuid = recovered(world)
    ended = world.notification(uuid)
    assert (ended.status, ended.message) == (Status.IGNORED, "Segment off is disabled.")


# ------------------------------------------------------------- Nova's view


def test_a_host_that_is_up_is_never_evacuated_and_all_is_undone(world: World) -> None:
    world.conf.set_override("verify_interval", 10)
    servers = world.boot(2)
    world.host(reserved=True)
    uuid = world.notify()
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == Status.IGNORED
    assert "Nova hears compute1: its last heartbeat is" in (ended.message or "")
    assert "Given up after 3 attempts" in (ended.message or "")
    assert not world.service().disabled
    host = world.registered()
    assert (host.on_maintenance, host.reserved) == (False, True)
    assert world.calls("POST", "/action") == 0
    assert {world.server(server).host for server in servers} == {"compute1"}


def test_a_service_that_somebody_else_disabled_stays_disabled(world: World) -> None:
    world.conf.set_override("verify_interval", 10)
    world.service().disabled = True
    uuid = world.notify()
    world.engine()
    world.recover(uuid)
    assert world.service().disabled


def test_an_engine_that_dies_while_it_waits_for_nova_leaves_the_undoing_to_the_next(
    world: World,
) -> None:
    world.conf.set_override("verify_interval", 10)
    uuid = world.notify()
    world.engine("a")
    world.clock.at(30, lambda: world.kill_engine("a"))
    world.clock.at(31, lambda: world.engine("b"))
    world.recover(uuid)
    assert not world.service().disabled
    assert not world.registered().on_maintenance


def test_forcing_down_saves_the_wait(world: World) -> None:
    world.conf.set_override("force_down", "always", group="host_failure")
    vars(world.cloud.settings)["service_down_s"] = 1e6
    servers = world.boot(1)
    world.kill()
    uuid = world.notify()  # Nova would see the host as up for ever
    world.engine()
    assert world.recover(uuid, limit_s=30).status == Status.FINISHED
    assert world.service().forced_down
    assert_home(world, servers)


def test_forcing_down_is_no_proof(world: World) -> None:
    world.conf.set_override("force_down", "always", group="host_failure")
    (server,) = world.boot(1)
    uuid = world.notify()
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == Status.IGNORED
    assert "Nova hears compute1" in (ended.message or "")
    assert world.server(server).host == "compute1"


def test_a_host_that_nova_does_not_know(world: World) -> None:
    uuid = world.notify("elsewhere")
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == Status.FAILED
    assert "Nova has no nova-compute service on host elsewhere" in (ended.message or "")


# ------------------------------------------------------------ what is moved


def test_skipped_instances_get_a_move_with_the_reason(world: World) -> None:
    world.conf.set_override("evacuate_all_instances", False, group="host_failure")
    world.conf.set_override("ignore_instances_in_error_state", True, group="host_failure")
    expected = {
        world.boot(1)[0]: (MoveStatus.SUCCEEDED, None),
        world.boot(1, metadata={})[0]: (MoveStatus.IGNORED, "not HA-enabled"),
        world.boot(1, vm_state="error")[0]: (MoveStatus.IGNORED, "was in ERROR"),
        world.boot(1, states={"vm_state": "building"})[0]: (MoveStatus.IGNORED, "being built"),
        world.boot(1, states={"task_state": "deleting"})[0]: (MoveStatus.IGNORED, "being deleted"),
        world.boot(1, states={"vm_state": "shelved"})[0]: (MoveStatus.IGNORED, "is shelved"),
    }
    uuid = recovered(world)
    assert world.notification(uuid).message == "1 evacuated, 5 skipped."
    moves = world.moves(uuid)
    assert set(moves) == set(expected)
    for instance, (status, says) in expected.items():
        assert moves[instance].status == status
        assert says is None or says in (moves[instance].message or "")


def test_the_order_is_ha_enabled_then_priority_then_name(world: World) -> None:
    names = {
        world.boot(1, name="z", metadata={"HA_Enabled": "True", "HA_Priority": "10"})[0]: "first",
        world.boot(1, name="b", metadata={"HA_Enabled": "True"})[0]: "third",
        world.boot(1, name="a", metadata={"HA_Enabled": "True", "HA_Priority": "x"})[0]: "second",
        world.boot(1, name="0", metadata={"HA_Priority": "99"})[0]: "fourth",
    }
    uuid = recovered(world)
    ordered = sorted(world.moves(uuid).values(), key=lambda move: move.position)
    assert [names[move.instance_uuid] for move in ordered] == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize(
    ("states", "afterwards"),
    [
        ({"vm_state": "active"}, "active"),
        ({"vm_state": "active", "task_state": "powering-off"}, "active"),
        ({"vm_state": "stopped"}, "stopped"),
        ({"vm_state": "stopped", "task_state": "powering-on"}, "stopped"),
        ({"vm_state": "error"}, "error"),
        ({"vm_state": "error", "task_state": "rebuilding"}, "error"),
        ({"vm_state": "paused"}, "stopped"),
        ({"vm_state": "suspended"}, "stopped"),
        ({"vm_state": "rescued"}, "stopped"),
        ({"vm_state": "resized", "power_state": 1}, "active"),
        ({"vm_state": "resized", "power_state": 4}, "stopped"),
    ],
)
@pytest.mark.parametrize("evacuate_busy", [True, False])
def test_every_state_is_evacuated_and_restored(
    world: World, states: dict[str, Any], afterwards: str, evacuate_busy: bool
) -> None:
    # False: as Nova was before Zed, 409 while a task_state is set
    vars(world.cloud.settings)["evacuate_busy"] = evacuate_busy
    servers = world.boot(1, states=states)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert_home(world, servers, afterwards)


def test_the_lock_of_an_owner_stays(world: World) -> None:
    (mine, other) = world.boot(2, vm_state="stopped")
    world.control("PUT", f"/servers/{mine}", {"locked": "owner", "locked_reason": "mine"})
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    server = world.server(mine)
    assert (server.host != "compute1", server.locked_by, server.locked_reason) == (
        True,
        "owner",
        "mine",
    )
    assert world.server(other).locked_by is None


@pytest.mark.parametrize(("vm_state", "who"), [("active", "owner"), ("stopped", "admin")])
def test_a_lock_that_somebody_puts_on_meanwhile_stays(
    world: World, vm_state: str, who: str
) -> None:
    vars(world.cloud.settings)["spawn_s"] = 20.0
    (mine,) = world.boot(1, vm_state=vm_state)
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: mine in world.moves(uuid) and world.moves(uuid)[mine].called_at)
    world.control("PUT", f"/servers/{mine}", {"locked": who, "locked_reason": "mine"})
    assert world.recover(uuid).status == Status.FINISHED
    server = world.server(mine)
    assert (server.locked_by, server.locked_reason) == (who, "mine")


# ------------------------------------------------------------ what goes wrong


def test_no_valid_host_is_told_in_novas_words_and_the_retry_helps(world: World) -> None:
    good, bad = world.boot(2)
    world.faults(evacuations=[{"kind": "no_valid_host", "servers": [bad]}])
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    assert "1 of 2 instances could not be evacuated" in (world.notification(uuid).message or "")
    assert "No valid host" in (world.moves(uuid)[bad].message or "")
    assert (world.server(bad).vm_state, world.server(bad).locked_by) == ("error", None)
    world.control("DELETE", "/faults")
    assert world.recover(uuid).status == Status.FINISHED
    assert_home(world, [good, bad])
    assert evacuations(world) == {good: 1, bad: 2}


def test_a_stopped_instance_whose_first_attempt_failed_ends_stopped(world: World) -> None:
    servers = world.boot(1, vm_state="stopped")
    world.faults(evacuations=[{"kind": "no_valid_host", "times": 1}])
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert_home(world, servers, "stopped")


def test_a_failed_claim_is_known_at_once(world: World) -> None:
    world.boot(1)
    world.faults(evacuations=[{"kind": "failed_claim"}])
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR, limit_s=30)
    (move,) = world.moves(uuid).values()
    assert move.status == MoveStatus.FAILED
    assert world.server(move.instance_uuid).locked_by is None


def test_attempts_are_used_up(world: World) -> None:
    world.boot(1)
    world.faults(evacuations=[{"kind": "no_valid_host"}])
    uuid = recovered(world)
    ended = world.notification(uuid)
    assert ended.status == Status.FAILED
    assert "Given up after 3 attempts" in (ended.message or "")


def test_what_hangs_times_out_and_is_watched_again_before_it_is_called_again(world: World) -> None:
    (server,) = world.boot(1)
    world.faults(evacuations=[{"kind": "hang"}])
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    assert "Timed out" in (world.moves(uuid)[server].message or "")
    assert world.recover(uuid).status == Status.FAILED
    assert evacuations(world) == {server: 1}, "Nova never ended the first one"


def test_a_call_that_broke_off_after_nova_acted_is_not_repeated(world: World) -> None:
    servers = world.boot(5)
    world.faults(calls=[{"method": "POST", "path": "action", "body": "evacuate", "drop": "after"}])
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert_home(world, servers)
    assert evacuations(world) == dict.fromkeys(servers, 1)


def test_a_call_that_never_arrived_is_repeated(world: World) -> None:
    servers = world.boot(5)
    world.faults(
        calls=[
            {"method": "POST", "path": "action", "body": "evacuate", "drop": "before", "times": 3}
        ]
    )
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert_home(world, servers)
    assert evacuations(world) == dict.fromkeys(servers, 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_nova_answering_errors_at_random_is_a_delay(world: World, status: int) -> None:
    servers = world.boot(20)
    world.faults(calls=[{"service": "compute", "path": ".", "status": status, "ratio": 0.2}])
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert_home(world, servers)
    assert evacuations(world) == dict.fromkeys(servers, 1)


@pytest.mark.parametrize("service", ["compute", "identity"])
@pytest.mark.parametrize("begins", [0, 1, 2, 3])
def test_nova_or_keystone_away_for_a_minute_is_a_delay(
    world: World, service: str, begins: int
) -> None:
    servers = world.boot(20)
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.at(begins, lambda: world.faults(unavailable={service: 60}))
    assert world.recover(uuid).status == Status.FINISHED
    assert "Attempt" not in " ".join(world.story(uuid)), "one attempt was enough"
    assert_home(world, servers)
    assert evacuations(world) == dict.fromkeys(servers, 1)


def test_an_instance_that_is_deleted_meanwhile(world: World) -> None:
    *kept, gone = world.boot(20)
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: gone in world.moves(uuid))
    del world.cloud.state.servers[gone]
    world.recover(uuid)
    assert world.notification(uuid).status == Status.FINISHED
    assert world.moves(uuid)[gone].status == MoveStatus.IGNORED
    assert_home(world, kept)


# ------------------------------------------------------------- engines end


@pytest.mark.parametrize("moment", [0.3, 1.0, 1.3, 1.6, 2.0, 2.3, 2.7, 3.1, 3.5, 4.0, 5.0])
def test_whenever_the_engine_is_killed_the_next_one_completes_the_recovery(
    world: World, moment: float
) -> None:
    servers = world.boot(20)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.at(moment, lambda: world.kill_engine("a"))
    world.clock.at(moment, lambda: world.engine("b"))
    assert world.recover(uuid, limit_s=world.conf.claim_lease + 60).status == Status.FINISHED
    assert_home(world, servers)
    assert evacuations(world) == dict.fromkeys(servers, 1)


def test_sigterm_hands_over_at_once(world: World) -> None:
    servers = world.boot(20)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.run(lambda: any(m.status == "ongoing" for m in world.moves(uuid).values()))
    world.stop_engine("a")
    stopped_at = world.clock.monotonic()
    world.engine("b")
    assert world.recover(uuid).status == Status.FINISHED
    assert world.clock.monotonic() - stopped_at < world.conf.claim_lease / 2
    assert any("Released" in line for line in world.story(uuid))
    assert_home(world, servers)
    assert evacuations(world) == dict.fromkeys(servers, 1)


def test_hosts_recover_side_by_side_across_engines(world: World) -> None:
    servers = {host: world.boot(10, host) for host in ("compute1", "compute2")}
    for host in servers:
        world.kill(host)
    uuids = [world.notify(host) for host in servers]
    world.engine("a")
    world.engine("b")
    for uuid in uuids:
        assert world.recover(uuid).status == Status.FINISHED
    for host_servers in servers.values():
        for server in map(world.server, host_servers):
            assert server.host in ("compute3", "compute4")


def test_a_notification_nobody_came_to_expires_and_leaves_nothing_locked(world: World) -> None:
    servers = world.boot(5, vm_state="stopped")
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.run(lambda: any(m.status == "ongoing" for m in world.moves(uuid).values()))
    world.kill_engine("a")
    world.clock.pass_time(2 * 86400)
    world.engine("b")
    ended = world.recover(uuid)
    assert ended.status == Status.FAILED
    assert "notifications_expired_interval" in (ended.message or "")
    assert {world.server(server).locked_by for server in servers} == {None}
