# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The bodies of answers, for the OpenAPI document: schemas, and examples that fit them.

Those of a resource come from its declaration in hacore.resources; the rest is here.
"""

from typing import Any

from hacore.api.schemas import object_schema
from hacore.resources import (
    HOST,
    INTEGER,
    NOTIFICATION,
    SEGMENT,
    STRING,
    VMOVE,
    Resource,
    Schema,
    one_of,
    reference,
)
from hacore.states import StepState


def _all_required(properties: dict[str, Schema]) -> Schema:
    return object_schema(properties, tuple(properties))


def _list(name: str) -> Schema:
    return {"type": "array", "items": reference(name)}


def _of(resource: Resource) -> dict[str, Schema]:
    """Return the schemas of a resource: itself, the answer with one, and a list."""
    name, key = resource.schema_name, resource.key
    return {
        name: _all_required(resource.properties),
        f"{name}Answer": _all_required({key: reference(name)}),
        f"{name}s": _all_required({f"{key}s": _list(name)}),
    }


_STEP: dict[str, Schema] = {
    "name": STRING,
    "state": one_of(StepState, None),
    "progress": {"type": "number", "minimum": 0, "maximum": 1},
    "progress_details": {
        "type": "array",
        "items": _all_required(
            {
                "timestamp": {**STRING, "examples": ["2026-01-31 12:00:00.000000"]},
                "message": STRING,
                "progress": {**STRING, "examples": ["0.5"]},
            }
        ),
    },
}
_NOTIFICATION_DETAIL: dict[str, Schema] = {
    **NOTIFICATION.properties,
    "recovery_workflow_details": {
        **_list("Step"),
        "description": "From microversion 1.1 on.",
    },
}
_EXTENSION: dict[str, Schema] = {
    "name": STRING,
    "alias": STRING,
    "description": STRING,
    "namespace": STRING,
    "updated": STRING,
    "links": {"type": "array", "items": {"type": "object"}},
}
_VERSION: dict[str, Schema] = {
    "id": STRING,
    "status": STRING,
    "version": STRING,
    "min_version": STRING,
    "updated": STRING,
    "links": {"type": "array", "items": {"type": "object", "additionalProperties": STRING}},
}

FAULT: Schema = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": _all_required({"code": INTEGER, "message": STRING}),
    "examples": [
        {"itemNotFound": {"code": 404, "message": "No segment has the uuid 11111111-..."}}
    ],
}

SCHEMAS: dict[str, Schema] = {
    **_of(SEGMENT),
    **_of(HOST),
    **_of(NOTIFICATION),
    "Step": _all_required(_STEP),
    "NotificationDetail": _all_required(
        {"notification": object_schema(_NOTIFICATION_DETAIL, tuple(NOTIFICATION.properties))}
    ),
    **_of(VMOVE),
    "Extension": _all_required(_EXTENSION),
    "ExtensionAnswer": _all_required({"extension": reference("Extension")}),
    "Extensions": _all_required({"extensions": _list("Extension")}),
    "VersionAnswer": _all_required(
        {
            "version": _all_required(
                {**_VERSION, "media-types": {"type": "array", "items": {"type": "object"}}}
            )
        }
    ),
    "VersionsAnswer": _all_required(
        {"versions": {"type": "array", "items": _all_required(_VERSION)}}
    ),
    "Fault": FAULT,
}

_FINISHED = NOTIFICATION.example(
    status="finished", message="1 evacuated.", updated_at="2026-01-31T12:00:09.500000"
)
_DISABLED = {
    "name": "disable_compute_service_task",
    "state": "SUCCESS",
    "progress": 1.0,
    "progress_details": [
        {
            "timestamp": "2026-01-31 12:00:04.250000",
            "message": "Nova reports nova-compute on compute1 as down.",
            "progress": "1.0",
        }
    ],
}

#: By the name of the schema.
EXAMPLES: dict[str, Any] = {
    "SegmentAnswer": {"segment": SEGMENT.example()},
    "Segments": {"segments": [SEGMENT.example()]},
    "HostAnswer": {"host": HOST.example()},
    "Hosts": {"hosts": [HOST.example()]},
    "NotificationAnswer": {"notification": NOTIFICATION.example()},
    "Notifications": {"notifications": [_FINISHED]},
    "NotificationDetail": {
        "notification": {**_FINISHED, "recovery_workflow_details": [_DISABLED]},
    },
    "VMoveAnswer": {"vmove": VMOVE.example()},
    "VMoves": {"vmoves": [VMOVE.example()]},
}
