# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the schedules have found, each as small as it gets."""

import sqlalchemy as sa

from hacore.db.models import Segment
from hacore.states import MoveStatus, Rule
from hacore.states import NotificationStatus as Status
from hacore.states import NotificationType as Type
from tests import factories
from tests.world import World


def locks(world: World, servers: list[str]) -> set[str | None]:
    return {world.server(server).locked_by for server in servers}


def records(world: World) -> int:
    """How many evacuations Nova has recorded."""
    return len(world.cloud.state.migrations)


def until_ongoing(world: World, uuid: str) -> None:
    world.clock.run(lambda: any(m.status == MoveStatus.ONGOING for m in world.moves(uuid).values()))


def expired(world: World, uuid: str) -> None:
    """No engine comes to it for two days, and then one does."""
    world.kill_engine("a")
    world.clock.pass_time(2 * 86400)
    world.engine("b")
    assert world.recover(uuid).status == Status.FAILED


def test_nothing_is_given_up_locked_because_nova_is_away(world: World) -> None:
    world.conf.set_override("retry_timeout", 20, group="nova")
    world.conf.set_override("max_recovery_attempts", 1)
    servers = world.boot(3, states={"vm_state": "stopped", "power_state": 4})
    world.kill()
    uuid = world.notify()
    world.engine()
    until_ongoing(world, uuid)
    world.faults(unavailable={"compute": 400})
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    assert "Cleanup failed: " in (world.notification(uuid).message or "")
    assert world.recover(uuid).status == Status.FINISHED
    assert locks(world, servers) == {None}
    assert records(world) == 3


def test_moves_of_a_recovery_that_expires_get_a_true_verdict(world: World) -> None:
    servers = world.boot(3, states={"vm_state": "stopped", "power_state": 4})
    world.faults(evacuations=[{"kind": "hang", "servers": [servers[0]]}])
    world.kill()
    uuid = world.notify()
    world.engine("a")
    until_ongoing(world, uuid)
    expired(world, uuid)
    moves = world.moves(uuid)
    hung = moves.pop(servers[0])
    assert (hung.status, hung.message) == (
        MoveStatus.FAILED,
        "Not evacuated: the recovery ended while the evacuation was under way.",
    )
    assert {move.status for move in moves.values()} == {MoveStatus.SUCCEEDED}
    assert locks(world, servers) == {None}


def test_a_recovery_that_expires_gives_its_reserved_host_back(world: World) -> None:
    row = factories.segment(world.db, name="rh", recovery_method="reserved_host")
    world.hosts["compute1"] = factories.host(world.db, segment_uuid=row.uuid)
    factories.host(world.db, "compute3", segment_uuid=row.uuid, reserved=True)
    world.faults(evacuations=[{"kind": "hang"}])
    world.boot(1)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.run(lambda: world.registered("compute3").taken_by == uuid)
    expired(world, uuid)
    host = world.registered("compute3")
    assert (host.reserved, host.taken_by) == (True, None)


def test_a_living_host_is_given_back_by_a_recovery_that_expires(world: World) -> None:
    world.boot(1)
    world.host(reserved=True)
    uuid = world.notify()
    world.engine("a")
    world.clock.run(lambda: world.service().disabled)
    expired(world, uuid)
    host = world.registered()
    assert (host.on_maintenance, host.reserved) == (False, True)
    assert not world.service().disabled


def test_a_segment_that_is_disabled_in_the_middle_leaves_nothing_locked(world: World) -> None:
    servers = world.boot(2, states={"vm_state": "stopped", "power_state": 4})
    world.faults(evacuations=[{"kind": "hang"}])
    world.kill()
    uuid = world.notify()
    world.engine("a")
    until_ongoing(world, uuid)
    world.kill_engine("a")
    with world.db.write() as session:
        session.execute(sa.update(Segment).values(enabled=False))
    world.engine("b")
    assert world.recover(uuid).status == Status.FAILED, "it goes on, and Nova never ends it"
    assert locks(world, servers) == {None}
    assert {move.status for move in world.moves(uuid).values()} == {MoveStatus.FAILED}


def test_a_second_recovery_watches_what_the_first_one_has_begun(world: World) -> None:
    world.conf.set_override("wait_period_after_evacuation", 30)
    world.boot(1)
    world.faults(evacuations=[{"kind": "hang"}])
    world.kill()
    first = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(first).status == Status.ERROR)
    second = world.notify(payload={**factories.STOPPED, "cluster_status": "ONLINE"})
    for uuid in (second, first):
        assert world.recover(uuid).status == Status.FAILED
    assert records(world) == 1, "Nova has never ended the first one"


def test_a_state_that_could_not_be_restored_while_nova_was_away_is_restored(world: World) -> None:
    world.conf.set_override("retry_timeout", 20, group="nova")
    (server,) = world.boot(1, vm_state="suspended")
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: world.server(server).host != "compute1")
    world.faults(unavailable={"compute": 60})
    assert world.recover(uuid).status == Status.FINISHED
    assert (world.server(server).vm_state, world.server(server).locked_by) == ("stopped", None)
    assert world.moves(uuid)[server].message is None


def test_a_reserved_host_whose_nova_compute_died_stays_reserved(world: World) -> None:
    world.host(reserved=True)
    uuid = world.notify(
        type=Type.PROCESS, payload={"process_name": "nova-compute", "event": "STOPPED"}
    )
    world.engine()
    assert world.recover(uuid).status == Status.FINISHED
    host = world.registered()
    assert (host.on_maintenance, host.reserved) == (True, True)


def test_it_does_not_say_that_nothing_was_evacuated_when_something_was(world: World) -> None:
    good, bad = world.boot(2)
    world.faults(evacuations=[{"kind": "failed_claim", "servers": [bad]}])
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    world.control("POST", "/hosts/compute1/revive")
    world.clock.run(lambda: world.notification(uuid).held_rule == Rule.PROOF)
    said = world.notification(uuid).message or ""
    assert "Nova hears compute1 again" in said
    assert "after its evacuation has begun" in said
    assert world.server(good).host != "compute1"


def test_a_reserved_host_that_instances_may_be_on_their_way_to_is_kept(world: World) -> None:
    world.conf.set_override("retry_timeout", 20, group="nova")
    row = factories.segment(world.db, name="rh", recovery_method="reserved_host")
    world.hosts["compute1"] = factories.host(world.db, segment_uuid=row.uuid)
    factories.host(world.db, "compute3", segment_uuid=row.uuid, reserved=True)
    (server,) = world.boot(1)
    world.kill()
    uuid = world.notify()
    world.engine()
    until_ongoing(world, uuid)
    world.faults(unavailable={"compute": 60})
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    assert not world.registered("compute3").reserved
    assert world.recover(uuid).status == Status.FINISHED
    assert world.server(server).host == "compute3"
    assert records(world) == 1
