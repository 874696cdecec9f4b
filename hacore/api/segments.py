# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/segments"""

from typing import Any

from oslo_log import log

from hacore.api import parameters, schemas, times, uuids
from hacore.api.answering import Call, Route
from hacore.db import segments
from hacore.db.models import Segment
from hacore.errors import SegmentNotFound
from hacore.policies import name

LOG = log.getLogger(__name__)

SORT_KEYS = {
    key: key
    for key in (
        "id",
        "uuid",
        "name",
        "description",
        "recovery_method",
        "service_type",
        "enabled",
        "created_at",
        "updated_at",
        "deleted",
        "deleted_at",
    )
}
FILTERS = {"recovery_method": "recovery_method", "service_type": "service_type"}
ENABLED_SINCE = (1, 2)


def index(call: Call) -> dict[str, Any]:
    filters = call.query.equal(FILTERS)
    enabled = call.query.boolean("enabled")
    filters |= {} if enabled is None else {"enabled": enabled}
    page = call.query.page(SORT_KEYS, call.services.most_rows)
    return {"segments": [show(segment) for segment in segments.list_(call.db, filters, page)]}


def detail(call: Call, segment_id: str) -> dict[str, Any]:
    uuids.check(segment_id, SegmentNotFound)
    return {"segment": show(segments.get(call.db, segment_id))}


def create(call: Call) -> dict[str, Any]:
    values = schemas.with_truth(call.body["segment"], "enabled")
    with call.emitting("segment.create", **values) as event:
        segment = segments.create(call.db, values)
        event.update(shown := show(segment))
    LOG.info("segment %s: created, named %r", segment.uuid, segment.name)
    return {"segment": shown}


def update(call: Call, segment_id: str) -> dict[str, Any]:
    uuids.check(segment_id, SegmentNotFound)
    changes = schemas.with_truth(call.body["segment"], "enabled")
    with call.emitting("segment.update", uuid=segment_id, **changes) as event:
        segment = segments.update(call.db, segment_id, changes)
        event.update(shown := show(segment))
    LOG.info("segment %s: changed %s", segment.uuid, ", ".join(changes))
    return {"segment": shown}


def delete(call: Call, segment_id: str) -> None:
    uuids.check(segment_id, SegmentNotFound)
    with call.emitting("segment.delete", uuid=segment_id) as event:
        event.update(show(segments.delete(call.db, segment_id)))
    LOG.info("segment %s: deleted with its hosts", segment_id)


def show(segment: Segment) -> dict[str, Any]:
    """Return a segment as clients know it."""
    return {
        "id": segment.id,
        "uuid": segment.uuid,
        "name": segment.name,
        "description": segment.description,
        "recovery_method": segment.recovery_method,
        "service_type": segment.service_type,
        "enabled": segment.enabled,
        "created_at": times.show(segment.created_at),
        "updated_at": times.show(segment.updated_at),
        "deleted_at": None,
        "deleted": False,
    }


ROUTES = [
    Route(
        "GET",
        "/segments",
        index,
        "List segments",
        name("segments", "index"),
        parameters={
            "recovery_method": parameters.text("Only those with this recovery method."),
            "service_type": parameters.text("Only those with this service type."),
            "enabled": parameters.boolean("Only those that are enabled, or not."),
            **parameters.page(SORT_KEYS),
        },
        answer="Segments",
    ),
    Route(
        "POST",
        "/segments",
        create,
        "Create a segment",
        name("segments", "create"),
        status=201,
        bodies=[((1, 0), schemas.SEGMENT_CREATE), (ENABLED_SINCE, schemas.SEGMENT_CREATE_1_2)],
        example={
            "segment": {"name": "rack 1", "recovery_method": "auto", "service_type": "COMPUTE"}
        },
        answer="SegmentAnswer",
        faults=(409,),
    ),
    Route(
        "GET",
        "/segments/{segment_id}",
        detail,
        "Show a segment",
        name("segments", "detail"),
        answer="SegmentAnswer",
    ),
    Route(
        "PUT",
        "/segments/{segment_id}",
        update,
        "Change a segment",
        name("segments", "update"),
        bodies=[((1, 0), schemas.SEGMENT_UPDATE), (ENABLED_SINCE, schemas.SEGMENT_UPDATE_1_2)],
        example={"segment": {"description": "top of the row", "enabled": False}},
        answer="SegmentAnswer",
        faults=(409,),
    ),
    Route(
        "DELETE",
        "/segments/{segment_id}",
        delete,
        "Delete a segment and its hosts",
        name("segments", "delete"),
        status=204,
        faults=(409,),
    ),
]
