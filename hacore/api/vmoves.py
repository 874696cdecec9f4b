# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/notifications/{notification_id}/vmoves"""

from typing import Any

from hacore.api.call import Call
from hacore.api.uuids import require_uuid
from hacore.db import moves
from hacore.errors import MoveNotFound, NotificationNotFound
from hacore.resources import VMOVE

FILTERS = ("status", "type")


def index(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    page = call.query.page(VMOVE.sort_keys, call.services.most_rows)
    found = moves.list_(call.db, notification_id, call.query.equal(*FILTERS), page)
    return {"vmoves": [VMOVE.serialize(move) for move in found]}


def detail(call: Call, notification_id: str, vmove_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    require_uuid(vmove_id, MoveNotFound)
    return {"vmove": VMOVE.serialize(moves.get(call.db, notification_id, vmove_id))}
