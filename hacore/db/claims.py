# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who works on which notification: claims with a lease and a fencing number.

Invariant: at any moment at most one live claim exists per notification and per
subject, and nothing is written for a notification but under its newest claim
(`lock_claimed`); an engine whose lease was taken over gets LeaseLost instead.  Both hold
between the nodes of a Galera cluster, each of which sees a beginning of one common
order of commits: what was decided under a lock has written what it locked.

The lease ends on the database's clock.
"""

import dataclasses
import datetime
import functools
import logging
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore import metrics
from hacore.db import history, leases, operation_claims, services
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Notification, Segment, Service, UtcDateTime
from hacore.states import ENDED, LIVE, NotificationStatus, NotificationType, RecoveryMethod

LOG = logging.getLogger(__name__)

#: How many due rows are tried in one round; more than one, because another
#: engine may be claiming the first this very moment.
_CANDIDATES = 20
#: By whether another engine had it.
_CLAIMED = {False: "Claimed", True: "Taken over"}


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a notification, and what the work needs to know of it.

    ``number`` counts the claims of the notification: the fencing number.
    ``segment_enabled``: or it was when the recovery began.
    """

    id: int
    uuid: str
    owner: str
    number: int
    type: NotificationType
    payload: dict[str, Any]
    request_id: str | None
    generated_time: datetime.datetime
    created_at: datetime.datetime
    expired: bool
    failed_attempts: int
    host_uuid: str
    host_name: str
    segment_uuid: str
    segment_name: str
    segment_enabled: bool
    recovery_method: RecoveryMethod


@retry
def claim(
    db: Database,
    owner: str,
    lease_s: float,
    expire_s: float,
    *,
    hosts_only: bool = False,
    own_hosts: Collection[str] = (),
) -> Claim | None:
    """Take the most urgent due notification, or return None when nothing is due.

    Due: ``new``; ``error`` whose time to retry has come; ``running`` whose lease
    has ended.  Not while another notification of the same subject has a live
    claim, nor a VM's while its host has a host failure to be recovered.
    COMPUTE_HOST goes first, then the oldest.

    :param expire_s: age from which a claim is marked ``expired``.
    :param hosts_only: only COMPUTE_HOST notifications.
    :param own_hosts: names of the machine that this engine runs on; their failures are left to
        engines elsewhere, if there are any.
    """
    for types in _TYPES[:1] if hosts_only else _TYPES:
        with db.read() as session:
            due = _candidates(types)
            candidates = session.execute(due, {"now": db.now(session)}).all()
        for candidate_id, subject in candidates:
            taken = _take(db, candidate_id, subject, owner, lease_s, expire_s, own_hosts)
            if taken:
                _report(*taken)
                return taken[0]
    return None


def _report(claim: Claim, before: str, retried: bool) -> None:
    metrics.CLAIMS.labels(claim.type).inc()
    metrics.RETRIES.labels(claim.type).inc(int(retried))
    if before == NotificationStatus.RUNNING:
        metrics.TAKEOVERS.labels(claim.type).inc()
    LOG.info(
        "notification %s: %s -> running: %s by %s (claim %d, %s of host %s, request %s)",
        claim.uuid,
        before,
        _CLAIMED[before == NotificationStatus.RUNNING],
        claim.owner,
        claim.number,
        claim.type,
        claim.host_name,
        claim.request_id,
    )


# Statements that every engine runs every few seconds are made once: to make
# one takes several times as long as to run it.
_NOW = sa.bindparam("now", type_=UtcDateTime())


#: In the order of urgency.
_TYPES = (
    (NotificationType.COMPUTE_HOST,),
    tuple(type_ for type_ in NotificationType if type_ is not NotificationType.COMPUTE_HOST),
)
_DUE: dict[NotificationStatus, sa.ColumnElement[bool]] = {
    NotificationStatus.NEW: sa.true(),
    NotificationStatus.ERROR: Notification.retry_at <= _NOW,
    NotificationStatus.RUNNING: sa.or_(
        Notification.lease_until.is_(None), Notification.lease_until < _NOW
    ),
}


@functools.cache
def _candidates(types: tuple[NotificationType, ...]) -> sa.Select[int, str]:
    """The first due ones of `types`, the oldest first.

    One walk along the index per status and type, each of which ends at its first rows that are
    due: with an OR of the statuses, every row that waits would be read and sorted.
    """
    walks = [
        _due(status, type_).order_by(Notification.id).limit(_CANDIDATES).subquery()
        for status in _DUE
        for type_ in types
    ]
    found = sa.union_all(*(sa.select(walk.c.id, walk.c.subject) for walk in walks)).subquery()
    return sa.select(found.c.id, found.c.subject).order_by(found.c.id).limit(_CANDIDATES)


