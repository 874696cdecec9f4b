# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The moves of a host recovery: what its engine reads and writes, and what the API shows.

A move is what is known of one instance; it survives the engine.  What the
instance was like before the failure is written once and never overwritten.
"""

import dataclasses
import datetime
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore import metrics
from hacore.db import claims, history, notifications, paging
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import Move
from hacore.errors import Invalid, MoveNotFound
from hacore.states import MoveStatus, MoveType, NotificationType

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A move to be made; with a `skip_reason`, one not to be made.

    ``migration_before``: id of the newest evacuation of the instance that Nova has
    ended, 0 when there is none; younger ones are for this recovery to watch.
    """

    instance_uuid: str
    instance_name: str
    vm_state: str
    power_state: int
    migration_before: int
    skip_reason: str | None = None


@retry
def prepare(db: Database, claim: Claim, plans: Sequence[Plan]) -> list[Move]:
    """Add a move for each plan whose instance has none yet; return all, in order."""
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        known = of(session, claim.uuid)
        moves = {move.instance_uuid: move for move in known}
        had = frozenset(moves)
        for plan in plans:
            if plan.instance_uuid in moves:
                continue
            moves[plan.instance_uuid] = Move(
                uuid=str(uuid.uuid4()),
                notification_uuid=claim.uuid,
                instance_uuid=plan.instance_uuid,
                instance_name=plan.instance_name,
                source_host=claim.host_name,
                type=MoveType.EVACUATION,
                status=MoveStatus.IGNORED if plan.skip_reason else MoveStatus.PENDING,
                message=plan.skip_reason,
                position=len(moves),
                vm_state=plan.vm_state,
                power_state=plan.power_state,
                migration_before=plan.migration_before,
                created_at=now,
            )
        session.add_all(moves.values())
    for move in moves.values():
        if move.instance_uuid not in had:
            if move.status == MoveStatus.IGNORED:
                metrics.MOVES.labels(MoveStatus.IGNORED).inc()
            _log(logging.INFO, claim, move, move.status, move.message or "to be evacuated")
    return sorted(moves.values(), key=lambda move: move.position)


def all_of(db: Database, notification_uuid: str) -> list[Move]:
    """Return the moves of a notification, in the order of evacuation."""
    with db.read() as session:
        return of(session, notification_uuid)


def is_open(db: Database, move: Move) -> bool:
    """Return whether the move has no verdict yet."""
    with db.read() as session:
        status = session.scalar(sa.select(Move.status).where(Move.id == move.id))
    return status in (MoveStatus.PENDING, MoveStatus.ONGOING)


def of(session: orm.Session, notification_uuid: str) -> list[Move]:
    """Return the same within a transaction."""
    return list(
        session.scalars(
            sa.select(Move)
            .where(Move.notification_uuid == notification_uuid)
            .order_by(Move.position)
        )
    )


def fail_open(rows: list[Move], now: datetime.datetime, text: str) -> None:
    """Fail the moves that have not ended, in a transaction that has their notification locked."""
    for move in rows:
        if move.status in (MoveStatus.PENDING, MoveStatus.ONGOING):
            move.message = text
            move.status = MoveStatus.FAILED
            move.end_time = move.updated_at = now


@retry
def have_begun(db: Database, notification_uuid: str) -> bool:
    """Return whether the evacuation of an instance has begun."""
    begun = (MoveStatus.ONGOING, MoveStatus.SUCCEEDED)
    found = sa.select(Move.id).where(
        Move.notification_uuid == notification_uuid, Move.status.in_(begun)
    )
    with db.read() as session:
        return session.scalar(found.limit(1)) is not None


@retry
def begin(db: Database, claim: Claim, move: Move) -> None:
    """Record, before it is done, that hacore locks and evacuates the instance.

    Written are ``locked`` and ``migration_before`` as `move` has them now.  Until the next call
    is recorded (`about_to_call`) the lock is the last one, and ``updated_at`` its beginning.
    """
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        row = session.get_one(Move, move.id)
        again = row.status == MoveStatus.ONGOING
        row.status = MoveStatus.ONGOING
        row.called_at = None
        row.locked = move.locked
        row.migration_before = move.migration_before
        row.start_time = row.start_time or now
        row.end_time = None
        row.message = None
        row.updated_at = now
    if not again:
        _log(logging.INFO, claim, move, MoveStatus.ONGOING, "evacuation begins")


