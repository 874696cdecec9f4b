# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore-manage db purge removes, and what it must not."""

import datetime

import pytest
import sqlalchemy as sa

from hacore.db import claims, moves, purge
from hacore.db.engine import Database
from hacore.db.models import Base, Host, Notification
from hacore.states import NotificationStatus as Status
from tests import factories

LONG_AGO = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=40)


def ended(db: Database, host: Host, at: datetime.datetime) -> str:
    """A finished host recovery with one move; returns its uuid."""
    row = factories.notification(db, host)
    claim = claims.claim(db, "a", 60, 1e9)
    assert claim is not None
    moves.prepare(db, claim, [moves.Plan("i-1", "vm", "active", 1, 0)])
    claims.finish(db, claim, Status.FINISHED, "done")
    with db.write() as session:
        session.execute(
            sa.update(Notification)
            .where(Notification.uuid == row.uuid)
            .values(created_at=at, updated_at=at)
        )
    return str(row.uuid)


def rows(db: Database) -> dict[str, int]:
    with db.read() as session:
        return {
            table.name: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def filled(db: Database) -> Database:
    """Old and new, ended and live, deleted and not."""
    host = factories.host(db)
    ended(db, host, LONG_AGO)
    ended(db, host, datetime.datetime.now(datetime.UTC))
    gone = factories.segment(db, deleted=1, deleted_at=LONG_AGO)
    old = factories.host(db, "old", segment_uuid=gone.uuid)
    ended(db, old, LONG_AGO)
    with db.write() as session:
        deleted = {"deleted": Host.id, "deleted_at": LONG_AGO}
        session.execute(sa.update(Host).where(Host.uuid == old.uuid).values(deleted))
    factories.notification(db, host, created_at=LONG_AGO)  # nobody has come to it
    return db


def test_only_what_is_old_and_over_is_removed(filled: Database) -> None:
    before = rows(filled)
    removed = purge.purge(filled, 30)
    assert removed == {
        "recovery_events": 4, "vmoves": 2, "notifications": 2, "operation_events": 0,
        "operations": 0, "hosts": 1, "segments": 1, "services": 0, "proofs": 0,
        "fencing_orders": 0, "fencing_devices": 0, "fencing_device_events": 0,
    }  # fmt: skip
    after = rows(filled)
    assert {name: before[name] - after[name] for name in removed} == removed
    assert purge.purge(filled, 30) == dict.fromkeys(removed, 0)


def test_a_dry_run_only_counts(filled: Database) -> None:
    before = rows(filled)
    counted = purge.purge(filled, 30, dry_run=True)
    assert counted["notifications"] == 2
    assert rows(filled) == before
    assert purge.purge(filled, 30) == counted


def test_an_interrupted_purge_leaves_whole_notifications(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch after batch, each a transaction of its own, which Galera limits the size of."""
    monkeypatch.setattr(purge, "_BATCH", 2)
    host = factories.host(db)
    for _ in range(5):
        ended(db, host, LONG_AGO)
    before = rows(db)
    deletes = 0

    def interrupt(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        nonlocal deletes
        deletes += statement.startswith("DELETE FROM notifications")
        if deletes == 2:
            raise RuntimeError("power cut")

    sa.event.listen(db.bind, "before_cursor_execute", interrupt)
    with pytest.raises(Exception, match="power cut"):
        purge.purge(db, 30)
    sa.event.remove(db.bind, "before_cursor_execute", interrupt)
    after = rows(db)
    assert {name: before[name] - after[name] for name in before if before[name] != after[name]} == {
        "recovery_events": 4, "vmoves": 2, "notifications": 2,
    }  # fmt: skip
    assert purge.purge(db, 30)["notifications"] == 3
    assert rows(db)["recovery_events"] == 0


def test_a_deleted_host_stays_while_a_notification_names_it(db: Database) -> None:
    host = factories.host(db, deleted=1, deleted_at=LONG_AGO)
    ended(db, host, datetime.datetime.now(datetime.UTC))
    assert purge.purge(db, 30)["hosts"] == 0
