# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who works on which operation, and which recovery goes first.

Invariant: of recoveries and operations one at a time is worked on for a host.  A claim of either
locks and *writes* the host's row; that of a recovery pauses the operation, in one transaction:
the operation's claim is not the newest any more, and its engine writes nothing more.

Locks are taken in one order: notification, host, operation.
"""

import dataclasses
import datetime
import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore import metrics
from hacore.db import leases
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Notification, Operation, UtcDateTime
from hacore.states import (
    LIVE,
    OPERATION_OPEN,
    NotificationStatus,
    NotificationType,
    OperationStatus,
    OperationType,
)

LOG = logging.getLogger(__name__)

_CANDIDATES = 20
_NOW = sa.bindparam("now", type_=UtcDateTime())
#: Types of notifications whose recovery concerns the host as a whole.
_OF_HOSTS = (NotificationType.COMPUTE_HOST, NotificationType.PROCESS)


@dataclasses.dataclass(frozen=True, slots=True)
class OperationClaim:
    """The right to work on an operation, and what the work needs to know of it.

    ``expired``: its time is over.  ``did``: what it has done to its host before this claim.
    """

    id: int
    uuid: str
    owner: str
    number: int
    type: OperationType
    by: str
    reason: str | None
    options: dict[str, Any]
    did: dict[str, Any]
    request_id: str | None
    created_at: datetime.datetime
    expired: bool
    host_uuid: str
    host_name: str


#: Engines of an older version claim recoveries and pause nothing: the status alone decides.
_FREE = Operation.host_uuid.not_in(
    sa.select(Notification.source_host_uuid).where(
        Notification.type.in_(_OF_HOSTS), Notification.status.in_(LIVE)
    )
)
_DUE = (
    sa.select(Operation.id, Operation.host_uuid)
    .where(
        sa.or_(
            Operation.status == OperationStatus.NEW,
            sa.and_(Operation.status == OperationStatus.WAITING, Operation.retry_at <= _NOW),
            sa.and_(
                Operation.status == OperationStatus.RUNNING,
                sa.or_(Operation.lease_until.is_(None), Operation.lease_until < _NOW),
            ),
        ),
        _FREE,
    )
    .order_by(Operation.id)
    .limit(_CANDIDATES)
)
_STILL_DUE = _DUE.where(Operation.id == sa.bindparam("row_id"))


@retry
def claim(db: Database, owner: str, lease_s: float) -> OperationClaim | None:
    """Take the oldest due operation, or return None when nothing is due.

    Due: ``new``; ``waiting`` until now; ``running`` whose lease has ended.  Not while a
    notification about its host has not ended.
    """
    with db.read() as session:
        candidates = session.execute(_DUE, {"now": db.now(session)}).all()
    for row_id, host_uuid in candidates:
        taken = _take(db, row_id, host_uuid, owner, lease_s)
        if taken is not None:
            return taken
    return None


def _take(
    db: Database, row_id: int, host_uuid: str, owner: str, lease_s: float
) -> OperationClaim | None:
    """Claim the row if it is still due, and neither it nor its host is locked by another."""
    with db.write() as session:
        host = session.scalar(
            sa.select(Host).where(Host.uuid == host_uuid).with_for_update(skip_locked=True)
        )
        row = session.scalar(
            sa.select(Operation).where(Operation.id == row_id).with_for_update(skip_locked=True)
        )
        if host is None or row is None:
            return None
        now = db.now(session)
        if session.execute(_STILL_DUE, {"row_id": row_id, "now": now}).first() is None:
            return None
        host.locks += 1
        before = row.status
        row.status = OperationStatus.RUNNING
        row.owner = owner
        row.claim_number += 1
        row.lease_until = now + datetime.timedelta(seconds=lease_s)
        row.updated_at = now
        how = "Taken over" if before == OperationStatus.RUNNING else "Claimed"
        if before != OperationStatus.WAITING:  # else it would be a line for each look
            text = f"{how} by {owner} (claim {row.claim_number})."
            leases.note(session, row, now, message=text)
        taken = _claim_of(row, host, owner, now)
    metrics.CLAIMS.labels(taken.type).inc()
    metrics.TAKEOVERS.labels(taken.type).inc(int(before == OperationStatus.RUNNING))
    LOG.info(
        "operation %s: %s -> running: %s by %s (claim %d, %s of host %s, request %s)",
        taken.uuid,
        before,
        how,
        owner,
        taken.number,
        taken.type,
        taken.host_name,
        taken.request_id,
    )
    return taken


def _claim_of(row: Operation, host: Host, owner: str, now: datetime.datetime) -> OperationClaim:
    return OperationClaim(
        id=row.id,
        uuid=row.uuid,
        owner=owner,
        number=row.claim_number,
        type=OperationType(row.type),
        by=row.by,
        reason=row.reason,
        options=row.options,
        did=row.did,
        request_id=row.request_id,
        created_at=row.created_at,
        expired=row.deadline < now,
        host_uuid=host.uuid,
        host_name=host.name,
    )


def lock_claimed(
    db: Database, session: orm.Session, claim: OperationClaim
) -> tuple[Operation, Host, datetime.datetime]:
    """Return the operation and its host, locked until the transaction ends, and the time.

    Raises LeaseLost, as `hacore.db.leases.lock`.
    """
    host = session.scalars(
        sa.select(Host).where(Host.uuid == claim.host_uuid).with_for_update()
    ).one()
    host.locks += 1
    row, now = leases.lock(db, session, Operation, claim)
    return row, host, now


@retry
def wait(db: Database, claim: OperationClaim, message: str, retry_after_s: float) -> None:
    """Give the claim back: the operation waits, and is looked at again after so many seconds."""
    with db.write() as session:
        row, now = leases.lock(db, session, Operation, claim)
        row.retry_at = now + datetime.timedelta(seconds=retry_after_s)
        changed = row.message != message
        row.status, row.message = OperationStatus.WAITING, message
        row.lease_until, row.updated_at = None, now
        if changed:
            leases.note(session, row, now, message=f"waiting: {message}")
    if changed:
        LOG.info("operation %s: waits: %s", claim.uuid, message)


@retry
def finish(db: Database, claim: OperationClaim, status: OperationStatus, message: str) -> None:
    """End the claim and the operation."""
    with db.write() as session:
        row, now = leases.lock(db, session, Operation, claim)
        _end(session, row, now, status, message)
    metrics.OPERATIONS.labels(claim.type, status).inc()
    LOG.log(
        logging.ERROR if status == OperationStatus.FAILED else logging.INFO,
        "operation %s: running -> %s (%s of host %s): %s",
        claim.uuid,
        status,
        claim.type,
        claim.host_name,
        message,
    )


def release(db: Database, claim: OperationClaim, reason: str) -> None:
    """Give the claim back: the operation is due at once, for whoever comes."""
    leases.release(db, Operation, claim, reason)
    LOG.info("operation %s: released (host %s): %s", claim.uuid, claim.host_name, reason)


def _end(
    session: orm.Session,
    row: Operation,
    now: datetime.datetime,
    status: OperationStatus,
    message: str,
) -> None:
    row.status, row.message = status, message
    row.lease_until, row.retry_at, row.updated_at = None, None, now
    leases.note(session, row, now, message=f"{status}: {message}")


# ------------------------------------------------------- recoveries go first


def goes_first(row: Notification) -> bool:
    """Return whether the recovery of this notification may change its host as a whole."""
    if row.type not in _OF_HOSTS or row.payload.get("event") != "STOPPED":
        return False
    # of other processes nothing is recovered
    return (
        row.type == NotificationType.COMPUTE_HOST
        or row.payload.get("process_name") == "nova-compute"
    )


def write_lock(session: orm.Session, host: Host) -> None:
    """Lock a host, and write it: Galera certifies writes only."""
    session.execute(
        sa.update(Host)
        .where(Host.id == host.id)
        .values(locks=Host.locks + 1)
        .execution_options(synchronize_session=False)
    )


def pause(session: orm.Session, host: Host, row: Notification, now: datetime.datetime) -> None:
    """Pause the open operation of a host that is locked: the recovery of `row` goes first."""
    for operation in open_of(session, host.uuid, lock=True):
        operation.status = OperationStatus.PAUSED
        operation.claim_number += 1  # so that its engine writes nothing more
        operation.lease_until = operation.retry_at = None
        operation.updated_at = now
        text = (
            f"A failure of {host.name} was reported (notification {row.uuid}); its recovery goes "
            "first."
        )
        if operation.message != text:
            operation.message = text
            leases.note(session, operation, now, message=f"paused: {text}")
            LOG.info("operation %s: paused: %s", operation.uuid, text)


def recovery_ended(session: orm.Session, row: Notification, now: datetime.datetime) -> None:
    """Give the operation of the host back where its recovery was ignored; else end it.

    The notification is locked, and has ended.
    """
    if not goes_first(row) or not open_of(session, row.source_host_uuid):
        return
    if row.status != NotificationStatus.IGNORED:
        end_by_recovery(session, row, now)
        return
    for operation in _open_of_locked(session, row.source_host_uuid):
        if operation.status == OperationStatus.PAUSED:
            text = f"Goes on: the recovery was ignored (notification {row.uuid})."
            operation.status, operation.message = OperationStatus.WAITING, text
            operation.retry_at = operation.updated_at = now
            leases.note(session, operation, now, message=text)
            LOG.info("operation %s: paused -> waiting: %s", operation.uuid, text)


def end_by_recovery(session: orm.Session, row: Notification, now: datetime.datetime) -> None:
    """End the open operation of the host: the recovery of a locked notification took over."""
    if not open_of(session, row.source_host_uuid):
        return
    for operation in _open_of_locked(session, row.source_host_uuid):
        text = (
            f"Its host failed meanwhile, and the recovery took over (notification {row.uuid}); "
            "begin again once the host is repaired."
        )
        _end(session, operation, now, OperationStatus.FAILED, text)
        metrics.OPERATIONS.labels(operation.type, OperationStatus.FAILED).inc()
        LOG.error("operation %s: ended: %s", operation.uuid, text)


def open_of(session: orm.Session, host_uuid: str, *, lock: bool = False) -> list[Operation]:
    """Return the open operation of the host, if it has one."""
    found = sa.select(Operation).where(
        Operation.host_uuid == host_uuid, Operation.status.in_(OPERATION_OPEN)
    )
    return list(session.scalars(found.with_for_update() if lock else found))


def _open_of_locked(session: orm.Session, host_uuid: str) -> list[Operation]:
    host = session.scalars(sa.select(Host).where(Host.uuid == host_uuid)).one()
    write_lock(session, host)
    return open_of(session, host_uuid, lock=True)
