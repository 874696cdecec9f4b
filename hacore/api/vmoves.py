# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/notifications/{notification_id}/vmoves"""

from typing import Any

from hacore.api import parameters, times, uuids
from hacore.api.answering import Call, Route
from hacore.db import moves
from hacore.db.models import Move
from hacore.errors import MoveNotFound, NotificationNotFound
from hacore.policies import name

SORT_KEYS = {
    key: key
    for key in (
        "id",
        "uuid",
        "notification_uuid",
        "instance_uuid",
        "instance_name",
        "source_host",
        "dest_host",
        "start_time",
        "end_time",
        "type",
        "status",
        "message",
        "created_at",
        "updated_at",
    )
}
FILTERS = {"status": "status", "type": "type"}
SINCE = (1, 3)


def index(call: Call, notification_id: str) -> dict[str, Any]:
    uuids.check(notification_id, NotificationNotFound)
    page = call.query.page(SORT_KEYS, call.services.most_rows)
    found = moves.list_(call.db, notification_id, call.query.equal(FILTERS), page)
    return {"vmoves": [show(move) for move in found]}


def detail(call: Call, notification_id: str, vmove_id: str) -> dict[str, Any]:
    uuids.check(notification_id, NotificationNotFound)
    uuids.check(vmove_id, MoveNotFound)
    return {"vmove": show(moves.get(call.db, notification_id, vmove_id))}


def show(move: Move) -> dict[str, Any]:
    """Return a move as clients know it."""
    return {
        "id": move.id,
        "uuid": move.uuid,
        "notification_uuid": move.notification_uuid,
        "instance_uuid": move.instance_uuid,
        "instance_name": move.instance_name,
        "source_host": move.source_host,
        "dest_host": move.dest_host,
        "start_time": times.show(move.start_time),
        "end_time": times.show(move.end_time),
        "type": move.type,
        "status": move.status,
        "message": move.message,
        "created_at": times.show(move.created_at),
        "updated_at": times.show(move.updated_at),
        "deleted_at": None,
        "deleted": False,
    }


ROUTES = [
    Route(
        "GET",
        "/notifications/{notification_id}/vmoves",
        index,
        "List the VM moves of a notification of type COMPUTE_HOST",
        name("vmoves", "index"),
        since=SINCE,
        parameters={
            "status": parameters.text("Only those with this status."),
            "type": parameters.text("Only those of this type."),
            **parameters.page(SORT_KEYS),
        },
        answer="VMoves",
    ),
    Route(
        "GET",
        "/notifications/{notification_id}/vmoves/{vmove_id}",
        detail,
        "Show a VM move",
        name("vmoves", "detail"),
        since=SINCE,
        answer="VMoveAnswer",
    ),
]
