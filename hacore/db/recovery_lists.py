# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Recoveries for clients that ask again and again: pages of them, and what is new in one."""

import dataclasses
import datetime

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import holds, notifications, paging
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Host, Notification, Segment

_NEWEST_FIRST = (paging.Sort("id", descending=True),)
#: What an id is at most, on every database.
_LARGEST_ID = 2**31 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Which recoveries; a filter that is empty or None takes all.

    :ivar host: name of the host, also of one that is no longer registered.
    :ivar since: accepted then or later.
    """

    statuses: tuple[str, ...] = ()
    type: str | None = None
    host: str | None = None
    since: datetime.datetime | None = None
    held: bool | None = None


@retry
def page(db: Database, wanted: Wanted, limit: int, marker: str | None = None) -> list[Notification]:
    """Return notifications with their hosts and segments, the newest first.

    Raises InvalidMarker.
    """
    query = _matching(wanted).options(
        orm.contains_eager(Notification.host), orm.contains_eager(Notification.segment)
    )
    with db.read() as session:
        return paging.fetch(session, query, Notification, _page(limit, marker))


@retry
def one(db: Database, notification_uuid: str) -> Notification:
    """Return a notification with its host and segment.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        return notifications.find(
            session,
            notification_uuid,
            orm.joinedload(Notification.host),
            orm.joinedload(Notification.segment),
        )


@retry
def counters(
    db: Database, wanted: Wanted, limit: int, marker: str | None = None
) -> list[tuple[object, ...]]:
    """Return, of the same page, what changes when one of its rows does.

    Raises InvalidMarker.
    """
    with db.read() as session:
        cut = paging.cut(session, _matching(wanted), Notification, _page(limit, marker))
        rows = session.execute(
            cut.with_only_columns(
                Notification.id,
                Notification.status,
                Notification.claim_number,
                Notification.locks,
                Notification.updated_at,
                Host.updated_at,
                Segment.updated_at,
            )
        )
        return [tuple(row) for row in rows]


def _page(limit: int, marker: str | None) -> paging.Page:
    return paging.Page(limit, marker, _NEWEST_FIRST)


def _matching(wanted: Wanted) -> sa.Select[Notification]:
    query = sa.select(Notification).join(Notification.host).join(Notification.segment)
    if wanted.statuses:
        query = query.where(Notification.status.in_(wanted.statuses))
    if wanted.type is not None:
        query = query.where(Notification.type == wanted.type)
    if wanted.host is not None:
        query = query.where(Host.name == wanted.host)
    if wanted.since is not None:
        query = query.where(Notification.created_at >= wanted.since)
    if wanted.held is not None:
        query = query.where(holds.HELD if wanted.held else sa.not_(holds.HELD))
    return query


@retry
def entries_after(
    db: Database, notification_uuid: str, after: int, limit: int
) -> list[HistoryEntry]:
    """Return what the history of a recovery has after the entry with that id, in order.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        notifications.find(session, notification_uuid)
        return list(
            session.scalars(
                sa.select(HistoryEntry)
                .where(
                    HistoryEntry.notification_uuid == notification_uuid,
                    HistoryEntry.id > min(after, _LARGEST_ID),
                )
                .order_by(HistoryEntry.id)
                .limit(limit)
            )
        )
