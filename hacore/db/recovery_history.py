# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A recovery with its whole history, as an operator reads it."""

import dataclasses
import datetime

from sqlalchemy import orm

from hacore.db import history, moves, notifications
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Move, Notification
from hacore.states import NotificationStatus


@dataclasses.dataclass(frozen=True)
class RecoveryHistory:
    """A notification with its host and segment, its moves and its history, both in order."""

    notification: Notification
    moves: list[Move]
    entries: list[HistoryEntry]
    #: The database's time when this was read.
    now: datetime.datetime

    @property
    def is_claimed(self) -> bool:
        """Whether an engine works on it at `now`."""
        row = self.notification
        return (
            row.status == NotificationStatus.RUNNING
            and row.lease_until is not None
            and row.lease_until >= self.now
        )


@retry
def read(db: Database, notification_uuid: str) -> RecoveryHistory:
    """Return everything that is known of one notification.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        now = db.now(session)
        row = notifications.find(
            session,
            notification_uuid,
            orm.joinedload(Notification.host),
            orm.joinedload(Notification.segment),
        )
        return RecoveryHistory(row, moves.of(session, row.uuid), history.of(session, row.uuid), now)