@functools.cache
def _still_due(status: NotificationStatus, type_: NotificationType) -> sa.Select[int, str]:
    return _due(status, type_).where(Notification.id == sa.bindparam("row_id"))


def _due(status: NotificationStatus, type_: NotificationType) -> sa.Select[int, str]:
    """What is due of one status and type.

    What others are at work on is few, and is a set that the database makes once; asked row by
    row it would be looked up for every row that waits.
    """
    other = orm.aliased(Notification)
    under_work = sa.select(other.subject).where(
        other.status == NotificationStatus.RUNNING, other.lease_until >= _NOW
    )
    due = sa.select(Notification.id, Notification.subject).where(
        Notification.status == status,
        Notification.type == type_,
        _DUE[status],
        Notification.subject.not_in(under_work),
    )
    if type_ is not NotificationType.VM:
        return due
    failed_hosts = sa.select(other.source_host_uuid).where(
        other.type == NotificationType.COMPUTE_HOST, other.status.in_(LIVE)
    )
    return due.where(Notification.source_host_uuid.not_in(failed_hosts))


def oldest_due_s(db: Database) -> float:
    """Return for how many seconds the notification has been due that waits the longest; 0: none."""
    with db.read() as session:
        now = db.now(session)
        times = session.scalars(_oldest(), {"now": now}).all()
    oldest: datetime.datetime | None = min((time for time in times if time), default=None)
    return (now - oldest).total_seconds() if oldest else 0.0


@functools.cache
def _oldest() -> sa.CompoundSelect[datetime.datetime | None]:
    since: dict[NotificationStatus, Any] = {
        NotificationStatus.NEW: Notification.created_at,
        NotificationStatus.ERROR: Notification.retry_at,
        NotificationStatus.RUNNING: sa.func.coalesce(
            Notification.lease_until, Notification.updated_at
        ),
    }
    parts: list[Any] = []
    for status in _DUE:
        for type_ in NotificationType:
            due = _due(status, type_).with_only_columns(since[status].label("since"))
            if status is NotificationStatus.NEW:  # accepted in the order of their ids
                first = due.order_by(Notification.id).limit(1).subquery()
                parts.append(sa.select(first.c.since))
            else:
                due = due.with_only_columns(sa.func.min(since[status]).label("since"))
                parts.append(due)
    return sa.union_all(*parts)


def _take(
    db: Database,
    row_id: int,
    subject: str,
    owner: str,
    lease_s: float,
    expire_s: float,
    own_hosts: Collection[str],
) -> tuple[Claim, str, bool] | None:
    """Claim the row if it and its subject are still free.

    Return the claim, the old status, and whether an operator requested a retry.
    """
    with db.write() as session:
        live = sa.select(Notification).where(
            Notification.subject == subject, Notification.status.in_(LIVE)
        )
        seen = set(session.scalars(live.with_only_columns(Notification.id)))
        # All live rows of the subject are locked before one is taken: else two
        # engines could take two of them at once.  Skipping what is locked, so
        # that an engine that froze in the middle of this blocks nobody.
        locked = session.scalars(live.with_for_update(skip_locked=True)).all()
        if not seen <= {row.id for row in locked}:
            return None
        now = db.now(session)
        row = next((row for row in locked if row.id == row_id), None)
        if row is None or not _is_due(session, row, now):
            return None
        if len(locked) > 1:
            # To Galera, whose nodes do not see each other's locks, only what is written counts:
            # an engine on another node that takes another of these rows must lose.
            session.execute(
                sa.update(Notification)
                .where(Notification.id.in_([each.id for each in locked]))
                .values(locks=Notification.locks + 1)
                .execution_options(synchronize_session=False)
            )
        # not joined to the row: what is locked is known to the session, and is not read again
        host = session.scalars(
            sa.select(Host)
            .where(Host.uuid == row.source_host_uuid)
            .options(orm.joinedload(Host.segment))
        ).one()
        is_own = row.type == NotificationType.COMPUTE_HOST and host.name in own_hosts
        if is_own and _engine_elsewhere(session, own_hosts, now):
            return None
        before = row.status
        row.status = NotificationStatus.RUNNING
        row.owner = owner
        row.claim_number += 1
        row.lease_until = now + datetime.timedelta(seconds=lease_s)
        row.updated_at = now
        text = f"{_CLAIMED[before == NotificationStatus.RUNNING]} by {owner}"
        history.add(
            session, row.uuid, row.claim_number, now, message=f"{text} (claim {row.claim_number})."
        )
        _begin(session, row, host, now)
        if operation_claims.goes_first(row):
            operation_claims.pause(session, host, row, now)
        expired = (now - row.created_at).total_seconds() - row.held_s > expire_s
        retried = before == NotificationStatus.ERROR and str(row.message).startswith(
            history.RETRY_REQUESTED
        )
        return _claim_of(row, host, owner, expired=expired), before, retried


