# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Removes old rows."""

import datetime
import logging

import sqlalchemy as sa

from hacore.db.engine import Database, change, retry
from hacore.db.models import (
    Base,
    FencingDevice,
    FencingDeviceEntry,
    FencingOrder,
    HistoryEntry,
    Host,
    Move,
    Notification,
    Operation,
    OperationEntry,
    Proof,
    Segment,
    Service,
)
from hacore.states import ENDED, OPERATION_ENDED

LOG = logging.getLogger(__name__)


#: Notifications, or rows of another table, that one transaction removes: Galera limits what a
#: transaction may write (wsrep_max_ws_rows, wsrep_max_ws_size).
_BATCH = 500


def purge(db: Database, before_days: int, *, dry_run: bool = False) -> dict[str, int]:
    """Remove what ended or was deleted more than `before_days` ago; return rows by table.

    Notifications go with their moves and history, operations with theirs; segments and hosts
    only if they are soft-deleted and nothing refers to them; processes by their last heartbeat;
    proofs by their age, with their recovery; orders to fencing devices unless they are outstanding;
    fencing devices that were taken out of the file, and the history of all by age.

    In batches, each in its own transaction: a purge that was interrupted has removed whole
    notifications, and the next one continues.
    """
    with db.read() as session:
        limit = db.now(session) - datetime.timedelta(days=before_days)
    old = sa.and_(
        Notification.status.in_(ENDED),
        sa.func.coalesce(Notification.updated_at, Notification.created_at) < limit,
    )
    old_operation = sa.and_(Operation.status.in_(OPERATION_ENDED), Operation.updated_at < limit)
    host = sa.and_(
        Host.deleted != 0,
        Host.deleted_at < limit,
        Host.uuid.not_in(
            sa.select(Notification.source_host_uuid).where(~old)
            if dry_run
            else sa.select(Notification.source_host_uuid)
        ),
        Host.uuid.not_in(
            sa.select(Operation.host_uuid).where(~old_operation)
            if dry_run
            else sa.select(Operation.host_uuid)
        ),
    )
    segment = sa.and_(
        Segment.deleted != 0,
        Segment.deleted_at < limit,
        Segment.uuid.not_in(
            sa.select(Notification.segment_uuid).where(~old)
            if dry_run
            else sa.select(Notification.segment_uuid)
        ),
        Segment.uuid.not_in(
            sa.select(Host.segment_uuid).where(~host) if dry_run else sa.select(Host.segment_uuid)
        ),
    )
    gone = sa.select(Operation.uuid).where(old_operation)
    others: list[tuple[type[Base], sa.ColumnElement[bool]]] = [
        (OperationEntry, OperationEntry.operation_uuid.in_(gone)),
        (Operation, old_operation),
        (Host, host),
        (Segment, segment),
        (Service, Service.alive_until < limit),
        (Proof, _is_old_proof(limit, old, dry_run=dry_run)),
        # an outstanding order may be carried out at any time
        (FencingOrder, FencingOrder.closed_at < limit),
        (FencingDevice, FencingDevice.removed_at < limit),
        (FencingDeviceEntry, FencingDeviceEntry.created_at < limit),
    ]
    if dry_run:
        return _count(db, old, others)
    counts = dict.fromkeys(_tables(others), 0)
    while removed := _remove_notifications(db, old):
        for table, count in removed.items():
            counts[table] += count
    for model, condition in others:
        while count := _remove(db, model, condition):
            counts[model.__tablename__] += count
    LOG.info("Purged rows older than %d days: %s", before_days, counts)
    return counts


def _is_old_proof(
    limit: datetime.datetime, old: sa.ColumnElement[bool], *, dry_run: bool
) -> sa.ColumnElement[bool]:
    """Return the condition that a proof is old and its recovery gone, if it had one."""
    left = sa.select(Notification.uuid)
    return sa.and_(
        Proof.created_at < limit,
        sa.or_(
            Proof.notification_uuid.is_(None),
            Proof.notification_uuid.not_in(left.where(~old) if dry_run else left),
        ),
    )


def _tables(others: list[tuple[type[Base], sa.ColumnElement[bool]]]) -> list[str]:
    models: list[type[Base]] = [HistoryEntry, Move, Notification, *(model for model, _ in others)]
    return [model.__tablename__ for model in models]


@retry
def _remove_notifications(db: Database, old: sa.ColumnElement[bool]) -> dict[str, int]:
    """Remove some, each with all that belongs to it; empty: there are none."""
    with db.write() as session:
        uuids = session.scalars(
            sa.select(Notification.uuid).where(old).order_by(Notification.id).limit(_BATCH)
        ).all()
        if not uuids:
            return {}
        return {
            column.class_.__tablename__: change(
                session, sa.delete(column.class_).where(column.in_(uuids))
            )
            for column in (
                HistoryEntry.notification_uuid,
                Move.notification_uuid,
                Notification.uuid,
            )
        }


@retry
def _remove(db: Database, model: type[Base], condition: sa.ColumnElement[bool]) -> int:
    with db.write() as session:
        ids = session.scalars(sa.select(model.id).where(condition).limit(_BATCH)).all()
        return change(session, sa.delete(model).where(model.id.in_(ids))) if ids else 0


def _count(
    db: Database,
    old: sa.ColumnElement[bool],
    others: list[tuple[type[Base], sa.ColumnElement[bool]]],
) -> dict[str, int]:
    uuids = sa.select(Notification.uuid).where(old)
    conditions: list[tuple[type[Base], sa.ColumnElement[bool]]] = [
        (HistoryEntry, HistoryEntry.notification_uuid.in_(uuids)),
        (Move, Move.notification_uuid.in_(uuids)),
        (Notification, old),
        *others,
    ]
    with db.read() as session:
        return {
            model.__tablename__: session.scalar(
                sa.select(sa.func.count()).select_from(model).where(condition)
            )
            or 0
            for model, condition in conditions
        }
