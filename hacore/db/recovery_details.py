# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The steps of a recovery as ``recovery_workflow_details`` shows them, read from the event rows."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db.models import Event


def read(session: orm.Session, notification_uuid: str) -> list[dict[str, Any]]:
    """Return the steps of a notification's recovery in the order in which they first ran.

    Each step is told as its newest attempt went; older attempts stay in the table.
    """
    events = session.scalars(
        sa.select(Event)
        .where(Event.notification_uuid == notification_uuid, Event.step.is_not(None))
        .order_by(Event.id)
    )
    steps: dict[str, list[Event]] = {}
    for event in events:
        rows = steps.setdefault(event.step or "", [])
        if rows and rows[-1].attempt < event.attempt:
            rows.clear()
        rows.append(event)
    return [_step(name, rows) for name, rows in steps.items()]


def _step(name: str, rows: list[Event]) -> dict[str, Any]:
    state, progress = None, 0.0
    details = []
    for row in rows:
        state = row.state or state
        progress = progress if row.progress is None else row.progress
        if row.message is not None:
            details.append(
                {
                    "timestamp": row.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
                    "message": row.message,
                    "progress": str(progress),
                }
            )
    return {"name": name, "state": state, "progress": progress, "progress_details": details}
