# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The moves of a host recovery, as its engine reads and writes them.

A move is what is known of one instance; it survives the engine.  What the
instance was like before the failure is written once and never overwritten.
"""

import dataclasses
import logging
import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import claims, events
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import Move, Notification
from hacore.states import MoveStatus, MoveType

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A move to be made; with a `skip_reason`, one not to be made.

    ``migration_before``: id of the newest evacuation that Nova has recorded for
    the instance, 0 when there is none; younger ones are this recovery's.
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
        claims.owned(session, claim)
        now = db.now(session)
        known = _of(session, claim.uuid)
        moves = {move.instance_uuid: move for move in known}
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
    return sorted(moves.values(), key=lambda move: move.position)


def all_of(db: Database, notification_uuid: str) -> list[Move]:
    """Return the moves of a notification, in the order of evacuation."""
    with db.read() as session:
        return _of(session, notification_uuid)


def _of(session: orm.Session, notification_uuid: str) -> list[Move]:
    return list(
        session.scalars(
            sa.select(Move)
            .where(Move.notification_uuid == notification_uuid)
            .order_by(Move.position)
        )
    )


@retry
def begin(db: Database, claim: Claim, move: Move) -> None:
    """Note, before it is done, that the instance is locked and evacuated by us.

    Written are ``locked`` and ``migration_before`` as `move` has them now.
    """
    with db.write() as session:
        claims.owned(session, claim)
        row = session.get_one(Move, move.id)
        now = db.now(session)
        row.status = MoveStatus.ONGOING
        row.locked = move.locked
        row.migration_before = move.migration_before
        row.start_time = row.start_time or now
        row.end_time = None
        row.message = None
        row.updated_at = now
    LOG.info("instance %s: evacuation from %s begins", move.instance_uuid, move.source_host)


@retry
def end(
    db: Database,
    claim: Claim,
    move: Move,
    status: MoveStatus,
    *,
    step: str,
    dest_host: str | None = None,
    message: str | None = None,
    progress: float | None = None,
) -> None:
    """Write the verdict on a move, and the line that tells it."""
    text = message or f"Instance {move.instance_uuid} moved from {move.source_host} to {dest_host}."
    with db.write() as session:
        claims.owned(session, claim)
        row = session.get_one(Move, move.id)
        now = db.now(session)
        row.status = status
        row.dest_host = dest_host
        row.message = message
        row.start_time = row.start_time or now
        row.end_time = now
        row.updated_at = now
        events.add(
            session, claim.uuid, claim.attempt, now, step=step, message=text, progress=progress
        )
    level = logging.WARNING if status == MoveStatus.FAILED else logging.INFO
    LOG.log(level, "instance %s: move %s: %s", move.instance_uuid, status, text)


@retry
def unlocked(db: Database, claim: Claim, move: Move) -> None:
    """Note that no lock of ours is on the instance any more."""
    with db.write() as session:
        claims.owned(session, claim)
        row = session.get_one(Move, move.id)
        row.locked = False
        row.updated_at = db.now(session)


def taken_care_of(db: Database, instance_uuid: str, claim: Claim) -> str | None:
    """Return the uuid of a host recovery that moved or moves the instance, or None.

    Only one whose notification came in after that of `claim` counts.
    """
    with db.read() as session:
        return session.scalar(
            sa.select(Notification.uuid)
            .join(Move, Move.notification_uuid == Notification.uuid)
            .where(
                Move.instance_uuid == instance_uuid,
                Move.status.in_((MoveStatus.PENDING, MoveStatus.ONGOING, MoveStatus.SUCCEEDED)),
                Notification.created_at >= claim.created_at,
            )
            .limit(1)
        )
