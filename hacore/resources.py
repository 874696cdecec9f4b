# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The resources of the REST API, each of their fields declared once.

From these declarations come the JSON of an answer (`Resource.serialize`), its schema and
example in the OpenAPI document (hacore.api.response_schemas), the keys that a list can be
sorted by, and the payloads of events (hacore.events).  What clients may send is another
matter: hacore.api.schemas.
"""

import datetime
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hacore.states import MoveStatus, MoveType, NotificationStatus, NotificationType, RecoveryMethod

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$",
    "description": "UTC, without a zone.",
    "examples": ["2026-01-31T12:00:00.000000"],
}


def or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def one_of(words: Iterable[str], *more: None) -> Schema:
    return {"enum": [*map(str, words), *more]}


def reference(name: str) -> Schema:
    """Return a reference to a schema of the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{name}"}


def time_to_json(time: datetime.datetime | None) -> str | None:
    """Return a time as instance-ha v1 writes it: in UTC, with microseconds and without a zone."""
    return None if time is None else time.replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Field:
    """One field of a resource.

    :param name: in JSON.
    :param schema: JSON Schema of its values.
    :param example: the value in the examples of the OpenAPI document.
    :param attribute: of the row, if its name is another one.
    :param to_json: converts the attribute's value.
    :param constant: it has the value of the example in every row.
    :param sortable: lists can be sorted by it.
    :param in_events: the events on the message bus carry it.
    """

    name: str
    schema: Schema
    example: Any
    attribute: str = ""
    to_json: Callable[[Any], Any] | None = None
    constant: bool = False
    sortable: bool = True
    in_events: bool = True

    @property
    def is_time(self) -> bool:
        return self.to_json is time_to_json

    def read(self, row: Any) -> Any:
        """Return the value for JSON."""
        if self.constant:
            return self.example
        value = getattr(row, self.attribute or self.name)
        return value if self.to_json is None else self.to_json(value)


@dataclass(frozen=True)
class Resource:
    """One kind of thing that the API serves.

    :param key: of a single one in an answer; a list has it with an s.
    :param schema_name: in the OpenAPI document.
    """

    key: str
    schema_name: str
    fields: tuple[Field, ...]

    def serialize(self, row: Any) -> dict[str, Any]:
        """Return a row of the database as clients get it."""
        return {field.name: field.read(row) for field in self.fields}

    @property
    def properties(self) -> dict[str, Schema]:
        """The schema of each field."""
        return {field.name: field.schema for field in self.fields}

    @property
    def sort_keys(self) -> dict[str, str]:
        """What a list can be sorted by, with the attribute of the row."""
        return {
            field.name: field.attribute or field.name for field in self.fields if field.sortable
        }

    def example(self, **changes: Any) -> dict[str, Any]:
        """Return one for readers of the documentation, with other values where given."""
        return {**{field.name: field.example for field in self.fields}, **changes}


def _time(name: str, example: str | None, *, null: bool = False, in_events: bool = True) -> Field:
    schema = or_null(TIME) if null else TIME
    return Field(name, schema, example, to_json=time_to_json, in_events=in_events)


def _row_times(*, sortable_deleted: bool) -> tuple[Field, ...]:
    """Return the fields at the end of every resource; a deleted row is never served."""
    deleted = functools.partial(Field, constant=True, sortable=sortable_deleted, in_events=False)
    return (
        _time("created_at", "2026-01-31T11:00:00.000000", in_events=False),
        _time("updated_at", None, null=True, in_events=False),
        deleted("deleted_at", {"type": "null"}, None),
        deleted("deleted", {"const": False}, False),
    )


_SEGMENT_UUID = "5a1a3f4b-3c2f-4d27-9b0e-2f0d6c1b7a11"
_HOST_UUID = "7e0a9c8e-0c5b-4a53-8b1c-0b6a6c9f2d22"
_NOTIFICATION_UUID = "c0f1e2d3-7a6b-4c5d-9e8f-1a2b3c4d5e33"
_PAYLOAD = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}

SEGMENT = Resource(
    "segment",
    "Segment",
    (
        Field("id", INTEGER, 1),
        Field("uuid", UUID, _SEGMENT_UUID),
        Field("name", STRING, "rack 1"),
        Field("description", or_null(STRING), None),
        Field("recovery_method", one_of(RecoveryMethod), "auto"),
        Field("service_type", STRING, "COMPUTE"),
        Field("enabled", BOOLEAN, True),
        *_row_times(sortable_deleted=True),
    ),
)

HOST = Resource(
    "host",
    "Host",
    (
        Field("id", INTEGER, 1),
        Field("uuid", UUID, _HOST_UUID),
        Field("name", STRING, "compute1"),
        Field("type", STRING, "COMPUTE"),
        Field("control_attributes", STRING, "SSH"),
        Field("reserved", BOOLEAN, False),
        Field("on_maintenance", BOOLEAN, False),
        Field("failover_segment_id", UUID, _SEGMENT_UUID, attribute="segment_uuid"),
        Field(
            "failover_segment",
            reference("Segment"),
            SEGMENT.example(),
            attribute="segment",
            to_json=SEGMENT.serialize,
            sortable=False,
        ),
        *_row_times(sortable_deleted=True),
    ),
)

NOTIFICATION = Resource(
    "notification",
    "Notification",
    (
        Field("id", INTEGER, 1),
        Field("notification_uuid", UUID, _NOTIFICATION_UUID, attribute="uuid"),
        Field("type", one_of(NotificationType), "COMPUTE_HOST"),
        Field("status", one_of(NotificationStatus), "new"),
        _time("generated_time", "2026-01-31T12:00:00.000000"),
        Field("source_host_uuid", UUID, _HOST_UUID),
        Field(
            "failover_segment_uuid", UUID, _SEGMENT_UUID, attribute="segment_uuid", in_events=False
        ),
        Field(
            "payload",
            {"type": "object", "additionalProperties": STRING},
            _PAYLOAD,
            sortable=False,
        ),
        Field("message", or_null(STRING), None),
        *_row_times(sortable_deleted=False),
    ),
)

#: Masakari's word for a move.
VMOVE = Resource(
    "vmove",
    "VMove",
    (
        Field("id", INTEGER, 1),
        Field("uuid", UUID, "0d9c8b7a-6f5e-4d3c-8b2a-190f8e7d6c44"),
        Field("notification_uuid", UUID, _NOTIFICATION_UUID),
        Field("instance_uuid", STRING, "b9837317-a5b8-44f4-93b4-45500c562bb8"),
        Field("instance_name", STRING, "db1"),
        Field("source_host", STRING, "compute1"),
        Field("dest_host", or_null(STRING), "compute2"),
        _time("start_time", "2026-01-31T12:00:04.300000", null=True),
        _time("end_time", "2026-01-31T12:00:09.400000", null=True),
        Field("type", one_of(MoveType, None), "evacuation"),
        Field("status", one_of(MoveStatus), "succeeded"),
        Field("message", or_null(STRING), None),
        *_row_times(sortable_deleted=False),
    ),
)

#: In the order of the OpenAPI document.
RESOURCES = (SEGMENT, HOST, NOTIFICATION, VMOVE)
