# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What clients that ask again and again read, on every database."""

import datetime

import pytest
import sqlalchemy as sa

from hacore.db import (
    approvals,
    claims,
    gates,
    holds,
    interventions,
    pauses,
    recovery_lists,
    tags,
    watch,
)
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.db.recovery_lists import Wanted
from hacore.errors import Conflict, InvalidMarker, NotificationNotFound
from hacore.states import Answer, Gate, NotificationStatus, NotificationType, Rule
from tests import factories

DAY_S = 86400
NOBODYS = "5f2a7c1e-0000-4000-8000-000000000000"


def claim(db: Database) -> claims.Claim:
    taken = claims.claim(db, "a", 60, DAY_S)
    assert taken is not None
    return taken


def held(db: Database, name: str, rule: Rule, missing: int | None = None) -> Notification:
    factories.look(db, name)
    row: Notification = factories.notification(db, factories.host(db, name))
    facts = {"hosts": 10} if missing is None else {"hosts": 10, "missing": missing}
    holds.hold(db, claim(db), Gate.LIMITS, rule, "x", facts)
    return row


def uuids(db: Database, wanted: Wanted, limit: int = 100, marker: str | None = None) -> list[str]:
    return [row.uuid for row in recovery_lists.page(db, wanted, limit, marker)]


def test_pages_and_filters(db: Database) -> None:
    first = held(db, "compute1", Rule.MAJORITY)
    second = held(db, "compute2", Rule.PAUSE)
    third = factories.notification(
        db,
        factories.host(db, "compute3"),
        status=NotificationStatus.FINISHED,
        type=NotificationType.PROCESS,
    )
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)

    assert uuids(db, Wanted()) == [third.uuid, second.uuid, first.uuid]
    assert uuids(db, Wanted(), 2) == [third.uuid, second.uuid]
    assert uuids(db, Wanted(), 2, second.uuid) == [first.uuid]
    assert uuids(db, Wanted(), 2, str(third.id)) == [second.uuid, first.uuid]
    assert uuids(db, Wanted(held=True)) == [second.uuid, first.uuid]
    assert uuids(db, Wanted(held=False)) == [third.uuid]
    assert uuids(db, Wanted(host="compute1")) == [first.uuid]
    assert uuids(db, Wanted(type="PROCESS", statuses=("finished", "new"))) == [third.uuid]
    assert uuids(db, Wanted(since=soon)) == []
    with pytest.raises(InvalidMarker):
        recovery_lists.page(db, Wanted(), 2, NOBODYS)
    with pytest.raises(InvalidMarker):
        tags.of_page(db, Wanted(), 2, NOBODYS)


def test_the_tag_of_a_page_is_that_of_its_rows(db: Database) -> None:
    first = held(db, "compute1", Rule.MAJORITY)
    all_of_them, of_one = Wanted(), Wanted(host="compute1")
    before = tags.of_page(db, all_of_them, 100), tags.of_page(db, of_one, 100)
    assert before[0] == before[1] == tags.of_page(db, all_of_them, 100)

    held(db, "compute2", Rule.PAUSE)
    assert tags.of_page(db, all_of_them, 100) != before[0]
    assert tags.of_page(db, of_one, 100) == before[1]

    approvals.approve(db, first.uuid, Rule.MAJORITY, "alice", "x", None)
    assert tags.of_page(db, of_one, 100) != before[1]
    assert tags.of_page(db, of_one, 0) == tags.of_page(db, Wanted(host="nobody"), 100)


