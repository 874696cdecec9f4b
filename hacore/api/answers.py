# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What answers look like: the component schemas of the OpenAPI document."""

from collections.abc import Mapping

from hacore.api.schemas import Schema
from hacore.states import (
    MoveStatus,
    MoveType,
    NotificationStatus,
    NotificationType,
    RecoveryMethod,
    StepState,
)

_STRING: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer"}
_BOOLEAN: Schema = {"type": "boolean"}
_UUID: Schema = {"type": "string", "format": "uuid"}
_TIME: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$",
    "description": "UTC, without a zone.",
    "examples": ["2026-01-31T12:00:00.000000"],
}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


_TIMES: dict[str, Schema] = {
    "created_at": _TIME,
    "updated_at": _or_null(_TIME),
    "deleted_at": {"type": "null"},
    "deleted": {"const": False},
}
_NOTIFICATION: dict[str, Schema] = {
    "id": _INTEGER,
    "notification_uuid": _UUID,
    "type": {"enum": [str(type_) for type_ in NotificationType]},
    "status": {"enum": [str(status) for status in NotificationStatus]},
    "generated_time": _TIME,
    "source_host_uuid": _UUID,
    "failover_segment_uuid": _UUID,
    "payload": {"type": "object", "additionalProperties": _STRING},
    "message": _or_null(_STRING),
    **_TIMES,
}
_VERSION: dict[str, Schema] = {
    "id": _STRING,
    "status": _STRING,
    "version": _STRING,
    "min_version": _STRING,
    "updated": _STRING,
    "links": {"type": "array", "items": {"type": "object", "additionalProperties": _STRING}},
}

SCHEMAS: dict[str, Schema] = {
    "Segment": _object(
        {
            "id": _INTEGER,
            "uuid": _UUID,
            "name": _STRING,
            "description": _or_null(_STRING),
            "recovery_method": {"enum": [str(method) for method in RecoveryMethod]},
            "service_type": _STRING,
            "enabled": _BOOLEAN,
            **_TIMES,
        }
    ),
    "SegmentAnswer": _object({"segment": _ref("Segment")}),
    "Segments": _object({"segments": _list("Segment")}),
    "Host": _object(
        {
            "id": _INTEGER,
            "uuid": _UUID,
            "name": _STRING,
            "type": _STRING,
            "control_attributes": _STRING,
            "reserved": _BOOLEAN,
            "on_maintenance": _BOOLEAN,
            "failover_segment_id": _UUID,
            "failover_segment": _ref("Segment"),
            **_TIMES,
        }
    ),
    "HostAnswer": _object({"host": _ref("Host")}),
    "Hosts": _object({"hosts": _list("Host")}),
    "Notification": _object(_NOTIFICATION),
    "NotificationAnswer": _object({"notification": _ref("Notification")}),
    "Notifications": _object({"notifications": _list("Notification")}),
    "Step": _object(
        {
            "name": _STRING,
            "state": {"enum": [*(str(state) for state in StepState), None]},
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "progress_details": {
                "type": "array",
                "items": _object(
                    {
                        "timestamp": {**_STRING, "examples": ["2026-01-31 12:00:00.000000"]},
                        "message": _STRING,
                        "progress": {**_STRING, "examples": ["0.5"]},
                    }
                ),
            },
        }
    ),
    "NotificationDetail": _object(
        {
            "notification": {
                **_object(
                    {
                        **_NOTIFICATION,
                        "recovery_workflow_details": {
                            **_list("Step"),
                            "description": "From microversion 1.1 on.",
                        },
                    }
                ),
                "required": list(_NOTIFICATION),
            }
        }
    ),
    "VMove": _object(
        {
            "id": _INTEGER,
            "uuid": _UUID,
            "notification_uuid": _UUID,
            "instance_uuid": _STRING,
            "instance_name": _STRING,
            "source_host": _STRING,
            "dest_host": _or_null(_STRING),
            "start_time": _or_null(_TIME),
            "end_time": _or_null(_TIME),
            "type": {"enum": [*(str(type_) for type_ in MoveType), None]},
            "status": {"enum": [str(status) for status in MoveStatus]},
            "message": _or_null(_STRING),
            **_TIMES,
        }
    ),
    "VMoveAnswer": _object({"vmove": _ref("VMove")}),
    "VMoves": _object({"vmoves": _list("VMove")}),
    "Extension": _object(
        {
            "name": _STRING,
            "alias": _STRING,
            "description": _STRING,
            "namespace": _STRING,
            "updated": _STRING,
            "links": {"type": "array", "items": {"type": "object"}},
        }
    ),
    "ExtensionAnswer": _object({"extension": _ref("Extension")}),
    "Extensions": _object({"extensions": _list("Extension")}),
    "VersionAnswer": _object(
        {
            "version": _object(
                {**_VERSION, "media-types": {"type": "array", "items": {"type": "object"}}}
            )
        }
    ),
    "VersionsAnswer": _object({"versions": {"type": "array", "items": _object(_VERSION)}}),
    "Fault": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": _object({"code": _INTEGER, "message": _STRING}),
        "examples": [
            {"itemNotFound": {"code": 404, "message": "No segment has the uuid 11111111-..."}}
        ],
    },
}
