# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What an operator may do to a recovery, what not, and what then must be cleaned up."""

import datetime
import re

import pytest
import sqlalchemy as sa

from hacore.db import (
    claims,
    holds,
    interventions,
    leases,
    moves,
    recoveries,
    recovery_history,
    reserved,
    since,
)
from hacore.db.engine import Database
from hacore.db.interventions import Kind, Leftover
from hacore.db.models import Host, Notification
from hacore.errors import Conflict, LeaseLost, NotificationNotFound
from hacore.states import Gate, MoveStatus, NotificationStatus, Rule
from hacore.states import NotificationStatus as Status
from tests import factories

DAY_S = 86400
NOBODYS = "5f2a7c1e-0000-4000-8000-000000000000"


def claim(db: Database, owner: str = "a", lease_s: float = 60) -> claims.Claim:
    taken = claims.claim(db, owner, lease_s, DAY_S)
    assert taken is not None
    return taken


def failed(db: Database) -> Notification:
    """A host recovery that was given up after its third attempt, the others having been retried."""
    row: Notification = factories.notification(db, factories.host(db))
    for _ in range(2):
        claims.finish(db, claim(db), Status.ERROR, "It failed.", failed=True, retry_after_s=0)
    claims.finish(db, claim(db), Status.FAILED, "It failed.", failed=True)
    assert read(db, row.uuid).status == Status.FAILED
    return row


def read(db: Database, uuid: str) -> Notification:
    return recovery_history.read(db, uuid).notification


def change(db: Database, uuid: str, **values: object) -> None:
    with db.write() as session:
        session.execute(sa.update(Notification).where(Notification.uuid == uuid).values(**values))


def told(db: Database, uuid: str) -> list[str]:
    return [entry.message for entry in recovery_history.read(db, uuid).entries if entry.message]


# -------------------------------------------------------------------- retry


def test_a_failed_recovery_is_claimed_again_with_all_its_attempts(db: Database) -> None:
    row = failed(db)
    assert claims.claim(db, "a", 60, DAY_S) is None
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    shown = read(db, row.uuid)
    assert (shown.status, shown.failed_attempts) == (Status.ERROR, 0)
    assert shown.message is not None
    assert shown.message.startswith("Retry requested by alice. Before: It failed.")
    taken = claim(db)
    assert (taken.uuid, taken.number) == (row.uuid, 4)
    claims.finish(db, taken, Status.ERROR, "Again.", failed=True, retry_after_s=0)
    assert read(db, row.uuid).failed_attempts == 1
    assert "Retry requested by alice." in told(db, row.uuid)


