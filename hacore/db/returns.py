# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a return does to its host, each under its claim; what may be undone is written before.

Until `end` the host's row is as the recovery left it: a return that fails changes nothing there.
"""

import dataclasses
import logging

import sqlalchemy as sa

from hacore.db import operation_claims, proofs
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Move, Notification, Operation
from hacore.db.operation_claims import OperationClaim
from hacore.states import MoveStatus, OperationStatus, OperationType

LOG = logging.getLogger(__name__)

#: Keys of `Operation.did`.
FORCED_UP, ENABLED, ENDED = "forced_up", "enabled", "ended"


@dataclasses.dataclass(frozen=True, slots=True)
class Disabled:
    """That hacore has disabled the compute service of a host.

    :ivar reason: None: it was not written down (by a version before 0.2.0).
    """

    by: str
    reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Moved:
    """An instance that a recovery of the host has evacuated."""

    instance_uuid: str
    instance_name: str
    dest_host: str


@retry
def did(db: Database, claim: OperationClaim) -> frozenset[str]:
    """Return what this return, under whichever claim, has done to its host."""
    with db.write() as session:
        row, _, _ = operation_claims.lock_claimed(db, session, claim)
        return frozenset(row.did)


@retry
def about_to(db: Database, claim: OperationClaim, what: str) -> None:
    """Record, before it is done, what is to be undone if this return fails."""
    with db.write() as session:
        row, _, _ = operation_claims.lock_claimed(db, session, claim)
        row.did = {**row.did, what: True}


@retry
def disabled(db: Database, claim: OperationClaim) -> Disabled | None:
    """Return by what the compute service was disabled; None: not by hacore."""
    with db.write() as session:
        _, host, _ = operation_claims.lock_claimed(db, session, claim)
        return Disabled(host.disabled_by, host.disabled_reason) if host.disabled_by else None


@retry
def about_to_disable_again(db: Database, claim: OperationClaim, reason: str) -> None:
    """Record, before it is done, that the compute service is disabled as it was."""
    with db.write() as session:
        row, host, now = operation_claims.lock_claimed(db, session, claim)
        if host.disabled_by is None:
            host.disabled_by, host.disabled_at = row.uuid, now
        host.disabled_reason = reason[:255]


@retry
def undone(db: Database, claim: OperationClaim) -> None:
    """Record that the host is as it was before."""
    with db.write() as session:
        row, _, _ = operation_claims.lock_claimed(db, session, claim)
        row.did = {}


@retry
def end(db: Database, claim: OperationClaim, *, enabled: bool) -> str:
    """The host is in service: off maintenance, reserved again if it was; say what was changed.

    :param enabled: its compute service is; else what disabled it stays on its row.
    """
    with db.write() as session:
        row, host, now = operation_claims.lock_claimed(db, session, claim)
        changed = []
        if enabled:
            host.disabled_by = host.disabled_at = host.disabled_reason = None
            # what recoveries have to undo by hand: this was that
            session.execute(
                sa.update(Notification)
                .where(
                    Notification.source_host_uuid == host.uuid,
                    Notification.disabled_service.is_(True),
                )
                .values(disabled_service=False)
                .execution_options(synchronize_session=False)
            )
        if host.on_maintenance:
            changed.append("is off maintenance")
        if host.was_reserved:
            changed.append("is reserved again")
            host.reserved = True
        host.on_maintenance = host.was_reserved = False
        host.maintenance_by = None
        host.updated_at = now
        row.did = {ENDED: True}
        proofs.void_all(session, host.uuid, now, f"{claim.host_name} was brought back.")
    what = f"{claim.host_name} {' and '.join(changed) or 'was off maintenance already'}"
    LOG.info("host %s (operation %s)", what, claim.uuid)
    return f"{what}."


def moved(db: Database, claim: OperationClaim) -> list[Moved]:
    """Return what recoveries have evacuated from the host since it was last returned."""
    last = (
        sa.select(sa.func.max(Operation.updated_at))
        .where(
            Operation.host_uuid == claim.host_uuid,
            Operation.type == OperationType.RETURN,
            Operation.status == OperationStatus.FINISHED,
        )
        .scalar_subquery()
    )
    found = (
        sa.select(Move.instance_uuid, Move.instance_name, Move.dest_host)
        .join(Notification, Notification.uuid == Move.notification_uuid)
        .join(Host, Host.uuid == Notification.source_host_uuid)
        .where(
            Host.uuid == claim.host_uuid,
            Move.status == MoveStatus.SUCCEEDED,
            Move.dest_host.is_not(None),
            sa.or_(last.is_(None), Notification.created_at > last),
        )
        .order_by(Move.id)
    )
    with db.read() as session:
        return [Moved(uuid, name, dest or "") for uuid, name, dest in session.execute(found)]
