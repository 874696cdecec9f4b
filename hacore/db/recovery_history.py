# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Recoveries as an operator reads them: a list of them, or one with its whole history."""

import dataclasses
import datetime
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import history, moves, notifications
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Host, Move, Notification


@dataclasses.dataclass(frozen=True)
class RecoveryHistory:
    """A notification with its host and segment, its moves and its history, both in order."""

    notification: Notification
    moves: list[Move]
    entries: list[HistoryEntry]
    #: The database's time when this was read.
    now: datetime.datetime


@retry
def list_(
    db: Database,
    *,
    statuses: Collection[str] = (),
    host: str | None = None,
    limit: int = 50,
) -> list[Notification]:
    """Return notifications with their hosts, the newest first.

    :param statuses: only these; all where none is given.
    :param host: only of the host of this name, also one that is no longer registered.
    """
    query = (
        sa.select(Notification)
        .join(Notification.host)
        .options(orm.contains_eager(Notification.host))
        .order_by(Notification.id.desc())
        .limit(limit)
    )
    if statuses:
        query = query.where(Notification.status.in_(statuses))
    if host is not None:
        query = query.where(Host.name == host)
    with db.read() as session:
        return list(session.scalars(query))


@retry
def read(db: Database, notification_uuid: str) -> RecoveryHistory:
    """Return everything that is known of one notification.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        now = db.now(session)
        row = notifications.find(
            session,
            notification_uuid,
            orm.joinedload(Notification.host),
            orm.joinedload(Notification.segment),
        )
        return RecoveryHistory(row, moves.of(session, row.uuid), history.of(session, row.uuid), now)