def _engine_elsewhere(
    session: orm.Session, own_hosts: Collection[str], now: datetime.datetime
) -> bool:
    """Whether an engine runs on another machine."""
    alive = sa.select(Service.id).where(
        Service.binary == services.ENGINE,
        Service.alive_until >= now,
        Service.host.not_in(own_hosts),
    )
    return session.scalar(alive.limit(1)) is not None


def _begin(session: orm.Session, row: Notification, host: Host, now: datetime.datetime) -> None:
    """Mark the recovery as begun, if its segment is enabled; say so if it goes on without that."""
    if not row.begun or operation_claims.goes_first(row):
        operation_claims.write_lock(session, host)
    if row.begun:
        if not host.segment.enabled:
            text = goes_on(host.segment.name)
            history.add(session, row.uuid, row.claim_number, now, message=text)
        return
    # Who disables the segment writes its hosts first: either this recovery is seen to have
    # begun, or it sees the segment disabled.  Read again: the row above is as it was before.
    enabled = sa.select(Segment.enabled).where(Segment.uuid == host.segment_uuid)
    row.begun = bool(session.scalar(enabled.with_for_update(read=True)))


def goes_on(segment_name: str) -> str:
    """Return the sentence about a recovery that a disabled segment does not stop."""
    return f"Segment {segment_name} is disabled; this recovery had begun and goes on to its end."


def _is_due(session: orm.Session, row: Notification, now: datetime.datetime) -> bool:
    due = _still_due(NotificationStatus(row.status), NotificationType(row.type))
    return session.execute(due, {"row_id": row.id, "now": now}).first() is not None


def _claim_of(row: Notification, host: Host, owner: str, *, expired: bool) -> Claim:
    return Claim(
        id=row.id,
        uuid=row.uuid,
        owner=owner,
        number=row.claim_number,
        type=NotificationType(row.type),
        payload=row.payload,
        request_id=row.request_id,
        generated_time=row.generated_time,
        created_at=row.created_at,
        expired=expired,
        failed_attempts=row.failed_attempts,
        host_uuid=host.uuid,
        host_name=host.name,
        segment_uuid=host.segment.uuid,
        segment_name=host.segment.name,
        segment_enabled=row.begun,
        recovery_method=RecoveryMethod(host.segment.recovery_method),
    )


def lock_claimed(
    db: Database, session: orm.Session, claim: Claim
) -> tuple[Notification, datetime.datetime]:
    """Return the notification, locked until the transaction ends, and the time.

    Raises LeaseLost when the claim is not the newest any more.  Every write
    for a notification calls this first, in the same transaction.
    """
    return leases.lock(db, session, Notification, claim)


def release(db: Database, claim: Claim, reason: str) -> None:
    """Give the claim back: the notification is due at once, for whoever comes."""
    leases.release(db, Notification, claim, reason)
    LOG.info("notification %s: released (host %s): %s", claim.uuid, claim.host_name, reason)


@retry
def finish(
    db: Database,
    claim: Claim,
    status: NotificationStatus,
    message: str,
    *,
    failed: bool = False,
    retry_after_s: float | None = None,
) -> float:
    """End the claim; return for how many seconds the notification has existed.

    :param failed: an attempt has failed: it is counted.
    :param retry_after_s: until the notification is due again, with status ``error``.
    """
    with db.write() as session:
        row, now = lock_claimed(db, session, claim)
        if retry_after_s is not None:
            row.retry_at = now + datetime.timedelta(seconds=retry_after_s)
        if status in (NotificationStatus.ERROR, NotificationStatus.FAILED):
            row.failed_claim = row.claim_number
        row.failed_attempts += failed
        row.status = status
        row.message = message
        row.lease_until = None
        row.updated_at = now
        history.add(session, row.uuid, row.claim_number, now, message=f"{status}: {message}")
        if status in ENDED:
            operation_claims.recovery_ended(session, row, now)
    return (now - claim.created_at).total_seconds()
