# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What gates have answered: one line of the history each time that an answer changes."""

import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import claims, history, notifications
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry
from hacore.states import Answer, Gate

_GATES = HistoryEntry.gate.is_not(None)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One answer of a gate, the facts that it saw, and the sentence about both."""

    at: datetime.datetime
    claim_number: int
    gate: str
    answer: str
    facts: dict[str, Any]
    message: str


@retry
def record(
    db: Database, claim: Claim, gate: Gate, answer: Answer, facts: dict[str, Any], message: str
) -> bool:
    """Record what a gate answers this recovery, unless that is what it answered last; whether so.

    :param facts: what it saw, as JSON.
    :param message: one sentence, which says no more than was read.
    """
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        return add(session, row.uuid, row.claim_number, now, gate, answer, facts, message)


def add(
    session: orm.Session,
    notification_uuid: str,
    claim_number: int,
    now: datetime.datetime,
    gate: Gate,
    answer: Answer,
    facts: dict[str, Any],
    message: str,
    *,
    unread: bool = False,
) -> bool:
    """Do the same within a transaction that has the notification locked.

    :param unread: record it in any case, and do not read what was answered last.
    """
    if not unread and _last(session, notification_uuid, gate) == (answer, message):
        return False
    history.add(
        session,
        notification_uuid,
        claim_number,
        now,
        message=message,
        gate=gate,
        answer=answer,
        facts=facts,
    )
    return True


def _last(
    session: orm.Session, notification_uuid: str, gate: Gate
) -> tuple[str | None, str | None] | None:
    """Return what a gate answered last, and its sentence; None: it was not asked yet."""
    row = session.execute(
        sa.select(HistoryEntry.answer, HistoryEntry.message)
        .where(HistoryEntry.notification_uuid == notification_uuid, HistoryEntry.gate == gate)
        .order_by(HistoryEntry.id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.answer, row.message)


def last_count(session: orm.Session, notification_uuid: str) -> dict[str, Any] | None:
    """Return the facts of the gate that was the last to count missing hosts."""
    rows = session.scalars(
        sa.select(HistoryEntry.facts)
        .where(HistoryEntry.notification_uuid == notification_uuid, _GATES)
        .order_by(HistoryEntry.id.desc())
    )
    return next((each for each in rows if each and isinstance(each.get("missing"), int)), None)


def was_denied(db: Database, notification_uuid: str) -> bool:
    """Return whether a device had refused the login of hacore when it was last asked."""
    with db.read() as session:
        facts = session.scalar(
            sa.select(HistoryEntry.facts)
            .where(
                HistoryEntry.notification_uuid == notification_uuid,
                HistoryEntry.gate == Gate.PROOF,
            )
            .order_by(HistoryEntry.id.desc())
            .limit(1)
        )
        return bool((facts or {}).get("denied"))


def of(db: Database, notification_uuid: str) -> list[Asked]:
    """Return what all gates have answered this recovery, in order.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        notifications.find(session, notification_uuid)
        rows = session.scalars(
            sa.select(HistoryEntry)
            .where(HistoryEntry.notification_uuid == notification_uuid, _GATES)
            .order_by(HistoryEntry.id)
        )
        return [
            Asked(
                row.created_at,
                row.claim_number,
                row.gate or "",
                row.answer or "",
                row.facts or {},
                row.message or "",
            )
            for row in rows
        ]
