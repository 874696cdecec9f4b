# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Mass-failure limits: how many hosts are missing at once, and whether one more may be evacuated.

Hosts are counted from state, so that a slow cascade counts, too.  Of n registered hosts that no
person has put on maintenance, those are *missing* that Nova shows as down or does not hear, that
have a report of their failure which has not ended, or that were recovered and are not back.

Two engines never both pass: who decides has the rows of the cloud, the zone and the segment
locked, and writes them (Galera certifies what is written).
"""

import collections
import contextlib
import dataclasses
import datetime
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db import claims, gates, holds
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import Domain, Host, HostState, Notification
from hacore.states import LIVE, Answer, Gate, NotificationStatus, NotificationType, Rule

#: Seconds in which hosts count as recovered together, and that a hold of `burst` lasts.
BURST_S, BURST_HOLD_S = 300.0, 120.0
#: Seconds for which as few must be missing before a hold of `majority` ends.
BELOW_S = 60.0
#: Seconds for which a recovered host that is not back counts.
_RECENT_S = 86400.0
#: How many names a sentence repeats.
_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """The options of [mass_failure]; 0: no limit."""

    max_share: int  #: percent
    min_hosts: int
    burst_hosts: int
    burst_share: int  #: percent


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

    :ivar hosts: how many there are; 0 where that is not counted.
    """

    domain: str
    hosts: int
    missing: tuple[str, ...]

    def exceeds(self, limits: Limits) -> bool:
        """Whether so many are missing that it is likely not the hosts that have failed."""
        return (
            limits.max_share > 0
            and len(self.missing) >= limits.min_hosts
            and len(self.missing) * 100 > limits.max_share * self.hosts
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Failures:
    """What notifications say of the hosts, by their uuids.

    :ivar reported_s: seconds since a failure was reported that has not ended.
    :ivar recovered: of late.
    """

    reported_s: dict[str, float]
    recovered: set[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Whether this recovery may evacuate; `rule`: what holds it."""

    rule: Rule | None
    message: str
    facts: dict[str, Any]


def ask(
    db: Database,
    claim: Claim,
    seen: Seen,
    limits: Limits,
    *,
    begins: bool,
) -> Decision:
    """Decide whether the host of this claim may be recovered now, and record the answer.

    :param begins: its evacuations begin now: it counts for `burst` from here on.  Else it is asked
        again before they do, and nothing is locked.
    """
    names = _domains(claim.host_name, claim.segment_uuid, claim.segment_name, seen)
    while (decision := _ask(db, claim, names, seen, limits, begins=begins)) is None:
        _ensure(db, [name for name, _ in names])
    if decision.rule is not None and not begins:
        _ensure(db, [name for name, _ in names])  # how long few enough are missing is kept there
    return decision


@retry
def _ask(
    db: Database,
    claim: Claim,
    names: list[tuple[str, str]],
    seen: Seen,
    limits: Limits,
    *,
    begins: bool,
) -> Decision | None:
    """Do the same; None: the rows that are locked are not all there yet."""
    # Who is missing does not depend on who passes: it is counted before the rows are locked, which
    # all recoveries of the cloud wait for.
    with db.read() as session:
        now = db.now(session)
        failures = _failures(session, now)
        counts = _counts(session, names, seen, failures, now, claim.host_name, limits.min_hosts)
    locked = sa.select(Domain.name).where(Domain.name.in_([name for name, _ in names]))
    with db.write() as session:
        if begins:  # in this order, for all: the cloud's first
            found = session.execute(locked.order_by(Domain.name).with_for_update()).all()
            if len(found) < len(names):
                return None
        row, now = claims.lock_claimed(db, session, claim)
        decision = _decide(row, claim, counts, _begun(session, row, now), limits, now)
        if decision.rule is None:
            if begins and row.passed_at is None:
                row.passed_at = now
            gates.add(
                session,
                row.uuid,
                row.claim_number,
                now,
                Gate.LIMITS,
                Answer.GO,
                decision.facts,
                decision.message,
            )
        if begins:
            session.execute(
                sa.update(Domain)
                .where(Domain.name.in_([name for name, _ in names]))
                .values(locks=Domain.locks + 1, updated_at=now)
                .execution_options(synchronize_session=False)
            )
        return decision


def counts_of(
    session: orm.Session, row: Notification, seen: Seen, now: datetime.datetime
) -> dict[str, Count]:
    """Return how many hosts are missing where the host of `row` is, by domain.

    :param row: with its host and segment.
    """
    names = _domains(row.host.name, row.segment_uuid, row.segment.name, seen)
    counts = _counts(session, names, seen, _failures(session, now), now, row.host.name)
    return {count.domain: count for count in counts}


def _domains(host: str, segment_uuid: str, segment: str, seen: Seen) -> list[tuple[str, str]]:
    """Return the domains of a host, each with what a person calls it."""
    zone = seen.zones.get(host)
    names = [("cloud", "the cloud")]
    if zone:
        names.append((f"zone {zone}", f"availability zone {zone}"))
    return [*names, (f"segment {segment_uuid}", f"segment {segment}")]


@retry
def _ensure(db: Database, names: Collection[str]) -> None:
    """Make the rows that are locked, where they are not there yet."""
    with db.read() as session:
        there = set(session.scalars(sa.select(Domain.name).where(Domain.name.in_(names))))
    for name in set(names) - there:
        # another engine may be as fast
        with contextlib.suppress(db_exc.DBDuplicateEntry), db.write() as session:
            session.add(Domain(name=name, created_at=db.now(session)))


def _begun(session: orm.Session, row: Notification, now: datetime.datetime) -> int:
    """Return how many other hosts' evacuations have begun within BURST_S."""
    others = sa.select(sa.func.count(Notification.source_host_uuid.distinct())).where(
        Notification.type == NotificationType.COMPUTE_HOST,
        Notification.status.in_(list(NotificationStatus)),  # by the index of both
        Notification.passed_at >= now - datetime.timedelta(seconds=BURST_S),
        Notification.source_host_uuid != row.source_host_uuid,
    )
    return session.scalar(others) or 0


def _decide(
    row: Notification,
    claim: Claim,
    counts: list[Count],
    begun: int,
    limits: Limits,
    now: datetime.datetime,
) -> Decision:
    # the one with the most missing, else the segment: an approval stands for both then
    over = [count for count in reversed(counts[1:]) if count.exceeds(limits)]
    count = max(over, key=lambda each: len(each.missing), default=counts[-1])
    many = holds.approval_of(row, Rule.MAJORITY, now, len(count.missing))
    if over and many is None:
        return Decision(Rule.MAJORITY, _majority(count, limits), _facts(count))
    most = max(limits.burst_hosts, math.floor(limits.burst_share * counts[0].hosts / 100))
    facts = {
        **_facts(count),
        "begun": begun,
        "most": most if limits.burst_hosts else None,
    }
    too_many = limits.burst_hosts > 0 and row.passed_at is None and begun + 1 > most
    at_once = holds.approval_of(row, Rule.BURST, now)
    if too_many and at_once is None:
        return Decision(
            Rule.BURST,
            f"the recoveries of {begun} hosts have begun within {BURST_S:g} s, and more than "
            f"{most} at once may be a failure of the network and not of the hosts; goes on after "
            f"{BURST_HOLD_S:g} s if Nova still does not hear {claim.host_name}, or when an "
            "operator approves it.",
            facts,
        )
    used = many if over else at_once if too_many else None
    spite = f"; {used.by} has approved it" if used is not None and used.by else ""
    are = "is" if len(count.missing) == 1 else "are"
    return Decision(
        None,
        f"{len(count.missing)} of {count.hosts} hosts of {count.domain} {are} missing{spite}.",
        facts,
    )


def _majority(count: Count, limits: Limits) -> str:
    more = len(count.missing) - _NAMED
    named = ", ".join(count.missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"{len(count.missing)} of {count.hosts} hosts of {count.domain} are missing ({named}), "
        f"more than {limits.max_share} %: this may be a failure of the network and not of the "
        f"hosts; goes on when no more than {limits.max_share} % have been missing for {BELOW_S:g} "
        "s, or when an operator approves it."
    )


def _facts(count: Count) -> dict[str, Any]:
    return {
        "domain": count.domain,
        "hosts": count.hosts,
        "missing": len(count.missing),
        "names": list(count.missing),
    }


def _counts(
    session: orm.Session,
    names: list[tuple[str, str]],
    seen: Seen,
    failures: _Failures,
    now: datetime.datetime,
    asked_about: str,
    least: int = 0,
) -> list[Count]:
    """Count the hosts of the cloud, the zone and the segment.

    :param least: a zone in which fewer are missing than this is not counted.
    """
    reported, recovered = failures.reported_s, failures.recovered
    hosts = _hosts(session, {asked_about, *seen.unheard}, {*reported, *recovered})
    long_gone = _recovered_long_ago(session, [host.maintenance_by for host in hosts], now)
    totals: collections.Counter[str] = collections.Counter()
    missing: dict[str, list[str]] = {name: [] for name, _ in names}
    for host in hosts:
        by = host.maintenance_by
        if host.on_maintenance and (by is None or by in long_gone) and host.name != asked_about:
            continue
        segment = f"segment {host.segment_uuid}"
        totals["cloud"] += host.number
        totals[segment] += host.number
        if (
            host.name in seen.unheard
            or _holds(reported.get(host.uuid), seen.heard_s.get(host.name), seen.least_s)
            or (host.uuid in recovered and host.on_maintenance)
        ):
            for domain in ("cloud", f"zone {seen.zones.get(host.name)}", segment):
                if domain in missing:
                    missing[domain].append(host.name)
    for name, _ in names:
        if name.startswith("zone ") and len(missing[name]) >= least:
            zone = name.removeprefix("zone ")
            totals[name] = _hosts_in_zone(session, zone, long_gone, asked_about)
    return [Count(title, totals[name], tuple(sorted(missing[name]))) for name, title in names]


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


def _hosts_in_zone(
    session: orm.Session, zone: str, long_gone: Collection[str], asked_about: str
) -> int:
    """Return how many hosts count in an availability zone, as Nova's list was last written."""
    counts = sa.or_(
        Host.on_maintenance.is_(False),
        Host.name == asked_about,
        sa.and_(Host.maintenance_by.is_not(None), Host.maintenance_by.not_in(long_gone)),
    )
    found = (
        sa.select(sa.func.count())
        .select_from(Host)
        .join(HostState, HostState.name == Host.name)
        .where(Host.deleted == 0, HostState.zone == zone, counts)
    )
    return session.scalar(found) or 0


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


@retry
def below_for_s(
    db: Database,
    segment_uuid: str,
    host: str,
    seen: Seen,
    limits: Limits,
) -> float | None:
    """Return for how many seconds so few hosts have been missing that `majority` holds none.

    Of the segment and the zone of `host`; None: it holds.
    """
    names = [(f"zone {seen.zones.get(host)}", ""), (f"segment {segment_uuid}", "")]
    with db.read() as session:
        now = db.now(session)
        failures = _failures(session, now)
        counts = _counts(session, names, seen, failures, now, host, limits.min_hosts)
        found = sa.select(Domain).where(Domain.name.in_([name for name, _ in names]))
        rows = {row.name: row for row in session.scalars(found)}
    below_s = []
    for (name, _), count in zip(names, counts, strict=True):
        row = rows.get(name)
        exceeds = count.exceeds(limits)
        if row is None:
            continue  # nothing was asked of it yet
        if exceeds is not (row.below_since is None):
            _set_below(db, name, below=not exceeds)
        if exceeds:
            return None
        below_s.append((now - (row.below_since or now)).total_seconds())
    return min(below_s, default=0.0)


@retry
def _set_below(db: Database, name: str, *, below: bool) -> None:
    with db.write() as session:
        now = db.now(session)
        session.execute(
            sa.update(Domain)
            .where(Domain.name == name)
            .values(below_since=now if below else None, updated_at=now)
            .execution_options(synchronize_session=False)
        )
