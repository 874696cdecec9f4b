# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Pauses: a person lets no recovery of a host or an instance begin, in a segment or anywhere."""

import dataclasses
import datetime
import logging

import sqlalchemy as sa

from hacore.db import segments
from hacore.db.engine import Database, UtcNow, retry
from hacore.db.models import Pause
from hacore.errors import Conflict

LOG = logging.getLogger(__name__)

#: The scope of a pause of all segments.
ALL = "all"


@dataclasses.dataclass(frozen=True, slots=True)
class Paused:
    """One pause: of ``all`` or of the segment with that uuid; without `until` it has no end."""

    scope: str
    by: str
    reason: str
    since: datetime.datetime
    until: datetime.datetime | None


@retry
def pause(db: Database, scope: str, by: str, reason: str, for_s: float | None) -> Paused:
    """Begin a pause, or change the one of this scope.

    :param scope: ``all`` or the uuid of a segment.  Raises SegmentNotFound.
    :param for_s: seconds until it ends by itself; None: a person ends it.
    """
    if scope != ALL:
        segments.get(db, scope)
    with db.write() as session:
        now = db.now(session)
        row = session.scalars(_of(scope)).first()
        if row is None:
            row = Pause(scope=scope, created_at=now)
            session.add(row)
        elif row.until is not None and row.until <= now:
            row.created_at = now
        row.by, row.reason, row.updated_at = by, reason, now
        row.until = None if for_s is None else now + datetime.timedelta(seconds=for_s)
        made = _paused(row)
    until = f"until {made.until:%Y-%m-%d %H:%M:%S} UTC" if made.until else "until it is ended"
    LOG.warning("pause of %s: by %s, %s: %s", scope, by, until, reason)
    return made


@retry
def resume(db: Database, scope: str, by: str | None = None, reason: str | None = None) -> Paused:
    """End the pause of this scope; return what it was.  Raises Conflict where there is none.

    :param by: who ends it, and why: for the log.
    """
    with db.write() as session:
        now = db.now(session)
        row = session.scalars(_of(scope)).first()
        if row is None or (row.until is not None and row.until <= now):
            what = "Recoveries are" if scope == ALL else f"Segment {scope} is"
            raise Conflict(f"{what} not paused.")
        session.delete(row)
        ended = _paused(row)
    LOG.warning("pause of %s: ended by %s: %s", scope, by or "an operator", reason or "no reason")
    return ended


def all_of(db: Database) -> list[Paused]:
    """Return the pauses that have not ended, the oldest first."""
    with db.read() as session:
        return [_paused(row) for row in session.scalars(_current(db.now(session)))]


@retry
def of_segment(db: Database, segment_uuid: str) -> Paused | None:
    """Return a pause that holds recoveries of this segment, or None."""
    found = sa.select(Pause, UtcNow()).where(Pause.scope.in_((ALL, segment_uuid)))
    with db.read() as session:  # asked before each evacuate call: one statement
        for row, now in session.execute(found.order_by(Pause.created_at, Pause.id)):
            if row.until is None or row.until > db.time_in(now):
                return _paused(row)
    return None


def longest_without_end_s(db: Database) -> float:
    """Return for how long the oldest pause lasts that only a person ends; 0: there is none."""
    with db.read() as session:
        now = db.now(session)
        since = session.scalar(
            sa.select(sa.func.min(Pause.created_at)).where(Pause.until.is_(None))
        )
        return (now - since).total_seconds() if since else 0.0


def _of(scope: str) -> sa.Select[Pause]:
    """Select the pause of this scope, ended or not, and lock it."""
    return sa.select(Pause).where(Pause.scope == scope).with_for_update()


def _current(now: datetime.datetime) -> sa.Select[Pause]:
    lasts = sa.or_(Pause.until.is_(None), Pause.until > now)
    return sa.select(Pause).where(lasts).order_by(Pause.created_at, Pause.id)


def _paused(row: Pause) -> Paused:
    return Paused(row.scope, row.by, row.reason, row.created_at, row.until)
