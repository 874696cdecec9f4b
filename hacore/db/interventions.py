# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What an operator does to a recovery by hand: try it again, or give it up.

Invariant: nothing is done to a notification under a live claim, and what is
done leaves it to the rules of hacore.db.claims who works on it next.
"""

import dataclasses
import datetime
import logging

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import history
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Move, Notification
from hacore.db.moves import of as moves_of
from hacore.errors import Conflict, NotificationNotFound
from hacore.states import ENDED, MoveStatus, NotificationStatus

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """What a recovery did that is not undone, and the command that undoes it."""

    what: str
    remedy: str


@retry
def try_again(db: Database, notification_uuid: str, by: str, expire_s: float) -> None:
    """Make a notification that ended in error or failed due now; an engine takes it next.

    It is tried `max_recovery_attempts` times anew; moves that succeeded stay so.

    :param by: name of the operator.
    :param expire_s: age from which an engine would fail it unread.

    Raises NotificationNotFound, or Conflict with the reason why not.
    """
    with db.write() as session:
        row = _lock(session, notification_uuid)
        now = db.now(session)
        before = row.status
        _refuse_retry(row, now, expire_s)
        if before == NotificationStatus.FAILED:
            row.status = NotificationStatus.ERROR
            row.failed_attempts = 0
            # also where it failed without a recovery: nothing of before is taken for done
            row.failed_claim = row.claim_number
        row.retry_at = row.updated_at = now
        row.message = f"To be tried again: {by} wants it. Before: {row.message}"
        history.add(session, row.uuid, row.claim_number, now, message=f"{by} wants it tried again.")
    LOG.info(
        "notification %s: %s -> error, due now: %s wants it (host %s, request %s)",
        row.uuid,
        before,
        by,
        row.host.name,
        row.request_id,
    )


def _refuse_retry(row: Notification, now: datetime.datetime, expire_s: float) -> None:
    _refuse_owned(row, now)
    if row.status in (NotificationStatus.NEW, NotificationStatus.RUNNING):
        raise Conflict(
            f"Notification {row.uuid} is due already, the next engine that has room takes it; is "
            "one alive? ('hacore-manage service list')"
        )
    if row.status not in (NotificationStatus.ERROR, NotificationStatus.FAILED):
        raise Conflict(
            f"Notification {row.uuid} is {row.status}; only what is in error or failed can be "
            "tried again."
        )
    if row.host.deleted:
        raise Conflict(
            f"Host {row.host.name} of notification {row.uuid} is registered no more; register it "
            "and have its failure reported anew."
        )
    age_s = (now - row.created_at).total_seconds()
    if age_s > expire_s:
        raise Conflict(
            f"Notification {row.uuid} came in {age_s / 3600:.1f} h ago, and engines fail what is "
            f"older than {expire_s / 3600:g} h; raise [DEFAULT] notifications_expired_interval "
            "for them and here, or have the failure reported anew."
        )


@retry
def abandon(db: Database, notification_uuid: str, by: str, reason: str) -> list[Leftover]:
    """End a notification that nobody works on as failed; return what its recovery left behind.

    An engine that is frozen and wakes up later finds its claim gone.

    Raises NotificationNotFound, or Conflict with the reason why not.
    """
    with db.write() as session:
        row = _lock(session, notification_uuid)
        now = db.now(session)
        _refuse_owned(row, now)
        before = NotificationStatus(row.status)
        if before in ENDED:
            raise Conflict(f"Notification {row.uuid} has ended already: it is {before}.")
        text = f"Abandoned by {by}: {reason.rstrip('.')}."
        moves = moves_of(session, row.uuid)
        left = _under_way(moves)
        _fail_moves(moves, now, text)
        left += _left_by(session, row, moves)
        locked = [move.instance_uuid for move in moves if move.locked]
        if locked:
            text += f" Still locked: {', '.join(locked)}."
        row.status = NotificationStatus.FAILED
        row.message = text
        row.lease_until = None
        row.updated_at = now
        history.add(session, row.uuid, row.claim_number, now, message=f"failed: {text}")
    LOG.error(
        "notification %s: %s -> failed: %s (host %s, request %s)",
        row.uuid,
        before,
        text,
        row.host.name,
        row.request_id,
    )
    return left


def _fail_moves(moves: list[Move], now: datetime.datetime, text: str) -> None:
    for move in moves:
        if move.status in (MoveStatus.PENDING, MoveStatus.ONGOING):
            move.message = text
            move.status = MoveStatus.FAILED
            move.end_time = move.updated_at = now


def leftovers(db: Database, notification_uuid: str) -> list[Leftover]:
    """Return what the recovery did to the host and its instances that is not undone.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        row = _find(session, notification_uuid)
        moves = moves_of(session, row.uuid)
        return _under_way(moves) + _left_by(session, row, moves)


def _under_way(moves: list[Move]) -> list[Leftover]:
    return [
        Leftover(
            f"Instance {move.instance_uuid} ({move.instance_name}) may be under evacuation.",
            f"openstack server migration list --server {move.instance_uuid}",
        )
        for move in moves
        if move.status == MoveStatus.ONGOING
    ]


def _left_by(session: orm.Session, row: Notification, moves: list[Move]) -> list[Leftover]:
    left = [
        Leftover(
            f"Instance {move.instance_uuid} ({move.instance_name}) may be locked by this recovery.",
            f"openstack server unlock {move.instance_uuid}",
        )
        for move in moves
        if move.locked
    ]
    host = row.host
    if row.disabled_service:
        left.append(
            Leftover(
                f"nova-compute on {host.name} was disabled.",
                f"openstack compute service set --enable {host.name} nova-compute",
            )
        )
    if host.deleted:
        return left
    update = f"openstack segment host update {row.segment_uuid} {host.name}"
    if host.on_maintenance and host.maintenance_by == row.uuid:
        left.append(
            Leftover(
                f"Host {host.name} is on maintenance: no failure of it is taken in.",
                f"{update} --on_maintenance False",
            )
        )
    if row.took_reserved and not host.reserved:
        left.append(Leftover(f"Host {host.name} was a reserved host.", f"{update} --reserved True"))
    taken = session.scalars(sa.select(Host).where(Host.taken_by == row.uuid, Host.deleted == 0))
    left += [
        Leftover(
            f"Host {reserved.name} was a reserved host and was taken for this recovery.",
            f"openstack segment host update {reserved.segment_uuid} {reserved.name} "
            "--reserved True",
        )
        for reserved in taken
    ]
    return left


def _refuse_owned(row: Notification, now: datetime.datetime) -> None:
    if row.status != NotificationStatus.RUNNING or row.lease_until is None:
        return
    if row.lease_until >= now:
        raise Conflict(
            f"Notification {row.uuid} is being worked on by {row.owner} (its lease runs until "
            f"{row.lease_until:%H:%M:%S} UTC, unless it is renewed); stop that engine first, or "
            "wait."
        )


def _lock(session: orm.Session, notification_uuid: str) -> Notification:
    session.execute(
        sa.select(Notification.id).where(Notification.uuid == notification_uuid).with_for_update()
    )
    return _find(session, notification_uuid)


def _find(session: orm.Session, notification_uuid: str) -> Notification:
    row = session.scalar(
        sa.select(Notification)
        .where(Notification.uuid == notification_uuid)
        .options(orm.joinedload(Notification.host))
    )
    if row is None:
        raise NotificationNotFound(f"No notification has the uuid {notification_uuid}.")
    return row