@retry
def about_to_call(db: Database, claim: Claim, move: Move, *, resets: bool = False) -> None:
    """Record, before it is sent, that Nova is asked to reset or to evacuate the instance now.

    :param resets: to ``error``: the state is to be set back where that comes to nothing.
    """
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        row = session.get_one(Move, move.id)
        row.called_at = now
        row.state_reset = move.state_reset = resets or move.state_reset


@retry
def about_to_stop(db: Database, claim: Claim, move: Move) -> None:
    """Record the same of a stop: no record of Nova's shows whether it has arrived."""
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        row = session.get_one(Move, move.id)
        row.called_at = None
        row.updated_at = now


@retry
def seconds_since_calls(db: Database, rows: Iterable[Move]) -> dict[int, float]:
    """Return how long ago the last call for each ongoing move began, by its id; by one clock."""
    begun = {
        move.id: move.called_at or move.updated_at
        for move in rows
        if move.status == MoveStatus.ONGOING
    }
    with db.read() as session:
        now = db.now(session)
    return {id_: (now - at).total_seconds() for id_, at in begun.items() if at is not None}


@retry
def end(
    db: Database,
    claim: Claim,
    move: Move,
    status: MoveStatus,
    *,
    step: str | None,
    dest_host: str | None = None,
    message: str | None = None,
    progress: float | None = None,
) -> None:
    """Record the verdict on a move, and its line in the history.

    Written are ``locked`` and ``state_reset`` as `move` has them now.
    """
    text = f"Instance {move.instance_uuid} evacuated from {move.source_host} to {dest_host}."
    if message is not None:
        text = f"Instance {move.instance_uuid}: {message}"
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        row = session.get_one(Move, move.id)
        row.status = status
        row.locked = move.locked
        row.state_reset = move.state_reset
        row.dest_host = dest_host
        row.message = message
        row.start_time = row.start_time or now
        row.end_time = now
        row.updated_at = now
        took_s = (now - row.start_time).total_seconds()
        history.add(
            session, claim.uuid, claim.number, now, step=step, message=text, progress=progress
        )
    metrics.MOVES.labels(status).inc()
    metrics.MOVE_SECONDS.labels(status).observe(took_s)
    level = logging.WARNING if status == MoveStatus.FAILED else logging.INFO
    _log(level, claim, move, status, text)


def _log(level: int, claim: Claim, move: Move, status: str, text: str) -> None:
    LOG.log(
        level,
        "instance %s: move %s (notification %s, host %s): %s",
        move.instance_uuid,
        status,
        claim.uuid,
        claim.host_name,
        text,
    )


@retry
def unlocked(db: Database, claim: Claim, move: Move) -> None:
    """Record that hacore no longer locks the instance."""
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        row = session.get_one(Move, move.id)
        row.locked = False
        row.updated_at = now


# ------------------------------------------------------- as the API shows them


@retry
def get(db: Database, notification_uuid: str, move_uuid: str) -> Move:
    """Return one move.

    Raises NotificationNotFound, MoveNotFound, or Invalid if the notification is of no host.
    """
    with db.read() as session:
        _refuse_other_types(session, notification_uuid)
        move = session.scalar(
            sa.select(Move).where(
                Move.uuid == move_uuid, Move.notification_uuid == notification_uuid
            )
        )
    if move is None:
        raise MoveNotFound(
            f"No VM move of notification {notification_uuid} has the uuid {move_uuid}."
        )
    return move


@retry
def list_(
    db: Database, notification_uuid: str, filters: Mapping[str, Any], page: paging.Page
) -> list[Move]:
    """Return a page of the notification's moves whose attributes equal `filters`.

    Raises NotificationNotFound, or Invalid if the notification is of no host.
    """
    query = sa.select(Move).where(Move.notification_uuid == notification_uuid).filter_by(**filters)
    with db.read() as session:
        _refuse_other_types(session, notification_uuid)
        return paging.fetch(session, query, Move, page)


def _refuse_other_types(session: orm.Session, notification_uuid: str) -> None:
    notification = notifications.find(session, notification_uuid)
    if notification.type != NotificationType.COMPUTE_HOST:
        raise Invalid(
            f"Notification {notification_uuid} is of type {notification.type}; only those of "
            f"type {NotificationType.COMPUTE_HOST} have VM moves."
        )
