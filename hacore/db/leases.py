# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What claims on notifications and claims on operations have in common: leases, and writing.

Invariant: nothing is written for a row but under its newest claim (`lock`).
"""

import datetime
import logging
from collections.abc import Collection
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import history
from hacore.db.engine import Database, UtcNow, retry
from hacore.db.models import Notification, Operation, OperationEntry
from hacore.errors import LeaseLost
from hacore.states import NotificationStatus, OperationStatus

LOG = logging.getLogger(__name__)
Row = TypeVar("Row", bound=Notification | Operation)

#: The word of both tables.
RUNNING = str(NotificationStatus.RUNNING)
assert OperationStatus.RUNNING == RUNNING  # noqa: S101 - the queries below are for both
_NAMES = {Notification: "notification", Operation: "operation"}


class Held(Protocol):
    """A claim on a row of either table."""

    @property
    def uuid(self) -> str:
        """Of the row."""

    @property
    def owner(self) -> str:
        """The engine."""

    @property
    def number(self) -> int:
        """Counts the claims of the row: the fencing number."""

    @property
    def host_name(self) -> str:
        """Of the host that it is about."""


def lock(
    db: Database, session: orm.Session, table: type[Row], claim: Held
) -> tuple[Row, datetime.datetime]:
    """Return the claimed row, locked until the transaction ends, and the time.

    Raises LeaseLost when the claim is not the newest any more.  Every write
    for the row calls this first, in the same transaction.
    """
    found = session.execute(
        sa.select(table, UtcNow())
        .where(
            table.uuid == claim.uuid,
            table.owner == claim.owner,
            table.claim_number == claim.number,
            table.status == RUNNING,
        )
        .with_for_update()
    ).one_or_none()
    if found is None:
        raise taken_over(table, claim.uuid, claim.number)
    row, now = found
    # To Galera only what is written counts: where another node has let an engine take the claim
    # over, and this node has not heard of it, whatever is written here must not be committed.
    row.locks += 1
    session.flush()  # here: SQLAlchemy adds its own advice to what fails within a later query
    return row, db.time_in(now)


def taken_over(table: type[Row], uuid: str, number: int) -> LeaseLost:
    """Return the error about a claim that is not the newest any more."""
    return LeaseLost(f"Claim {number} of {_NAMES[table]} {uuid} was taken over.")


@retry
def renew(
    db: Database, table: type[Row], owner: str, uuids: Collection[str], lease_s: float
) -> frozenset[tuple[str, int]]:
    """Give `owner`'s claims on `uuids` a new lease; return uuid and number of those it holds."""
    with db.write() as session:
        held = (table.uuid.in_(uuids), table.owner == owner, table.status == RUNNING)
        session.execute(
            sa.update(table)
            .where(*held)
            .values(lease_until=db.now(session) + datetime.timedelta(seconds=lease_s))
            .execution_options(synchronize_session=False)
        )
        rows = session.execute(sa.select(table.uuid, table.claim_number).where(*held))
        return frozenset((uuid, number) for uuid, number in rows)


@retry
def release(db: Database, table: type[Row], claim: Held, reason: str) -> None:
    """Give the claim back: the row is due at once, for whoever comes."""
    with db.write() as session:
        row, now = lock(db, session, table, claim)
        row.lease_until = None
        row.updated_at = now
        note(session, row, now, message=f"Released: {reason}")


@retry
def record(
    db: Database,
    table: type[Row],
    claim: Held,
    step: str | None,
    *,
    state: str | None = None,
    progress: float | None = None,
    message: str | None = None,
) -> None:
    """Add a line to the history of the claimed row; see `hacore.db.history.add`."""
    with db.write() as session:
        row, now = lock(db, session, table, claim)
        note(session, row, now, step=step, state=state, progress=progress, message=message)
    if state is not None:
        name, host = _NAMES[table], claim.host_name
        LOG.info("%s %s: step %s: %s (host %s)", name, claim.uuid, step, state, host)


def note(
    session: orm.Session,
    row: Notification | Operation,
    now: datetime.datetime,
    *,
    step: str | None = None,
    state: str | None = None,
    progress: float | None = None,
    message: str | None = None,
) -> None:
    """Add a line to the history of a row, within the transaction of what it describes."""
    if isinstance(row, Notification):
        history.add(
            session,
            row.uuid,
            row.claim_number,
            now,
            step=step,
            state=state,
            progress=progress,
            message=message,
        )
        return
    session.add(
        OperationEntry(
            operation_uuid=row.uuid,
            claim_number=row.claim_number,
            created_at=now,
            step=step,
            state=state,
            progress=progress,
            message=message,
        )
    )
