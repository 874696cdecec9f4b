# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Mass-failure limits: whether one more host may be evacuated, when others are missing, too.

Two engines never both pass: who decides has the row of the cloud locked, and writes it (Galera
certifies what is written).
"""

import contextlib
import dataclasses
import datetime
import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db import census, claims, gates, holds
from hacore.db.census import Count
from hacore.db.claims import Claim
from hacore.db.engine import Database, UtcNow, change, retry
from hacore.db.models import Domain, Notification
from hacore.states import Answer, Gate, NotificationStatus, NotificationType, Rule

#: Seconds in which hosts count as recovered together, and that a hold of `burst` lasts.
BURST_S, BURST_HOLD_S = 300.0, 120.0
#: Seconds for which as few must be missing before a hold of `majority` ends.
BELOW_S = 60.0
#: How many names a sentence repeats.
_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """The options of [mass_failure]; 0: no limit."""

    max_share: int  #: percent
    min_hosts: int
    burst_hosts: int
    burst_share: int  #: percent

    def exceeds(self, count: Count) -> bool:
        """Whether so many are missing that it is likely not the hosts that have failed."""
        return (
            self.max_share > 0
            and len(count.missing) >= self.min_hosts
            and len(count.missing) * 100 > self.max_share * count.hosts
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Whether this recovery may evacuate; `rule`: what holds it."""

    rule: Rule | None
    message: str
    facts: dict[str, Any]


def ask(
    db: Database, claim: Claim, counts: Sequence[Count], limits: Limits, *, begins: bool
) -> Decision:
    """Decide whether the host of this claim may be recovered now.

    :param counts: of what the host is in.  Who is missing does not depend on who passes, so it is
        counted before, and not while all recoveries of the cloud wait.
    :param begins: its evacuations begin now: that is recorded, and it counts for `burst` from here
        on.  Else it is asked again before they do, and nothing is locked or written.
    """
    if begins:
        while (decision := _begin(db, claim, counts, limits)) is None:
            _ensure(db, census.CLOUD)
    else:
        decision = _look(db, claim, counts, limits)
    if decision.rule is None:
        return decision
    for count in counts[1:]:  # how long few enough are missing is kept there
        _ensure(db, count.name)
    return decision


@retry
def _look(db: Database, claim: Claim, counts: Sequence[Count], limits: Limits) -> Decision:
    """Decide as things are."""
    with db.read() as session:
        found = sa.select(Notification, UtcNow()).where(Notification.uuid == claim.uuid)
        row, at = session.execute(found).one()
        now = db.time_in(at)
        return _decide(row, claim, counts, _begun(session, row, now), limits, now)


@retry
def _begin(db: Database, claim: Claim, counts: Sequence[Count], limits: Limits) -> Decision | None:
    """Decide, and record that evacuations begin; None: the row of the cloud is not there yet."""
    with db.write() as session:
        if not _lock(session):
            return None
        row, now = claims.lock_claimed(db, session, claim)
        decision = _decide(row, claim, counts, _begun(session, row, now), limits, now)
        if decision.rule is None:
            gates.add(
                session,
                row.uuid,
                row.claim_number,
                now,
                Gate.LIMITS,
                Answer.GO,
                decision.facts,
                decision.message,
                unread=row.passed_at is None,  # each statement keeps all others waiting
            )
            row.passed_at = row.passed_at or now
        return decision


def _lock(session: orm.Session) -> bool:
    """Let no other recovery decide until this transaction ends; whether there is a row for that."""
    cloud = sa.update(Domain).where(Domain.name == census.CLOUD)
    return bool(change(session, cloud.values(locks=Domain.locks + 1)))


@retry
def _ensure(db: Database, name: str) -> None:
    """Make the row of a domain, where it is not there yet."""
    with db.read() as session:
        if session.scalar(sa.select(Domain.id).where(Domain.name == name)) is not None:
            return
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
    counts: Sequence[Count],
    begun: int,
    limits: Limits,
    now: datetime.datetime,
) -> Decision:
    # the one with the most missing, else the segment: an approval stands for both then
    over = [count for count in reversed(counts[1:]) if limits.exceeds(count)]
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


@retry
def below_for_s(db: Database, counts: Sequence[Count], limits: Limits) -> float | None:
    """Return for how many seconds so few hosts have been missing that `majority` holds none.

    :param counts: of what a host is in.

    Of its segment and its zone; None: `majority` holds it.
    """
    with db.read() as session:
        now = db.now(session)
        found = sa.select(Domain).where(Domain.name.in_([count.name for count in counts[1:]]))
        rows = {row.name: row for row in session.scalars(found)}
    below_s = []
    for count in counts[1:]:
        row = rows.get(count.name)
        exceeds = limits.exceeds(count)
        if row is None:
            continue  # nothing was asked of it yet
        if exceeds is not (row.below_since is None):
            _set_below(db, count.name, below=not exceeds)
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
