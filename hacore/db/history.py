# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The history of a recovery, line by line; rows are only ever added."""

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db.models import HistoryEntry, OperationEntry
from hacore.states import Answer, Gate

#: How the message of a notification begins for which an operator requested a retry.
RETRY_REQUESTED = "Retry requested by"


@dataclasses.dataclass(slots=True)
class StepRun:
    """One step under one claim: its last state and progress, and its history in order."""

    claim_number: int
    step: str
    state: str | None = None
    progress: float | None = None  #: 0 to 1
    entries: list[HistoryEntry | OperationEntry] = dataclasses.field(default_factory=list)


def add(
    session: orm.Session,
    notification_uuid: str,
    claim_number: int,
    now: datetime.datetime,
    *,
    step: str | None = None,
    state: str | None = None,
    progress: float | None = None,
    message: str | None = None,
    gate: Gate | None = None,
    answer: Answer | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Add one line, within the transaction of what it describes.

    :param step: name of the step; None where it concerns the notification.
    :param state: of the step, a `hacore.states.StepState`.
    :param progress: of the step, 0 to 1.
    :param gate: that was asked, its `answer`, and the `facts` that it saw.
    """
    session.add(
        HistoryEntry(
            notification_uuid=notification_uuid,
            claim_number=claim_number,
            created_at=now,
            step=step,
            state=state,
            progress=progress,
            message=message,
            gate=gate,
            answer=answer,
            facts=facts,
        )
    )


def of(session: orm.Session, notification_uuid: str) -> list[HistoryEntry]:
    """Return the whole history of a notification, in order."""
    return list(
        session.scalars(
            sa.select(HistoryEntry)
            .where(HistoryEntry.notification_uuid == notification_uuid)
            .order_by(HistoryEntry.id)
        )
    )


def has_since(
    session: orm.Session, notification_uuid: str, since: datetime.datetime, message: str
) -> bool:
    """Return whether there is a line with this message since then."""
    found = (
        sa.select(HistoryEntry.id)
        .where(
            HistoryEntry.notification_uuid == notification_uuid,
            HistoryEntry.created_at >= since,
            HistoryEntry.message == message,
        )
        .limit(1)
    )
    return session.scalar(found) is not None


def step_runs(entries: Iterable[HistoryEntry | OperationEntry]) -> list[StepRun]:
    """Return each step of each claim, in the order in which they began."""
    runs: dict[tuple[int, str], StepRun] = {}
    for entry in entries:
        if entry.step is None:
            continue
        key = entry.claim_number, entry.step
        run = runs.setdefault(key, StepRun(*key))
        run.state = entry.state or run.state
        run.progress = run.progress if entry.progress is None else entry.progress
        run.entries.append(entry)
    return list(runs.values())
