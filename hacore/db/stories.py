# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Recoveries as an operator reads them: many in a list, one with all that happened."""

import dataclasses
import datetime
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db.engine import Database, retry
from hacore.db.models import Event, Host, Move, Notification, Segment
from hacore.errors import NotificationNotFound


@dataclasses.dataclass(frozen=True)
class Story:
    """A notification with its host and segment, the moves in order, the events in order."""

    notification: Notification
    moves: list[Move]
    events: list[Event]
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
    :param host: only of the host of this name, also where it is registered no more.
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
def read(db: Database, notification_uuid: str) -> Story:
    """Return the whole story of one notification.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        now = db.now(session)
        row = session.scalar(
            sa.select(Notification)
            .join(Notification.host)
            .join(Segment, Segment.uuid == Notification.segment_uuid)
            .options(
                orm.contains_eager(Notification.host), orm.contains_eager(Notification.segment)
            )
            .where(Notification.uuid == notification_uuid)
        )
        if row is None:
            raise NotificationNotFound(f"No notification has the uuid {notification_uuid}.")
        moves = session.scalars(
            sa.select(Move)
            .where(Move.notification_uuid == notification_uuid)
            .order_by(Move.position)
        )
        events = session.scalars(
            sa.select(Event).where(Event.notification_uuid == notification_uuid).order_by(Event.id)
        )
        return Story(row, list(moves), list(events), now)
