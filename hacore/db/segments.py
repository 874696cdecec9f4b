# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Segments: what stands in for what.

A segment under recovery (a notification of it is new, running, or will be
tried again) can be neither changed nor deleted, nor can its hosts; but it can be
disabled and enabled at any time.
"""

import datetime
import logging
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db import claims, history, paging
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Notification, Operation, Segment
from hacore.errors import Duplicate, InUse, SegmentNotFound
from hacore.states import LIVE, OPERATION_OPEN

LOG = logging.getLogger(__name__)


@retry
def create(db: Database, values: Mapping[str, Any]) -> Segment:
    """Add a segment; `values` are attributes of it.

    Raises Duplicate if its name is taken.
    """
    try:
        with db.write() as session:
            segment = Segment(uuid=str(uuid.uuid4()), created_at=db.now(session), **values)
            session.add(segment)
            session.flush()
            return segment
    except db_exc.DBDuplicateEntry as exc:
        raise _taken(values) from exc


@retry
def get(db: Database, segment_uuid: str) -> Segment:
    """Return one segment.

    Raises SegmentNotFound.
    """
    with db.read() as session:
        return find(session, segment_uuid)


@retry
def list_(db: Database, filters: Mapping[str, Any], page: paging.Page) -> list[Segment]:
    """Return a page of the segments whose attributes equal `filters`."""
    query = sa.select(Segment).where(Segment.deleted == 0).filter_by(**filters)
    with db.read() as session:
        return paging.fetch(session, query, Segment, page)


@retry
def update(db: Database, segment_uuid: str, changes: Mapping[str, Any]) -> Segment:
    """Set the attributes in `changes`.

    Whether it is enabled can always be changed.  Disabled, it begins no recovery; each one that
    has begun goes on to its end, and has a line in its history that says so.

    Raises SegmentNotFound, InUse, or Duplicate if the name is taken.
    """
    try:
        with db.write() as session:
            segment = _lock(session, segment_uuid)
            if not _only_switches(segment, changes):
                refuse_in_use(session, segment_uuid, f"Segment {segment_uuid}")
            now = db.now(session)
            if segment.enabled and changes.get("enabled") is False:
                _note_in_recoveries(session, segment, now)
            for name, value in changes.items():
                setattr(segment, name, value)
            segment.updated_at = now
            session.flush()
            return segment
    except db_exc.DBDuplicateEntry as exc:
        raise _taken(changes) from exc


@retry
def delete(db: Database, segment_uuid: str) -> Segment:
    """Soft-delete a segment and its hosts; their names are free again.  Returns the segment.

    Raises SegmentNotFound or InUse.
    """
    with db.write() as session:
        segment = _lock(session, segment_uuid)
        refuse_in_use(session, segment_uuid, f"Segment {segment_uuid}")
        _refuse_operations(session, segment_uuid)
        now = db.now(session)
        session.execute(
            sa.update(Host)
            .where(Host.segment_uuid == segment_uuid, Host.deleted == 0)
            .values(deleted=Host.id, deleted_at=now)
        )
        segment.deleted, segment.deleted_at = segment.id, now
        return segment


@retry
def named(db: Database, name: str) -> Segment:
    """Return the segment that has this name or uuid.

    Raises SegmentNotFound.
    """
    found = sa.select(Segment).where(Segment.deleted == 0)
    with db.read() as session:
        # a name first: it may look like the uuid of another one
        for query in (found.where(Segment.name == name), found.where(Segment.uuid == name)):
            segment = session.scalar(query)
            if segment is not None:
                return segment
    raise SegmentNotFound(f"No segment has the name or the uuid {name!r}.")


def find(session: orm.Session, segment_uuid: str, lock: bool = False) -> Segment:
    """Return the segment within a transaction; with `lock`, others wait before they change it.

    Raises SegmentNotFound.
    """
    query = sa.select(Segment).where(Segment.uuid == segment_uuid, Segment.deleted == 0)
    segment = session.scalar(query.with_for_update() if lock else query)
    if segment is None:
        raise SegmentNotFound(f"No segment has the uuid {segment_uuid}.")
    return segment


def refuse_in_use(session: orm.Session, segment_uuid: str, what: str) -> None:
    """Raise InUse if a recovery of the segment is under way or to come."""
    live = session.scalar(
        sa.select(Notification.uuid)
        .where(Notification.segment_uuid == segment_uuid, Notification.status.in_(LIVE))
        .limit(1)
    )
    if live is not None:
        raise InUse(
            f"{what} cannot be changed or deleted while notification {live} of its segment "
            "has not ended."
        )


def _refuse_operations(session: orm.Session, segment_uuid: str) -> None:
    """Raise InUse if a host of the segment has an open operation: it would be deleted with it."""
    found = session.execute(
        sa.select(Operation.uuid, Host.name)
        .join(Operation.host)
        .where(Host.segment_uuid == segment_uuid, Operation.status.in_(OPERATION_OPEN))
        .limit(1)
    ).first()
    if found is not None:
        raise InUse(
            f"Segment {segment_uuid} cannot be deleted while operation {found.uuid} of its host "
            f"{found.name} has not ended."
        )


def _lock(session: orm.Session, segment_uuid: str) -> Segment:
    """Lock the hosts, then the segment: intake locks in the same order."""
    session.execute(
        sa.select(Host.id)
        .where(Host.segment_uuid == segment_uuid, Host.deleted == 0)
        .order_by(Host.id)
        .with_for_update()
    ).all()
    segment = find(session, segment_uuid, lock=True)
    # Intake on another node of a Galera cluster does not see the locks, but writes its host too.
    session.execute(
        sa.update(Host)
        .where(Host.segment_uuid == segment_uuid, Host.deleted == 0)
        .values(locks=Host.locks + 1)
        .execution_options(synchronize_session=False)
    )
    return segment


def _only_switches(segment: Segment, changes: Mapping[str, Any]) -> bool:
    """Whether nothing but ``enabled`` would differ: some clients send all attributes."""
    others = (name for name, value in changes.items() if getattr(segment, name) != value)
    return "enabled" in changes and set(others) <= {"enabled"}


def _note_in_recoveries(session: orm.Session, segment: Segment, now: datetime.datetime) -> None:
    begun = session.execute(
        sa.select(Notification.uuid, Notification.claim_number)
        .where(
            Notification.segment_uuid == segment.uuid,
            Notification.status.in_(LIVE),
            Notification.begun.is_(True),
        )
        .order_by(Notification.id)
    ).all()
    for row in begun:
        text = claims.goes_on(segment.name)
        history.add(session, row.uuid, row.claim_number, now, message=text)
        LOG.info("notification %s: %s", row.uuid, text)


def _taken(values: Mapping[str, Any]) -> Duplicate:
    return Duplicate(f"name: there is a segment named {values.get('name')!r} already.")
