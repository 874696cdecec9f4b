# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Removes old rows."""

import datetime
import logging

import sqlalchemy as sa

from hacore.db.engine import Database, change, retry
from hacore.db.models import Base, HistoryEntry, Host, Move, Notification, Segment, Service
from hacore.states import ENDED

LOG = logging.getLogger(__name__)


class _DryRun(Exception):
    """Rolls the transaction back."""


@retry
def purge(db: Database, before_days: int, *, dry_run: bool = False) -> dict[str, int]:
    """Remove what ended or was deleted more than `before_days` ago; return rows by table.

    Notifications go with their moves and history; segments and hosts only if they are
    soft-deleted and no notification refers to them; processes by their last heartbeat.
    """
    counts: dict[str, int] = {}
    try:
        with db.write() as session:
            limit = db.now(session) - datetime.timedelta(days=before_days)
            old = sa.select(Notification.uuid).where(
                Notification.status.in_(ENDED),
                sa.func.coalesce(Notification.updated_at, Notification.created_at) < limit,
            )
            conditions: list[tuple[type[Base], sa.ColumnElement[bool]]] = [
                (HistoryEntry, HistoryEntry.notification_uuid.in_(old)),
                (Move, Move.notification_uuid.in_(old)),
                # two levels: MariaDB does not delete from a table it selects from
                (Notification, Notification.uuid.in_(sa.select(old.subquery().c.uuid))),
                (
                    Host,
                    sa.and_(
                        Host.deleted != 0,
                        Host.deleted_at < limit,
                        Host.uuid.not_in(sa.select(Notification.source_host_uuid)),
                    ),
                ),
                (
                    Segment,
                    sa.and_(
                        Segment.deleted != 0,
                        Segment.deleted_at < limit,
                        Segment.uuid.not_in(sa.select(Notification.segment_uuid)),
                        Segment.uuid.not_in(sa.select(Host.segment_uuid)),
                    ),
                ),
                (Service, Service.alive_until < limit),
            ]
            for model, condition in conditions:
                counts[model.__tablename__] = change(session, sa.delete(model).where(condition))
            if dry_run:
                raise _DryRun
    except _DryRun:
        return counts
    LOG.info("Purged rows older than %d days: %s", before_days, counts)
    return counts
