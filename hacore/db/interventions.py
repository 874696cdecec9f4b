# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What an operator does to a recovery by hand: retry it, confirm what it waits for, abandon it.

Invariant: a notification under a live claim is not changed, and which engine works on it
next is left to the rules of hacore.db.claims.
"""

import dataclasses
import datetime
import enum
import logging

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import devices, history, notifications, operation_claims
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Move, Notification
from hacore.db.moves import fail_open
from hacore.db.moves import of as moves_of
from hacore.errors import Conflict, MoveNotFound
from hacore.states import ENDED, MoveStatus, NotificationStatus, NotificationType

LOG = logging.getLogger(__name__)

#: How the message of an abandoned notification begins.
_ABANDONED = "Abandoned by"


class Kind(enum.Enum):
    """What a recovery did that is not undone."""

    EVACUATION = enum.auto()  #: an instance may be in flight
    LOCK = enum.auto()  #: an instance may be locked
    SERVICE_DISABLED = enum.auto()  #: nova-compute of the host
    MAINTENANCE = enum.auto()  #: the host is on maintenance
    WAS_RESERVED = enum.auto()  #: the failed host itself was a reserved one
    RESERVED_ENABLED = enum.auto()  #: nova-compute of a reserved host, to have it as destination
    RESERVED_JOINED = enum.auto()  #: a reserved host was added to an aggregate for that
    RESERVED_TAKEN = enum.auto()  #: a reserved host was taken as a destination


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that must be cleaned up by hand; the instance is empty where it is a host's.

    ``disabled_reason``: why a reserved host was disabled; ``aggregate``: id of one it is in.
    """

    kind: Kind
    host: str
    segment_uuid: str
    instance_uuid: str = ""
    instance_name: str | None = None
    disabled_reason: str = ""
    aggregate: int | None = None


@retry
def try_again(
    db: Database, notification_uuid: str, by: str, expire_s: float, reason: str | None = None
) -> None:
    """Make a notification that ended in error or failed due now, for the next engine.

    A failed one gets all its `max_recovery_attempts` again; moves that succeeded stay so.
    One that is held is refused: it would be held again.

    :param by: name of the operator.
    :param expire_s: age from which an engine fails a notification without a recovery.

    Raises NotificationNotFound, or Conflict with the reason why not.
    """
    with db.write() as session:
        row = _lock(session, notification_uuid)
        before = _make_due(session, row, db.now(session), by, expire_s, reason)
    _report_retry(row, before, by)


def _make_due(
    session: orm.Session,
    row: Notification,
    now: datetime.datetime,
    by: str,
    expire_s: float,
    reason: str | None = None,
) -> str:
    """Make the locked notification due now; return its status before."""
    before = row.status
    _refuse_retry(row, now, expire_s)
    if before == NotificationStatus.FAILED:
        row.status = NotificationStatus.ERROR
        row.failed_attempts = 0
        # also where it failed without a recovery: no earlier step counts as done
        row.failed_claim = row.claim_number
    row.retry_at = row.updated_at = now
    if row.type == NotificationType.COMPUTE_HOST:
        devices.forget_denials(session, row.host.name)
    why = f": {reason.rstrip('.')}" if reason else ""
    text = f"{history.RETRY_REQUESTED} {by}{why}."
    row.message = f"{text} Before: {row.message}"
    history.add(session, row.uuid, row.claim_number, now, message=text)
    return before


def _report_retry(row: Notification, before: str, by: str) -> None:
    LOG.info(
        "notification %s: %s -> error, due now: retry requested by %s (host %s, request %s)",
        row.uuid,
        before,
        by,
        row.host.name,
        row.request_id,
    )


def _refuse_retry(row: Notification, now: datetime.datetime, expire_s: float) -> None:
    _refuse_claimed(row, now)
    if row.status in (NotificationStatus.NEW, NotificationStatus.RUNNING):
        raise Conflict(
            f"Notification {row.uuid} is already due, and the next engine with free capacity "
            "claims it; check that one is alive: 'hacore-manage service list'."
        )
    if row.held_rule is not None:
        raise Conflict(
            f"Notification {row.uuid} is held ({row.held_rule}), and a retry would be held again; "
            "approve it, so that it goes on, or abandon it."
        )
    if row.status not in (NotificationStatus.ERROR, NotificationStatus.FAILED):
        raise Conflict(
            f"Notification {row.uuid} is {row.status}; only one that is in error or failed can be "
            "retried."
        )
    if row.host.deleted:
        raise Conflict(
            f"Host {row.host.name} of notification {row.uuid} is no longer registered; register "
            "it and report its failure again."
        )
    age_s = (now - row.created_at).total_seconds() - row.held_s
    if age_s > expire_s:
        raise Conflict(
            f"Notification {row.uuid} was received {age_s / 3600:.1f} h ago{_unheld(row)}, and "
            f"engines fail those older than {expire_s / 3600:g} h; raise [DEFAULT] "
            "notifications_expired_interval for the engines and for this command, or report the "
            "failure again."
        )


def _unheld(row: Notification) -> str:
    return ", without the time for which it was held" if row.held_s else ""


