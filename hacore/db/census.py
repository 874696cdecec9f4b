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
    """

    zones: Mapping[str, str]
    unheard: Collection[str]
    heard_s: Mapping[str, float]
    least_s: float


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
    _hosts: Mapping[str, int]  #: by domain
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
                self._hosts.get(name, 0) + (more is not None and name in more.domains),
                tuple(sorted(each.name for each in missing if name in each.domains)),
            )
            for name, title in titles.items()
        ]


@retry
def take(db: Database, seen: Seen) -> Census:
    """Count all hosts."""
    with db.read() as session:
        return taken(session, seen, db.now(session))


def taken(session: orm.Session, seen: Seen, now: datetime.datetime) -> Census:
    """Do the same within a transaction."""
    failures = _failures(session, now)
    rows = _hosts(session, seen.unheard, {*failures.reported_s, *failures.recovered})
    long_gone = _recovered_long_ago(session, [row.maintenance_by for row in rows], now)
    hosts = collections.Counter(_hosts_in_zones(session, long_gone))
    missing, left_out = list[_Named](), dict[str, _Named]()
    for row in rows:
        is_left_out = row.on_maintenance and (
            row.maintenance_by is None or row.maintenance_by in long_gone
        )
        if not is_left_out:
            hosts.update(dict.fromkeys((CLOUD, f"segment {row.segment_uuid}"), row.number))
        if row.name is None:
            continue
        host = _Named(row.name, tuple(_domains(row, seen)), _is_missing(row, seen, failures))
        if is_left_out:
            left_out[row.name] = host
        elif host.is_missing:
            missing.append(host)
    return Census(seen.zones, hosts, missing, left_out)


@dataclasses.dataclass(frozen=True, slots=True)
class _Failures:
    """What notifications say of the hosts, by their uuids.

    :ivar reported_s: seconds since a failure was reported that has not ended.
    :ivar recovered: of late.
    """

    reported_s: dict[str, float]
    recovered: set[str]


def _domains(row: sa.Row[Any], seen: Seen) -> Iterator[str]:
    yield CLOUD
    if zone := seen.zones.get(row.name):
        yield f"zone {zone}"
    yield f"segment {row.segment_uuid}"


def _is_missing(row: sa.Row[Any], seen: Seen, failures: _Failures) -> bool:
    return (
        row.name in seen.unheard
        or _holds(failures.reported_s.get(row.uuid), seen.heard_s.get(row.name), seen.least_s)
        or (row.uuid in failures.recovered and row.on_maintenance)
    )


def _hosts(
    session: orm.Session, names: Collection[str], uuids: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return all registered hosts: those that are asked for or on maintenance, one by one.

    The others are one row for each segment, with their `number`, and no name: of a thousand
    hosts, each in a row of its own, the transaction would take twice as long.
    """
    alone = sa.or_(Host.on_maintenance, Host.name.in_(names), Host.uuid.in_(uuids))
    each = (
        sa.select(
            Host.segment_uuid,
            Host.on_maintenance,
            sa.case((alone, Host.name)).label("name"),
            sa.case((alone, Host.uuid)).label("uuid"),
            sa.case((alone, Host.maintenance_by)).label("maintenance_by"),
        )
        .where(Host.deleted == 0)
        .subquery()
    )
    found = sa.select(each, sa.func.count().label("number")).group_by(*each.c)
    return session.execute(found).all()


def _hosts_in_zones(session: orm.Session, long_gone: Collection[str]) -> dict[str, int]:
    """Return how many hosts count in each availability zone, as Nova's list was last written."""
    counts = sa.or_(
        Host.on_maintenance.is_(False),
        sa.and_(Host.maintenance_by.is_not(None), Host.maintenance_by.not_in(long_gone)),
    )
    found = (
        sa.select(HostState.zone, sa.func.count())
        .select_from(Host)
        .join(HostState, HostState.name == Host.name)
        .where(Host.deleted == 0, counts)
        .group_by(HostState.zone)
    )
    return {f"zone {zone}": number for zone, number in session.execute(found)}


def _holds(reported_s: float | None, heard_s: float | None, least_s: float) -> bool:
    """Whether there is a report that no later heartbeat contradicts."""
    if reported_s is None:
        return False
    return heard_s is None or reported_s - heard_s < least_s


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


def _recovered_long_ago(
    session: orm.Session, uuids: Collection[str | None], now: datetime.datetime
) -> set[str]:
    """Return those of these host recoveries whose hosts do not count any more."""
    known = [uuid for uuid in uuids if uuid]
    if not known:
        return set()
    found = sa.select(Notification.uuid).where(
        Notification.uuid.in_(known),
        Notification.type == NotificationType.COMPUTE_HOST,
        Notification.status.not_in(LIVE),
        Notification.updated_at < now - datetime.timedelta(seconds=_RECENT_S),
    )
    return set(session.scalars(found))
