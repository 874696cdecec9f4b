# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What has happened since a notification came in, as far as hacore itself has caused or heard it.

Only times of the database are compared with each other.
"""

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import notifications
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Move, Notification
from hacore.states import MoveStatus, StepState

#: The name of hacore.tasks.instance.StartInstanceTask in the history.
_START_STEP = "StartInstanceTask"


@retry
def age_s(db: Database, claim: Claim) -> float:
    """Return how long ago the notification was accepted."""
    with db.read() as session:
        return (db.now(session) - claim.created_at).total_seconds()


@retry
def moved_by(db: Database, instance_uuid: str, claim: Claim) -> str | None:
    """Return the uuid of a recovery of the host that moves the instance, or None.

    Also of one that moved it after the notification of `claim` had come in.
    """
    with db.read() as session:
        return session.scalar(
            sa.select(Move.notification_uuid)
            .where(
                Move.instance_uuid == instance_uuid,
                Move.source_host == claim.host_name,
                sa.or_(
                    Move.status.in_((MoveStatus.PENDING, MoveStatus.ONGOING)),
                    sa.and_(Move.status == MoveStatus.SUCCEEDED, Move.end_time >= claim.created_at),
                ),
            )
            .limit(1)
        )


@retry
def restarted_by(db: Database, instance_uuid: str, claim: Claim) -> str | None:
    """Return the uuid of the notification for which hacore last started the instance, or None.

    Only a start that began after the notification of `claim` had come in counts; it may be
    one of an earlier attempt of this notification.
    """
    begun, done = orm.aliased(HistoryEntry), orm.aliased(HistoryEntry)
    same_run = sa.and_(
        done.notification_uuid == begun.notification_uuid,
        done.claim_number == begun.claim_number,
        done.step == begun.step,
        done.state == StepState.SUCCESS,
    )
    with db.read() as session:
        return session.scalar(
            sa.select(begun.notification_uuid)
            .join(Notification, Notification.uuid == begun.notification_uuid)
            .join(done, same_run)
            .where(
                Notification.subject == notifications.subject_of_instance(instance_uuid),
                begun.step == _START_STEP,
                begun.state == StepState.RUNNING,
                begun.created_at > claim.created_at,
            )
            .order_by(begun.created_at.desc())
            .limit(1)
        )


@retry
def ran(db: Database, claim: Claim) -> bool:
    """Return whether an earlier claim, of whichever attempt, began any step."""
    query = sa.select(HistoryEntry.id).where(
        HistoryEntry.notification_uuid == claim.uuid,
        HistoryEntry.claim_number < claim.number,
        HistoryEntry.step.is_not(None),
    )
    with db.read() as session:
        return session.scalar(query.limit(1)) is not None


@retry
def noted(db: Database, claim: Claim, message: str) -> bool:
    """Return whether the history of the recovery has a line with this message."""
    query = sa.select(HistoryEntry.id).where(
        HistoryEntry.notification_uuid == claim.uuid, HistoryEntry.message == message
    )
    with db.read() as session:
        return session.scalar(query.limit(1)) is not None


@retry
def started_by(db: Database, claim: Claim) -> str | None:
    """Return the uuid of a later report that the host, or its process, has started; or None."""
    with db.read() as session:
        return notifications.started_after(
            session.connection(),
            claim.host_uuid,
            claim.type,
            claim.payload.get("process_name"),
            claim.created_at,
        )
