# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How often hacore has restarted one instance of late."""

import dataclasses
import datetime

import sqlalchemy as sa

from hacore.db import notifications
from hacore.db.engine import Database
from hacore.db.models import HistoryEntry, Notification
from hacore.states import StepState

#: The name of hacore.tasks.instance.StartInstanceTask in the history.
_START_STEP = "StartInstanceTask"


@dataclasses.dataclass(frozen=True, slots=True)
class Restarts:
    """How often within a window, and how many seconds ago the last time; None: never."""

    count: int
    last_s: float | None


def of_instance(db: Database, instance_uuid: str, window_s: float) -> Restarts:
    """Return the restarts of an instance within the last `window_s` seconds."""
    with db.read() as session:
        now = db.now(session)
        times = session.scalars(
            sa.select(HistoryEntry.created_at)
            .join(Notification, Notification.uuid == HistoryEntry.notification_uuid)
            .where(
                Notification.subject == notifications.subject_of_instance(instance_uuid),
                HistoryEntry.step == _START_STEP,
                HistoryEntry.state == StepState.SUCCESS,
                HistoryEntry.created_at >= now - datetime.timedelta(seconds=window_s),
            )
        ).all()
    return Restarts(len(times), (now - max(times)).total_seconds() if times else None)