@retry
def confirm_gone(db: Database, move_uuid: str, by: str, expire_s: float) -> str:
    """Record that the guest of a failed move runs nowhere; retry; return the notification's uuid.

    Without it hacore does not evacuate an instance whose live migration may have moved its guest.

    :param by: name of the operator.

    Raises MoveNotFound, or Conflict with the reason why not.
    """
    with db.write() as session:
        move = session.scalar(sa.select(Move).where(Move.uuid == move_uuid))
        if move is None:
            raise MoveNotFound(f"No VM move has the uuid {move_uuid}.")
        row = _lock(session, move.notification_uuid)
        now = db.now(session)
        if move.status != MoveStatus.FAILED:
            raise Conflict(
                f"Move {move_uuid} of instance {move.instance_uuid} is {move.status}; only one "
                "that failed waits for this."
            )
        before = _make_due(session, row, now, by, expire_s)
        move.gone_confirmed_by = by
        move.updated_at = now
        text = f"Instance {move.instance_uuid}: {by} confirms that it runs nowhere."
        history.add(session, row.uuid, row.claim_number, now, message=text)
    LOG.info("notification %s: %s", row.uuid, text)
    _report_retry(row, before, by)
    return row.uuid


@retry
def abandon(db: Database, notification_uuid: str, by: str, reason: str) -> list[Leftover]:
    """Fail a notification that no engine works on; return what must be cleaned up.

    An engine that was frozen and continues later has lost its claim.

    Raises NotificationNotFound, or Conflict with the reason why not.
    """
    with db.write() as session:
        row = _lock(session, notification_uuid)
        now = db.now(session)
        _refuse_claimed(row, now)
        before = NotificationStatus(row.status)
        if before in ENDED:
            raise Conflict(f"Notification {row.uuid} has already ended: it is {before}.")
        text = f"{_ABANDONED} {by}: {reason.rstrip('.')}."
        moves = moves_of(session, row.uuid)
        left = _in_flight(row, moves)
        fail_open(moves, now, text)
        left += _not_undone(session, row, moves)
        locked = [move.instance_uuid for move in moves if move.locked]
        if locked:
            text += f" Still locked: {', '.join(locked)}."
        row.status = NotificationStatus.FAILED
        row.message = text
        row.lease_until = None
        _end_hold(row, now)
        row.updated_at = now
        history.add(session, row.uuid, row.claim_number, now, message=f"failed: {text}")
        operation_claims.recovery_ended(session, row, now)
    LOG.error(
        "notification %s: %s -> failed: %s (host %s, request %s)",
        row.uuid,
        before,
        text,
        row.host.name,
        row.request_id,
    )
    return left


def _end_hold(row: Notification, now: datetime.datetime) -> None:
    if row.held_since is not None:
        row.held_s += (now - row.held_since).total_seconds()
    row.held_rule = row.held_since = None


def abandoned(db: Database) -> int:
    """Return how many notifications were abandoned, of those that are not purged yet."""
    with db.read() as session:
        found = sa.select(sa.func.count(Notification.id)).where(
            Notification.status == NotificationStatus.FAILED,
            Notification.message.startswith(f"{_ABANDONED} "),
        )
        return session.scalar(found) or 0


def leftovers(db: Database, notification_uuid: str) -> list[Leftover]:
    """Return what the recovery did to the host and its instances that is not undone.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        row = _find(session, notification_uuid)
        moves = moves_of(session, row.uuid)
        return _in_flight(row, moves) + _not_undone(session, row, moves)


def _of_instance(kind: Kind, row: Notification, move: Move) -> Leftover:
    return Leftover(kind, row.host.name, row.segment_uuid, move.instance_uuid, move.instance_name)


def _in_flight(row: Notification, moves: list[Move]) -> list[Leftover]:
    return [
        _of_instance(Kind.EVACUATION, row, move)
        for move in moves
        if move.status == MoveStatus.ONGOING
    ]


def _not_undone(session: orm.Session, row: Notification, moves: list[Move]) -> list[Leftover]:
    left = [_of_instance(Kind.LOCK, row, move) for move in moves if move.locked]
    host = row.host
    if row.disabled_service or (host.disabled_by == row.uuid and not host.deleted):
        left.append(Leftover(Kind.SERVICE_DISABLED, host.name, row.segment_uuid))
    if host.deleted:
        return left
    if host.on_maintenance and host.maintenance_by == row.uuid:
        left.append(Leftover(Kind.MAINTENANCE, host.name, row.segment_uuid))
    if row.took_reserved and not host.reserved:
        left.append(Leftover(Kind.WAS_RESERVED, host.name, row.segment_uuid))
    taken = session.scalars(sa.select(Host).where(Host.taken_by == row.uuid, Host.deleted == 0))
    for reserved in taken:
        left += _of_reserved(reserved)
    return left


def _of_reserved(host: Host) -> list[Leftover]:
    where = host.name, host.segment_uuid
    left = []
    if host.enabled_from is not None:
        reason = host.enabled_from or "Reserved host."
        left.append(Leftover(Kind.RESERVED_ENABLED, *where, disabled_reason=reason))
    left += [
        Leftover(Kind.RESERVED_JOINED, *where, aggregate=aggregate)
        for aggregate in host.joined_aggregates or ()
    ]
    return [*left, Leftover(Kind.RESERVED_TAKEN, *where)]


def _refuse_claimed(row: Notification, now: datetime.datetime) -> None:
    if row.status != NotificationStatus.RUNNING or row.lease_until is None:
        return
    if row.lease_until >= now:
        raise Conflict(
            f"Notification {row.uuid} is claimed by {row.owner} (lease until "
            f"{row.lease_until:%H:%M:%S} UTC, unless renewed); stop that engine first, or wait."
        )


def _lock(session: orm.Session, notification_uuid: str) -> Notification:
    session.execute(
        sa.select(Notification.id).where(Notification.uuid == notification_uuid).with_for_update()
    )
    return _find(session, notification_uuid)


def _find(session: orm.Session, notification_uuid: str) -> Notification:
    return notifications.find(session, notification_uuid, orm.joinedload(Notification.host))