def test_one_in_error_is_not_waited_for(db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    claims.finish(db, claim(db), Status.ERROR, "It failed.", failed=True, retry_after_s=3600)
    assert claims.claim(db, "a", 60, DAY_S) is None
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert claim(db).uuid == row.uuid
    assert read(db, row.uuid).failed_attempts == 1


def test_nothing_that_an_expired_recovery_reached_counts_for_the_retry(db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    first = claim(db)
    leases.record(db, Notification, first, "step", state="SUCCESS")
    claims.finish(db, first, Status.FAILED, "Too late.")
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert not recoveries.reached(db, claim(db), "step", "SUCCESS")  # type: ignore[arg-type]


def test_a_retry_waits_for_another_recovery_of_the_same_host(db: Database) -> None:
    row = failed(db)
    with db.read() as session:
        host = session.scalars(sa.select(Host)).one()
    other = factories.notification(db, host)
    running = claim(db)
    assert running.uuid == other.uuid
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert claims.claim(db, "b", 60, DAY_S) is None
    claims.finish(db, running, Status.FINISHED, "done")
    assert claim(db, "b").uuid == row.uuid


@pytest.mark.parametrize("do", ["retry", "abandon"])
def test_nothing_is_done_to_what_is_being_worked_on(db: Database, do: str) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db, "controller1:4711:abc")
    with pytest.raises(Conflict) as refused:
        act(db, do, row.uuid)
    assert re.sub(r"\d\d:\d\d:\d\d", "T", str(refused.value)) == (
        f"Notification {row.uuid} is claimed by controller1:4711:abc (lease until T UTC, "
        "unless renewed); stop that engine first, or wait."
    )
    claims.finish(db, taken, Status.FINISHED, "done")
    assert read(db, row.uuid).status == Status.FINISHED


def act(db: Database, do: str, uuid: str) -> None:
    if do == "retry":
        interventions.try_again(db, uuid, "alice", DAY_S)
    else:
        interventions.abandon(db, uuid, "alice", "because")


@pytest.mark.parametrize("do", ["retry", "abandon"])
def test_a_wrong_uuid_is_said(db: Database, do: str) -> None:
    with pytest.raises(NotificationNotFound, match=f"No notification has the uuid {NOBODYS}"):
        act(db, do, NOBODYS)


@pytest.mark.parametrize("status", [Status.FINISHED, Status.IGNORED])
def test_what_ended_well_is_not_tried_again(db: Database, status: NotificationStatus) -> None:
    row = factories.notification(db, factories.host(db))
    claims.finish(db, claim(db), status, "done")
    with pytest.raises(Conflict, match=rf"is {status}; only one that is in error or failed"):
        interventions.try_again(db, row.uuid, "alice", DAY_S)


def test_what_is_due_need_not_be_tried_again(db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    with pytest.raises(Conflict, match=r"is already due.*'hacore-manage service list'"):
        interventions.try_again(db, row.uuid, "alice", DAY_S)


def test_what_engines_would_fail_for_its_age_is_refused_with_the_remedy(db: Database) -> None:
    row = failed(db)
    change(db, row.uuid, created_at=row.created_at - datetime.timedelta(hours=30))
    with pytest.raises(
        Conflict, match=r"was received 30\.0 h ago.*older than 24 h; raise \[DEFAULT\] notif"
    ):
        interventions.try_again(db, row.uuid, "alice", DAY_S)
    interventions.try_again(db, row.uuid, "alice", 2 * DAY_S)
    assert claim(db).uuid == row.uuid


def test_held_time_does_not_count_for_its_age(db: Database) -> None:
    row = failed(db)
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=30)
    change(db, row.uuid, created_at=old, held_s=3 * 3600.0)
    with pytest.raises(Conflict) as refused:
        interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert "was received 27.0 h ago, without the time for which it was held, and engines fail" in (
        str(refused.value)
    )
    change(db, row.uuid, held_s=7 * 3600.0)
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert claim(db).uuid == row.uuid


def test_a_retry_has_a_reason_where_one_is_given(db: Database) -> None:
    row = failed(db)
    interventions.try_again(db, row.uuid, "alice", DAY_S, "The storage is back.")
    assert told(db, row.uuid)[-1] == "Retry requested by alice: The storage is back."


# --------------------------------------------------------------------- held


def held(db: Database) -> Notification:
    row: Notification = factories.notification(db, factories.host(db))
    holds.hold(db, claim(db), Gate.LIMITS, Rule.MAJORITY, "6 of 10 are missing.", {})
    return row


def test_a_held_recovery_is_not_tried_again(db: Database) -> None:
    row = held(db)
    with pytest.raises(Conflict) as refused:
        interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert str(refused.value) == (
        f"Notification {row.uuid} is held (majority), and a retry would be held again; approve it, "
        "so that it goes on, or abandon it."
    )
    assert claims.claim(db, "a", 60, DAY_S) is None


def test_an_abandoned_hold_has_ended(db: Database) -> None:
    row = held(db)
    change(db, row.uuid, held_since=datetime.datetime.now(datetime.UTC) - datetime.timedelta(1))
    interventions.abandon(db, row.uuid, "alice", "because")
    shown = read(db, row.uuid)
    assert (shown.status, shown.held_rule, shown.held_since) == (Status.FAILED, None, None)
    assert shown.held_s == pytest.approx(DAY_S, rel=0.1)
    assert holds.all_of(db) == []
    # and that day does not count when it is tried again
    change(db, row.uuid, created_at=datetime.datetime.now(datetime.UTC) - datetime.timedelta(1.5))
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert read(db, row.uuid).held_rule is None


def test_a_host_that_is_no_longer_registered_is_not_recovered(db: Database) -> None:
    row = failed(db)
    with db.write() as session:
        session.execute(sa.update(Host).values(deleted=1))
    with pytest.raises(Conflict, match=r"Host compute1 .* is no longer registered; register it"):
        interventions.try_again(db, row.uuid, "alice", DAY_S)


# ------------------------------------------------------------------ abandon


@pytest.mark.parametrize("state", ["new", "error", "released", "lease over"])
def test_what_nobody_works_on_is_ended_with_name_and_reason(db: Database, state: str) -> None:
    row = factories.notification(db, factories.host(db))
    if state != "new":
        taken = claim(db, lease_s=-1 if state == "lease over" else 60)
    if state == "error":
        claims.finish(db, taken, Status.ERROR, "It failed.", failed=True, retry_after_s=0)
    if state == "released":
        claims.release(db, taken, "The engine stops.")
    assert interventions.abandon(db, row.uuid, "alice", "the host was sold") == []
    shown = read(db, row.uuid)
    assert (shown.status, shown.message) == (
        Status.FAILED,
        "Abandoned by alice: the host was sold.",
    )
    assert told(db, row.uuid)[-1] == "failed: Abandoned by alice: the host was sold."
    assert claims.claim(db, "b", 60, DAY_S) is None


def test_a_dead_engine_that_comes_back_finds_its_claim_gone(db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db, lease_s=-1)
    interventions.abandon(db, row.uuid, "alice", "because")
    with pytest.raises(LeaseLost):
        claims.finish(db, taken, Status.FINISHED, "late")
    assert leases.renew(db, Notification, "a", {row.uuid}, 60) == frozenset()
    assert read(db, row.uuid).status == Status.FAILED


@pytest.mark.parametrize("status", [Status.FINISHED, Status.IGNORED, Status.FAILED])
def test_what_has_ended_is_not_abandoned(db: Database, status: NotificationStatus) -> None:
    row = factories.notification(db, factories.host(db))
    claims.finish(db, claim(db), status, "done")
    with pytest.raises(Conflict, match=rf"has already ended: it is {status}\."):
        interventions.abandon(db, row.uuid, "alice", "because")


def test_one_that_was_abandoned_can_be_tried_again(db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    claim(db, lease_s=-1)
    interventions.abandon(db, row.uuid, "alice", "because")
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    assert claim(db).uuid == row.uuid


def half_done(db: Database) -> tuple[Notification, dict[str, str]]:
    """A recovery whose engine died in the middle; its moves' statuses by instance."""
    host = factories.host(db, reserved=True)
    spare = factories.host(db, "spare1", segment_uuid=host.segment_uuid, reserved=True)
    row = factories.notification(db, host)
    taken = claim(db, lease_s=60)
    recoveries.begin_maintenance(db, taken)
    recoveries.about_to_disable(db, taken, "It failed.")
    assert reserved.take(db, taken, ()) == spare.name
    plans = [moves.Plan(f"i-{n}", f"vm-{n}", "active", 1, 0) for n in range(1, 5)]
    made = moves.prepare(db, taken, plans)
    for move in made[:3]:
        move.locked = move.instance_uuid != "i-3"
        moves.begin(db, taken, move)
    moves.end(db, taken, made[0], MoveStatus.SUCCEEDED, step="evacuate", dest_host="compute2")
    past = taken.created_at - datetime.timedelta(seconds=1)
    change(db, row.uuid, lease_until=past)
    return row, {
        move.instance_uuid: move.status for move in recovery_history.read(db, row.uuid).moves
    }


def test_all_that_must_be_cleaned_up_is_returned(db: Database) -> None:
    row, before = half_done(db)
    assert before == {"i-1": "succeeded", "i-2": "ongoing", "i-3": "ongoing", "i-4": "pending"}
    left = interventions.abandon(db, row.uuid, "alice", "because")
    segment = row.segment_uuid
    assert left == [
        Leftover(Kind.EVACUATION, "compute1", segment, "i-2", "vm-2"),
        Leftover(Kind.EVACUATION, "compute1", segment, "i-3", "vm-3"),
        Leftover(Kind.LOCK, "compute1", segment, "i-1", "vm-1"),
        Leftover(Kind.LOCK, "compute1", segment, "i-2", "vm-2"),
        Leftover(Kind.SERVICE_DISABLED, "compute1", segment),
        Leftover(Kind.MAINTENANCE, "compute1", segment),
        Leftover(Kind.WAS_RESERVED, "compute1", segment),
        Leftover(Kind.RESERVED_TAKEN, "spare1", segment),
    ]
    # also for who was not there: the API shows the message
    assert read(db, row.uuid).message == ("Abandoned by alice: because. Still locked: i-1, i-2.")


def test_no_move_of_an_abandoned_recovery_seems_to_go_on(db: Database) -> None:
    row, _ = half_done(db)
    interventions.abandon(db, row.uuid, "alice", "because")
    shown = {move.instance_uuid: move for move in recovery_history.read(db, row.uuid).moves}
    assert {uuid: move.status for uuid, move in shown.items()} == {
        "i-1": "succeeded", "i-2": "failed", "i-3": "failed", "i-4": "failed"
    }  # fmt: skip
    assert shown["i-2"].message == "Abandoned by alice: because."
    assert shown["i-2"].end_time is not None
    # a VM's own notification is not taken for the business of the abandoned one
    later = factories.notification(
        db, host_of(db, "compute1"), type="VM", payload={"instance_uuid": "i-4"}
    )
    assert since.moved_by(db, "i-4", claim(db)) is None
    assert later.uuid != row.uuid


def host_of(db: Database, name: str) -> Host:
    with db.read() as session:
        return session.scalars(sa.select(Host).where(Host.name == name)).one()


def test_what_was_cleaned_up_is_no_longer_listed(db: Database) -> None:
    row, _ = half_done(db)
    interventions.abandon(db, row.uuid, "alice", "because")
    with db.write() as session:
        session.execute(sa.update(Host).values(on_maintenance=False, maintenance_by=None))
        session.execute(sa.update(Host).values(reserved=True))
    kinds = {each.kind for each in interventions.leftovers(db, row.uuid)}
    assert not kinds & {Kind.MAINTENANCE, Kind.WAS_RESERVED}
    assert Kind.SERVICE_DISABLED in kinds
