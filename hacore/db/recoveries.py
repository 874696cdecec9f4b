# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a recovery records about itself and its host, each under its claim.

Marks on the notification say what the recovery did to the host and may have to
undo; they are written before it is done.
"""

import logging

import sqlalchemy as sa

from hacore.db import claims, operation_claims
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Host, Notification
from hacore.states import NotificationType, StepState

LOG = logging.getLogger(__name__)


@retry
def begin_maintenance(db: Database, claim: Claim) -> None:
    """Mark the host on maintenance; one that died is not reserved any more."""
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        host = session.scalars(
            sa.select(Host).where(Host.uuid == row.source_host_uuid).with_for_update()
        ).one()
        if not host.on_maintenance:
            row.set_maintenance = True
            host.on_maintenance = True
            host.maintenance_by = row.uuid
            host.updated_at = now
            LOG.info("host %s: on maintenance (notification %s)", host.name, row.uuid)
        if host.reserved and claim.type == NotificationType.COMPUTE_HOST:
            row.took_reserved = host.was_reserved = True
            host.reserved = False
            host.updated_at = now
            LOG.info("host %s: no longer reserved (notification %s)", host.name, row.uuid)


@retry
def end_maintenance(db: Database, claim: Claim) -> None:
    """Undo `begin_maintenance`, as far as this recovery did it."""
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        host = session.scalars(
            sa.select(Host).where(Host.uuid == row.source_host_uuid).with_for_update()
        ).one()
        if row.set_maintenance and host.maintenance_by == row.uuid:
            host.on_maintenance = False
            host.maintenance_by = None
            LOG.info("host %s: no longer on maintenance (notification %s)", host.name, row.uuid)
        if row.took_reserved:
            host.reserved = True
            host.was_reserved = False
            LOG.info("host %s: reserved again (notification %s)", host.name, row.uuid)
        row.set_maintenance = row.took_reserved = False
        host.updated_at = now


@retry
def keep_maintenance(db: Database, claim: Claim) -> None:
    """The host was recovered: only an operator takes it off maintenance now."""
    with db.write() as session:
        row, _ = claims.lock_claimed(db, session, claim)
        session.execute(
            sa.update(Host)
            .where(Host.uuid == row.source_host_uuid, Host.on_maintenance.is_(True))
            .values(maintenance_by=row.uuid)
        )


@retry
def take_over(db: Database, claim: Claim) -> None:
    """End an operation of the host that this recovery has paused: evacuations begin."""
    with db.read() as session:  # none is accepted while this recovery has not ended
        if not operation_claims.open_of(session, claim.host_uuid):
            return
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        operation_claims.end_by_recovery(session, row, now)


@retry
def about_to_disable(db: Database, claim: Claim, reason: str) -> None:
    """Record, before it is done, that this recovery disables the compute service of its host."""
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        row.disabled_service = True
        session.execute(
            sa.update(Host)
            .where(Host.uuid == row.source_host_uuid)
            .values(disabled_by=row.uuid, disabled_at=now, disabled_reason=reason[:255])
            .execution_options(synchronize_session=False)
        )


@retry
def enabled_again(db: Database, claim: Claim) -> None:
    """Record that this recovery has enabled the compute service again."""
    with db.write() as session:
        row, _ = claims.lock_claimed(db, session, claim)
        row.disabled_service = False
        session.execute(
            sa.update(Host)
            .where(Host.uuid == row.source_host_uuid, Host.disabled_by == row.uuid)
            .values(disabled_by=None, disabled_at=None, disabled_reason=None)
            .execution_options(synchronize_session=False)
        )


@retry
def disabled_service(db: Database, claim: Claim) -> bool:
    """Return whether this recovery, in whichever attempt, disabled the compute service."""
    with db.write() as session:
        return claims.lock_claimed(db, session, claim)[0].disabled_service


@retry
def changed_host(db: Database, claim: Claim) -> bool:
    """Return whether something of what this recovery did to its host may have to be undone."""
    with db.write() as session:
        row, _ = claims.lock_claimed(db, session, claim)
        return row.disabled_service or row.set_maintenance or row.took_reserved


@retry
def was_handed_over(db: Database, claim: Claim) -> bool:
    """Return whether an earlier claim had begun this attempt."""
    with db.write() as session:
        row, _ = claims.lock_claimed(db, session, claim)
        return row.failed_claim < claim.number - 1


def seconds_since_claim(db: Database, claim: Claim) -> float:
    """Return how long ago the claim was taken, by the database's clock."""
    with db.read() as session:
        taken_at = session.scalar(
            sa.select(sa.func.min(HistoryEntry.created_at)).where(
                HistoryEntry.notification_uuid == claim.uuid,
                HistoryEntry.claim_number == claim.number,
            )
        )
        # its first line is written with it
        return (db.now(session) - taken_at).total_seconds() if taken_at else 0.0


def reached(db: Database, claim: Claim, step: str, state: StepState) -> bool:
    """Return whether an earlier claim of this attempt brought `step` to `state`.

    An attempt that ended in error does not count: the next one does everything again.  Nor does
    a step that found nothing to do and says why: it succeeded, and has done nothing.
    """
    with db.read() as session:
        found = session.scalar(
            sa.select(HistoryEntry.id)
            .join(Notification, Notification.uuid == HistoryEntry.notification_uuid)
            .where(
                HistoryEntry.notification_uuid == claim.uuid,
                HistoryEntry.step == step,
                HistoryEntry.state == state,
                HistoryEntry.message.is_(None),
                HistoryEntry.claim_number > Notification.failed_claim,
                HistoryEntry.claim_number < claim.number,
            )
            .limit(1)
        )
    return found is not None
