# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How many hosts are missing, and who: what the mass-failure limits decide by.

Hosts are counted from state, so that a slow cascade counts, too.  Of n registered hosts that no
person has put on maintenance, those are *missing* that Nova shows as down or does not hear, that
have a report of their failure which has not ended, or that were recovered and are not back.
"""

import collections
import dataclasses
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db.engine import Database, retry
from hacore.db.models import Host, HostState, Notification
from hacore.states import LIVE, NotificationStatus, NotificationType

#: The name of the domain that all hosts are in.
CLOUD = "cloud"
#: Seconds for which a recovered host that is not back counts.
_RECENT_S = 86400.0


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What an engine sees of all hosts.

    :ivar zones: the availability zone of each.
    :ivar unheard: those that Nova shows as down or does not hear.
    :ivar heard_s: of those that it hears, seconds since the last heartbeat.
    :ivar least_s: a heartbeat that came in so much later than a report contradicts it.
    :ivar old_s: for how many seconds all this has been known.
    """

    zones: Mapping[str, str]
    unheard: Collection[str]
    heard_s: Mapping[str, float]
    least_s: float
    old_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """How many hosts of a domain are missing, and who.

    :ivar name: ``cloud``, ``zone NAME`` or ``segment UUID``.
    :ivar domain: the same, as a person calls it.
    :ivar hosts: how many there are.
    """

    name: str
    domain: str
    hosts: int
    missing: tuple[str, ...]


#: How many hosts count, by domain.
Sizes = Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class _Named:
    """A host that is known by name: it is missing, or does not count."""

    name: str
    domains: tuple[str, ...]
    is_missing: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Census:
    """All hosts as they were at one moment.

    :ivar zones: the availability zone of each.
    """

    zones: Mapping[str, str]
    _sizes: Sizes
    _missing: Sequence[_Named]
    _left_out: Mapping[str, _Named]  #: by name

    def of(self, host: str, segment_uuid: str, segment: str) -> list[Count]:
        """Count what a host is in: the cloud, its zone where that is known, and its segment.

        The host itself counts in any case.
        """
        titles = {CLOUD: "the cloud"}
        if zone := self.zones.get(host):
            titles[f"zone {zone}"] = f"availability zone {zone}"
        titles[f"segment {segment_uuid}"] = f"segment {segment}"
        more = self._left_out.get(host)
        missing = [*self._missing, more] if more and more.is_missing else self._missing
        return [
            Count(
                name,
                title,
                self._sizes.get(name, 0) + (more is not None and name in more.domains),
                tuple(sorted(each.name for each in missing if name in each.domains)),
            )
            for name, title in titles.items()
        ]


@retry
def take(db: Database, seen: Seen, known: Sizes | None = None) -> Census:
    """Find out who is missing.

    :param known: how many hosts there are; None: they are counted.
    """
    with db.read() as session:
        now = db.now(session)
        return taken(session, seen, sizes(session, now) if known is None else known, now)


@retry
def count(db: Database) -> Sizes:
    """Count the hosts, missing or not."""
    with db.read() as session:
        return sizes(session, db.now(session))


def taken(session: orm.Session, seen: Seen, known: Sizes, now: datetime.datetime) -> Census:
    """Do what `take` does, within a transaction."""
    failures = _failures(session, now)
    uuids = {*failures.reported_s, *failures.recovered}
    is_named = (Host.on_maintenance, Host.name.in_(seen.unheard), Host.uuid.in_(uuids))
    rows = session.execute(
        sa.select(
            Host.name,
            Host.uuid,
            Host.segment_uuid,
            Host.on_maintenance,
            _counts(now).label("counts"),
        ).where(Host.deleted == 0, sa.or_(*is_named))
    )
    missing, left_out = list[_Named](), dict[str, _Named]()
    for row in rows:
        host = _Named(row.name, tuple(_domains(row, seen)), _is_missing(row, seen, failures))
        if not row.counts:
            left_out[row.name] = host
        elif host.is_missing:
            missing.append(host)
    return Census(seen.zones, known, missing, left_out)


def sizes(session: orm.Session, now: datetime.datetime) -> Sizes:
    """Do what `count` does, within a transaction."""
    rows = session.execute(
        sa.select(Host.segment_uuid, HostState.zone, sa.func.count().label("number"))
        .outerjoin(HostState, HostState.name == Host.name)
        .where(Host.deleted == 0, _counts(now))
        .group_by(Host.segment_uuid, HostState.zone)
    )
    found: collections.Counter[str] = collections.Counter()
    for row in rows:
        found[CLOUD] += row.number
        found[f"segment {row.segment_uuid}"] += row.number
        if row.zone is not None:
            found[f"zone {row.zone}"] += row.number
    return found


def _counts(now: datetime.datetime) -> sa.ColumnElement[bool]:
    """Return the condition that a host counts: no person has it on maintenance.

    A recovery that ended long ago and whose host was not brought back is a person's choice, too.
    """
    long_gone = sa.exists().where(
        Notification.uuid == Host.maintenance_by,
        Notification.type == NotificationType.COMPUTE_HOST,
        Notification.status.not_in(LIVE),
        Notification.updated_at < now - datetime.timedelta(seconds=_RECENT_S),
    )
    return sa.or_(
        Host.on_maintenance.is_(False), sa.and_(Host.maintenance_by.is_not(None), ~long_gone)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Failures:
    """What notifications say of the hosts, by their uuids.

    :ivar reported_s: seconds since a failure was reported that has not ended.
    :ivar recovered: of late.
    """

    reported_s: dict[str, float]
    recovered: set[str]


def _domains(row: sa.Row[*tuple[Any, ...]], seen: Seen) -> Iterator[str]:
    yield CLOUD
    if zone := seen.zones.get(row.name):
        yield f"zone {zone}"
    yield f"segment {row.segment_uuid}"


def _is_missing(row: sa.Row[*tuple[Any, ...]], seen: Seen, failures: _Failures) -> bool:
    return (
        row.name in seen.unheard
        or _holds(failures.reported_s.get(row.uuid), row.name, seen)
        or (row.uuid in failures.recovered and row.on_maintenance)
    )


def _holds(reported_s: float | None, host: str, seen: Seen) -> bool:
    """Whether there is a report that no later heartbeat contradicts."""
    if reported_s is None:
        return False
    heard_s = seen.heard_s.get(host)
    return heard_s is None or reported_s - (heard_s + seen.old_s) < seen.least_s


def _failures(session: orm.Session, now: datetime.datetime) -> _Failures:
    recent = now - datetime.timedelta(seconds=_RECENT_S)
    rows = session.execute(
        sa.select(
            Notification.source_host_uuid,
            Notification.status,
            Notification.payload,
            Notification.created_at,
            Notification.updated_at,
        ).where(
            Notification.type == NotificationType.COMPUTE_HOST,
            Notification.status.in_(list(NotificationStatus)),  # by the index of both
            sa.or_(
                Notification.status.in_(LIVE),
                sa.and_(
                    Notification.status == NotificationStatus.FINISHED,
                    Notification.updated_at >= recent,
                ),
            ),
        )
    ).all()
    found = _Failures({}, set())
    for row in rows:
        host = row.source_host_uuid
        if row.payload.get("event") != "STOPPED":
            continue
        if row.status in LIVE:
            found.reported_s[host] = (now - row.created_at).total_seconds()
        elif row.status == NotificationStatus.FINISHED and (row.updated_at or now) >= recent:
            found.recovered.add(host)
    return found