def test_the_tag_of_a_recovery(db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    other = factories.notification(db, factories.host(db, "compute2"))
    seen = [tags.of_recovery(db, row.uuid)]
    taken = claim(db)
    seen.append(tags.of_recovery(db, row.uuid))
    gates.record(db, taken, Gate.LIVENESS, Answer.WAIT, {}, "x")
    seen.append(tags.of_recovery(db, row.uuid))
    claims.finish(db, taken, NotificationStatus.ERROR, "x", failed=True, retry_after_s=600)
    seen.append(tags.of_recovery(db, row.uuid))
    interventions.try_again(db, row.uuid, "alice", DAY_S)
    seen.append(tags.of_recovery(db, row.uuid))
    assert tags.of_recovery(db, row.uuid) == seen[-1]

    assert len(set(seen)) == 5
    assert tags.of_recovery(db, other.uuid) not in seen
    with pytest.raises(NotificationNotFound):
        tags.of_recovery(db, NOBODYS)


def test_the_tag_of_safety(db: Database) -> None:
    seen = [tags.of_safety(db)]
    hosts = [watch.Seen("compute1", "nova", "silent", 40.0, None)]
    watch.write(db, "a", 60, watch.Look(hosts, 10.0, 5.0, None, 0.0, listed=True))
    seen.append(tags.of_safety(db))
    pauses.pause(db, pauses.ALL, "alice", "x", 3600)
    seen.append(tags.of_safety(db))
    held(db, "compute1", Rule.PAUSE)
    seen.append(tags.of_safety(db))
    pauses.resume(db, pauses.ALL)
    seen.append(tags.of_safety(db))

    assert len(set(seen)) == 5
    assert tags.of_safety(db) == seen[-1]


def test_what_is_new_in_a_history(db: Database) -> None:
    row = held(db, "compute1", Rule.MAJORITY)
    held(db, "compute2", Rule.PAUSE)
    everything = recovery_lists.entries_after(db, row.uuid, 0, 100)
    ids = [entry.id for entry in everything]

    assert ids == sorted(ids)
    assert {entry.notification_uuid for entry in everything} == {row.uuid}
    assert [each.id for each in recovery_lists.entries_after(db, row.uuid, ids[0], 1)] == [ids[1]]
    assert recovery_lists.entries_after(db, row.uuid, 10**12, 100) == []
    with pytest.raises(NotificationNotFound):
        recovery_lists.entries_after(db, NOBODYS, 0, 100)


# ------------------------------------------------------ for what a decision stands


@pytest.mark.parametrize(
    ("seen", "shown", "stands_for"),
    [(6, 6, 6), (6, 8, 8), (6, None, 6), (None, 4, 4), (None, None, None)],
)
def test_an_approval_stands_for_what_was_shown(
    db: Database, seen: int | None, shown: int | None, stands_for: int | None
) -> None:
    row = held(db, "compute1", Rule.MAJORITY, seen)

    approvals.approve(db, row.uuid, Rule.MAJORITY, "alice", "x", shown)

    with db.read() as session:
        now = session.scalars(sa.select(Notification)).one()
        assert [each.missing for each in holds.approvals_of(now)] == [stands_for]
        if stands_for is not None:
            at = db.now(session)
            assert holds.approval_of(now, Rule.MAJORITY, at, stands_for)
            assert not holds.approval_of(now, Rule.MAJORITY, at, stands_for + 1)


def test_the_last_gate_that_counted_decides(db: Database) -> None:
    factories.look(db, "compute1")
    row = factories.notification(db, factories.host(db))
    taken = claim(db)
    gates.record(db, taken, Gate.LIMITS, Answer.GO, {"hosts": 10, "missing": 9}, "9 of 10")
    gates.record(db, taken, Gate.LIMITS, Answer.WAIT, {"hosts": 10, "missing": 7}, "7 of 10")
    holds.hold(db, taken, Gate.LIVENESS, Rule.NOVA, "x", {"illness": "y"})

    with pytest.raises(Conflict) as refused:
        approvals.approve(db, row.uuid, Rule.NOVA, "alice", "x", 6)
    assert str(refused.value) == (
        "The facts have changed: 7 of 10 hosts are missing (shown: 6). Look again."
    )
    approvals.approve(db, row.uuid, Rule.NOVA, "alice", "x", 7)
