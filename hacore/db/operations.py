# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Operations as operators ask for them and read them; hacore.db.operation_claims has the engines'.

Invariant: a host has at most one open operation, and none is accepted while a recovery of the
host is under way or to come.  The lock on the host's row, which is written too, sees to both.
"""

import dataclasses
import datetime
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import leases, operation_claims, paging, services
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Notification, Operation, OperationEntry
from hacore.errors import Conflict, HostNotFound, InUse, OperationNotFound
from hacore.states import LIVE, NotificationStatus, OperationType

#: Seconds after which an operation that has not ended is given up.
DEADLINES_S = {OperationType.RETURN: 1800.0}

_NEWEST_FIRST = (paging.Sort("id", descending=True),)


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Which operations; a filter that is empty or None takes all."""

    statuses: tuple[str, ...] = ()
    type: str | None = None
    host: str | None = None


@dataclasses.dataclass(frozen=True)
class OperationHistory:
    """An operation with its host, and its history in order."""

    operation: Operation
    entries: list[OperationEntry]


@retry
def create(
    db: Database,
    host_uuid: str,
    type_: OperationType,
    by: str,
    reason: str | None,
    options: dict[str, Any],
    request_id: str | None = None,
) -> Operation:
    """Accept an operation of a host; return it with its host.

    Raises HostNotFound, or Conflict with the reason why not.
    """
    _refuse_old_versions(db)
    with db.write() as session:
        host = session.scalar(
            sa.select(Host).where(Host.uuid == host_uuid, Host.deleted == 0).with_for_update()
        )
        if host is None:
            raise HostNotFound(f"No host has the uuid {host_uuid}.")
        host.locks += 1
        refuse_in_use(session, host)
        _refuse_recovery(session, host)
        now = db.now(session)
        row = Operation(
            uuid=str(uuid.uuid4()),
            created_at=now,
            type=type_,
            by=by,
            reason=reason,
            options=options,
            deadline=now + datetime.timedelta(seconds=DEADLINES_S[type_]),
            did={},
            request_id=request_id,
            claim_number=0,
            host_uuid=host.uuid,
        )
        row.host = host
        session.add(row)
        session.flush()
        why = f": {reason.rstrip('.')}" if reason else ""
        leases.note(session, row, now, message=f"Requested by {by}{why}.")
        return row


def _refuse_old_versions(db: Database) -> None:
    old = services.without_operations(db)
    if old:
        named = ", ".join(f"{each.binary} {each.version} on {each.host}" for each in old)
        raise Conflict(
            f"Processes of an older version do not know operations: {named}; upgrade or stop them "
            "first."
        )


def _refuse_recovery(session: orm.Session, host: Host) -> None:
    live = session.scalars(
        sa.select(Notification)
        .where(Notification.source_host_uuid == host.uuid, Notification.status.in_(LIVE))
        .order_by(Notification.id)
    )
    for row in live:
        if not operation_claims.goes_first(row):
            continue
        if row.held_rule is not None:
            raise Conflict(
                f"A recovery of host {host.name} is held ({row.held_rule}); abandon recovery "
                f"{row.uuid} first."
            )
        state = "runs" if row.status == NotificationStatus.RUNNING else "is due"
        raise Conflict(
            f"A recovery of host {host.name} {state}; wait for its end, or abandon recovery "
            f"{row.uuid} first."
        )


def refuse_in_use(session: orm.Session, host: Host) -> None:
    """Raise InUse if the host has an open operation."""
    for found in operation_claims.open_of(session, host.uuid):
        raise InUse(
            f"Host {host.name} cannot be changed or deleted while operation {found.uuid} "
            f"({found.type}) of it has not ended."
        )


@retry
def page(db: Database, wanted: Wanted, limit: int, marker: str | None = None) -> list[Operation]:
    """Return operations with their hosts, the newest first.

    Raises InvalidMarker.
    """
    query = sa.select(Operation).join(Operation.host).options(orm.contains_eager(Operation.host))
    if wanted.statuses:
        query = query.where(Operation.status.in_(wanted.statuses))
    if wanted.type is not None:
        query = query.where(Operation.type == wanted.type)
    if wanted.host is not None:
        query = query.where(Host.name == wanted.host)
    with db.read() as session:
        return paging.fetch(session, query, Operation, paging.Page(limit, marker, _NEWEST_FIRST))


@retry
def read(db: Database, operation_uuid: str) -> OperationHistory:
    """Return everything that is known of one operation.

    Raises OperationNotFound.
    """
    with db.read() as session:
        row = session.scalar(
            sa.select(Operation)
            .where(Operation.uuid == operation_uuid)
            .options(orm.joinedload(Operation.host))
        )
        if row is None:
            raise OperationNotFound(f"No operation has the uuid {operation_uuid}.")
        entries = session.scalars(
            sa.select(OperationEntry)
            .where(OperationEntry.operation_uuid == operation_uuid)
            .order_by(OperationEntry.id)
        ).all()
        return OperationHistory(row, list(entries))
