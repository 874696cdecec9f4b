# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The moves of a host recovery, for the API to show; hacore.db.moves is the engine's side."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import notifications, paging
from hacore.db.engine import Database, retry
from hacore.db.models import Move
from hacore.errors import Invalid, MoveNotFound
from hacore.states import NotificationType


@retry
def get(db: Database, notification_uuid: str, move_uuid: str) -> Move:
    """Return one move.

    Raises NotificationNotFound, MoveNotFound, or Invalid if the notification is of no host.
    """
    with db.read() as session:
        _refuse_other_types(session, notification_uuid)
        move = session.scalar(
            sa.select(Move).where(
                Move.uuid == move_uuid, Move.notification_uuid == notification_uuid
            )
        )
    if move is None:
        raise MoveNotFound(
            f"No VM move of notification {notification_uuid} has the uuid {move_uuid}."
        )
    return move


@retry
def list_(
    db: Database, notification_uuid: str, filters: Mapping[str, Any], page: paging.Page
) -> list[Move]:
    """Return a page of the notification's moves whose attributes equal `filters`.

    Raises NotificationNotFound, or Invalid if the notification is of no host.
    """
    query = sa.select(Move).where(Move.notification_uuid == notification_uuid).filter_by(**filters)
    with db.read() as session:
        _refuse_other_types(session, notification_uuid)
        return paging.fetch(session, query, Move, page)


def _refuse_other_types(session: orm.Session, notification_uuid: str) -> None:
    notification = notifications.find(session, notification_uuid)
    if notification.type != NotificationType.COMPUTE_HOST:
        raise Invalid(
            f"Notification {notification_uuid} is of type {notification.type}; only those of "
            f"type {NotificationType.COMPUTE_HOST} have VM moves."
        )
