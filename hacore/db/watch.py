# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the engine that looks at Nova's heartbeats for all has written: for API and terminal.

Engines decide by what they see themselves; one of them writes, and holds a lease for that.
"""

import contextlib
import dataclasses
import datetime
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db.engine import Database, change, retry
from hacore.db.models import HostState, Watch
from hacore.errors import Conflict

#: Looks after which what is written counts for nothing any more; and the least seconds: an engine
#: that is busy for a moment is there, and asks for itself before each call.
_STALE_LOOKS, _STALE_S = 3, 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What a look showed of one host; `for_s`: for how long it has been so."""

    host: str
    zone: str
    state: str
    for_s: float
    beat: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a look showed.

    :ivar interval_s: Nova's report interval, learned or configured; None: not known yet.
    :ivar look_s: until the next look.
    :ivar illness: what ails Nova.
    :ivar ill_s: for how long.
    :ivar listed: whether the list could be read.
    """

    hosts: Collection[Seen]
    interval_s: float | None
    look_s: float
    illness: str | None
    ill_s: float
    listed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """One host, as it is written.

    :ivar age_s: seconds since its state began.
    """

    host: str
    zone: str
    state: str
    since: datetime.datetime
    age_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """All that is written.

    :ivar current: an engine looks; else nothing may be decided by this.
    :ivar age_s: of the last look; None: there was none.
    """

    current: bool
    age_s: float | None
    interval_s: float | None
    illness: str | None
    ill_since: datetime.datetime | None
    hosts: dict[str, Known]


@retry
def write(db: Database, owner: str, lease_s: float, look: Look, *, changed: bool = True) -> bool:
    """Write what a look showed, where `owner` is who writes, or nobody is; whether it did.

    :param changed: the hosts are not as this owner has last written them.
    """
    with contextlib.suppress(db_exc.DBDuplicateEntry), db.write() as session:
        now = db.now(session)
        values: dict[str, Any] = {
            "owner": owner,
            "lease_until": now + datetime.timedelta(seconds=lease_s),
            "updated_at": now,
            "look_s": look.look_s,
            "illness": look.illness,
            "ill_since": now - datetime.timedelta(seconds=look.ill_s) if look.illness else None,
        }
        if look.interval_s is not None:
            values["interval_s"] = look.interval_s
        if look.listed:
            values["looked_at"] = now
        mine = sa.update(Watch).values(values)
        if change(session, mine.where(Watch.owner == owner)) == 0:
            changed = True  # another one has written since, or nobody
            free = sa.or_(Watch.lease_until.is_(None), Watch.lease_until < now)
            if change(session, mine.where(free)) == 0:
                if session.scalar(sa.select(Watch.id)) is not None:
                    return False
                session.add(Watch(id=1, created_at=now, **values))
        if look.listed and changed:
            _write_hosts(session, look.hosts, now)
        return True
    return False  # another one was as fast


def _write_hosts(session: orm.Session, seen: Collection[Seen], now: datetime.datetime) -> None:
    # no objects: a thousand of them take longer than all the rest of a look
    table: Any = HostState.__table__
    found = session.execute(sa.select(HostState.name, HostState.state, HostState.zone))
    written = {row.name: (row.state, row.zone) for row in found}
    new, changed = [], []
    for host in seen:
        before = written.pop(host.host, None)
        if before != (host.state, host.zone):
            since = now - datetime.timedelta(seconds=host.for_s)
            values = {
                "zone": host.zone,
                "state": host.state,
                "since": since,
                "beat": host.beat,
                "updated_at": now,
            }
            if before is None:
                new.append({"name": host.host, "created_at": now, **values})
            else:
                changed.append({"host": host.host, **values})
    if new:
        session.execute(sa.insert(table), new)
    if changed:
        session.execute(sa.update(table).where(table.c.name == sa.bindparam("host")), changed)
    if written:
        session.execute(sa.delete(table).where(table.c.name.in_(list(written))))


def is_written_by(db: Database, owner: str) -> bool:
    """Return whether `owner` is who writes: what one engine does for all, it does."""
    with db.read() as session:
        now = db.now(session)
        writer = sa.select(Watch.id).where(Watch.owner == owner, Watch.lease_until >= now)
        return session.scalar(writer) is not None


def learned_interval_s(db: Database) -> float | None:
    """Return Nova's report interval as it was last learned."""
    with db.read() as session:
        return session.scalar(sa.select(Watch.interval_s))


def report(db: Database) -> Report:
    """Return what is written, and whether it is current."""
    with db.read() as session:
        return read(session, db.now(session))


def read(session: orm.Session, now: datetime.datetime) -> Report:
    """Return the same within a transaction."""
    row = session.scalars(sa.select(Watch)).first()
    states = session.scalars(sa.select(HostState).order_by(HostState.name)).all()
    hosts = {
        each.name: Known(
            each.name, each.zone, each.state, each.since, (now - each.since).total_seconds()
        )
        for each in states
    }
    if row is None or row.looked_at is None:
        return Report(False, None, None, None, None, hosts)
    age_s = (now - row.looked_at).total_seconds()
    return Report(is_current(row, now), age_s, row.interval_s, row.illness, row.ill_since, hosts)


def require_current(report: Report) -> None:
    """Raise Conflict where no engine looks: then nothing may be decided by what is written."""
    if not report.current:
        raise Conflict(
            "No engine watches Nova at the moment, so whether the facts are still as shown is not "
            "known; check 'hacore-manage service list', and try again when an engine runs."
        )


def is_current(row: Watch | None, now: datetime.datetime) -> bool:
    """Return whether an engine looks: the last look is younger than a few of them."""
    if row is None or row.looked_at is None or row.updated_at is None or row.look_s is None:
        return False
    age_s = abs((now - row.looked_at).total_seconds())  # in the future: the clock was set back
    return age_s <= max(_STALE_LOOKS * row.look_s, _STALE_S)
