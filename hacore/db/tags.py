# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Whether what a client has read has changed: a tag of row counters, never of rendered text.

Counters are ids, times of change and numbers of writes.  Each write of an engine counts up
`Notification.locks`, each of an operator adds a line to the history; so a tag costs a query or
two, however long the history is.
"""

import datetime
import hashlib
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from hacore.db import holds, recovery_lists, services, watch
from hacore.db.engine import Database, retry
from hacore.db.models import (
    HistoryEntry,
    Host,
    HostState,
    Notification,
    Pause,
    Segment,
    Service,
    Watch,
)
from hacore.db.recovery_lists import Wanted
from hacore.errors import NotificationNotFound
from hacore.states import NotificationStatus


def of_page(db: Database, wanted: Wanted, limit: int, marker: str | None = None) -> str:
    """Return the tag of `recovery_lists.page`; raises InvalidMarker."""
    return _tag(recovery_lists.counters(db, wanted, limit, marker))


@retry
def of_recovery(db: Database, notification_uuid: str) -> str:
    """Return the tag of all that is known of a recovery.

    Raises NotificationNotFound.
    """
    last_entry = (
        sa.select(sa.func.max(HistoryEntry.id))
        .where(HistoryEntry.notification_uuid == Notification.uuid)
        .scalar_subquery()
    )
    query = (
        sa.select(
            last_entry,
            Notification.id,
            Notification.locks,
            Notification.updated_at,
            Notification.status,
            Notification.lease_until,
            Host.updated_at,
            Segment.updated_at,
        )
        .join(Host, Host.uuid == Notification.source_host_uuid)
        .join(Segment, Segment.uuid == Notification.segment_uuid)
        .where(Notification.uuid == notification_uuid)
    )
    taken = sa.select(sa.func.count(Host.id), sa.func.max(Host.updated_at)).where(
        Host.taken_by == notification_uuid, Host.deleted == 0
    )
    with db.read() as session:
        row = session.execute(query).one_or_none()
        if row is None:
            raise NotificationNotFound(f"No notification has the uuid {notification_uuid}.")
        lease = row.lease_until
        claimed = (
            row.status == NotificationStatus.RUNNING
            and lease is not None
            and lease >= db.now(session)
        )
        reserved = session.execute(taken).one()
    return _tag([tuple(row), claimed, tuple(reserved)])


@retry
def of_safety(db: Database) -> str:
    """Return the tag of what is held, paused and heard, and of the versions of the engines."""
    with db.read() as session:
        now = db.now(session)
        row = session.scalars(sa.select(Watch)).first()
        looked = None if row is None else (row.looked_at, row.updated_at)
        counters = [
            session.execute(query).all()
            for query in (_STATES, _PAUSES.where(_lasts(now)), _HELD, _ENGINES.where(_lives(now)))
        ]
    return _tag([watch.is_current(row, now), looked, *counters])


_STATES = sa.select(sa.func.count(HostState.id), sa.func.max(HostState.updated_at))
_PAUSES = sa.select(Pause.id, Pause.updated_at, Pause.until).order_by(Pause.id)
_HELD = (
    sa.select(Notification.held_rule, sa.func.count(Notification.id))
    .where(holds.HELD)
    .group_by(Notification.held_rule)
    .order_by(Notification.held_rule)
)
_ENGINES = (
    sa.select(Service.id, Service.version)
    .where(Service.binary == services.ENGINE)
    .order_by(Service.id)
)


def _lasts(now: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.or_(Pause.until.is_(None), Pause.until > now)


def _lives(now: datetime.datetime) -> sa.ColumnElement[bool]:
    return Service.alive_until >= now


def _tag(counters: Iterable[Any]) -> str:
    return hashlib.sha256(repr(list(counters)).encode()).hexdigest()[:32]
