# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The story of a recovery, line by line; rows are only ever added."""

import datetime

from sqlalchemy import orm

from hacore.db.models import Event


def add(
    session: orm.Session,
    notification_uuid: str,
    attempt: int,
    now: datetime.datetime,
    *,
    step: str | None = None,
    state: str | None = None,
    progress: float | None = None,
    message: str | None = None,
) -> None:
    """Add one line, within the transaction of what it tells.

    :param step: name of the step; None where it concerns the notification.
    :param state: of the step, a `hacore.states.StepState`.
    :param progress: of the step, 0 to 1.
    """
    session.add(
        Event(
            notification_uuid=notification_uuid,
            attempt=attempt,
            created_at=now,
            step=step,
            state=state,
            progress=progress,
            message=message,
        )
    )
