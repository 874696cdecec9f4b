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
    factories.notification(db, host, created_at=LONG_AGO)  # nobody has come to it
    gone = factories.segment(db, deleted=1, deleted_at=LONG_AGO)
    factories.host(db, "old", segment_uuid=gone.uuid, deleted=1, deleted_at=LONG_AGO)
    return db


def test_only_what_is_old_and_over_is_removed(filled: Database) -> None:
    before = rows(filled)
    removed = purge.purge(filled, 30)
    assert removed == {
        "recovery_events": 2, "vmoves": 1, "notifications": 1, "hosts": 1, "segments": 1,
        "services": 0,
    }  # fmt: skip
    after = rows(filled)
    assert {name: before[name] - after[name] for name in removed} == removed
    assert purge.purge(filled, 30) == dict.fromkeys(removed, 0)


def test_a_dry_run_only_counts(filled: Database) -> None:
    before = rows(filled)
    assert purge.purge(filled, 30, dry_run=True)["notifications"] == 1
    assert rows(filled) == before


def test_a_deleted_host_stays_while_a_notification_names_it(db: Database) -> None:
    host = factories.host(db, deleted=1, deleted_at=LONG_AGO)
    ended(db, host, datetime.datetime.now(datetime.UTC))
    assert purge.purge(db, 30)["hosts"] == 0
