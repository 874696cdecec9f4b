# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/segments"""

from typing import Any

from oslo_log import log

from hacore.api import schemas
from hacore.api.call import Call
from hacore.api.uuids import require_uuid
from hacore.db import segments
from hacore.errors import SegmentNotFound
from hacore.resources import SEGMENT

LOG = log.getLogger(__name__)

FILTERS = ("recovery_method", "service_type")


def index(call: Call) -> dict[str, Any]:
    filters = call.query.equal(*FILTERS)
    enabled = call.query.boolean("enabled")
    filters |= {} if enabled is None else {"enabled": enabled}
    page = call.query.page(SEGMENT.sort_keys, call.services.most_rows)
    return {
        "segments": [
            SEGMENT.serialize(segment) for segment in segments.list_(call.db, filters, page)
        ]
    }


def detail(call: Call, segment_id: str) -> dict[str, Any]:
    require_uuid(segment_id, SegmentNotFound)
    return {"segment": SEGMENT.serialize(segments.get(call.db, segment_id))}


def create(call: Call) -> dict[str, Any]:
    values = schemas.with_truth(call.body["segment"], "enabled")
    with call.emitting("segment.create", **values) as event:
        segment = segments.create(call.db, values)
        event.update(answer := SEGMENT.serialize(segment))
    LOG.info("segment %s: created, named %r", segment.uuid, segment.name)
    return {"segment": answer}


def update(call: Call, segment_id: str) -> dict[str, Any]:
    require_uuid(segment_id, SegmentNotFound)
    changes = schemas.with_truth(call.body["segment"], "enabled")
    with call.emitting("segment.update", uuid=segment_id, **changes) as event:
        segment = segments.update(call.db, segment_id, changes)
        event.update(answer := SEGMENT.serialize(segment))
    LOG.info("segment %s: changed %s", segment.uuid, ", ".join(changes))
    return {"segment": answer}


def delete(call: Call, segment_id: str) -> None:
    require_uuid(segment_id, SegmentNotFound)
    with call.emitting("segment.delete", uuid=segment_id) as event:
        event.update(SEGMENT.serialize(segments.delete(call.db, segment_id)))
    LOG.info("segment %s: deleted with its hosts", segment_id)
