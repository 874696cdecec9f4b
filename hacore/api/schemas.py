# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Schemas of request bodies, and the sentence that says why a body is refused.

JSON Schema 2020-12; the same dictionaries go into the OpenAPI document.  Two
formats are defined here, because a regular expression for them would fill a page.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema

from hacore.errors import Invalid
from hacore.resources import Schema
from hacore.states import NotificationType, RecoveryMethod

_TRUE = ["True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"]
_FALSE = ["False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"]

BOOLEAN: Schema = {
    "description": "true or false, also as one of the words that instance-ha v1 accepts.",
    "enum": [True, False, *_TRUE, *_FALSE],
}
NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "format": "printable-name",
    "description": "Printable characters of the basic multilingual plane; no blank at either end.",
}
TEXT: Schema = {
    "type": "string",
    "maxLength": 65535,
    "format": "printable-text",
    "description": "Printable characters of the basic multilingual plane, and line feeds.",
}
HOSTNAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^[a-zA-Z0-9._-]+$",
    "description": "Letters, digits, dots, dashes and underscores.",
}
HOST_TYPE: Schema = {
    "type": "string",
    "maxLength": 255,
    "pattern": "^[a-zA-Z0-9]*$",
    "description": "Letters and digits.",
}
SENTENCE: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1000,
    "format": "printable-sentence",
    "description": "Printable characters, and not only blanks; stored on one line.",
}
WORDS: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
UUID: Schema = {
    "type": "string",
    "pattern": "^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$",
    "description": "A UUID, with or without dashes.",
}


def object_schema(properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that has the `required` fields, or else any of its fields."""
    schema: Schema = {"type": "object", "properties": dict(properties)}
    if required:
        return {**schema, "required": list(required), "additionalProperties": False}
    return {**schema, "additionalProperties": False, "minProperties": 1}


def _wrapped(key: str, schema: Schema) -> Schema:
    return object_schema({key: schema}, (key,))


_SEGMENT = {
    "name": NAME,
    "description": {**TEXT, "type": ["string", "null"]},
    "recovery_method": {"type": "string", "enum": list(RecoveryMethod)},
    "service_type": NAME,
}
_SEGMENT_1_2 = {**_SEGMENT, "enabled": BOOLEAN}
_SEGMENT_NEEDS = ("name", "recovery_method", "service_type")

SEGMENT_CREATE = _wrapped("segment", object_schema(_SEGMENT, _SEGMENT_NEEDS))
SEGMENT_CREATE_1_2 = _wrapped("segment", object_schema(_SEGMENT_1_2, _SEGMENT_NEEDS))
SEGMENT_UPDATE = _wrapped("segment", object_schema(_SEGMENT))
SEGMENT_UPDATE_1_2 = _wrapped("segment", object_schema(_SEGMENT_1_2))

_HOST = {
    "name": HOSTNAME,
    "type": HOST_TYPE,
    "control_attributes": TEXT,
    "reserved": BOOLEAN,
    "on_maintenance": BOOLEAN,
}

HOST_CREATE = _wrapped("host", object_schema(_HOST, ("name", "type", "control_attributes")))
HOST_UPDATE = _wrapped("host", object_schema(_HOST))

_EVENT: Schema = {"type": "string", "enum": ["STARTED", "STOPPED"]}

PAYLOADS: dict[NotificationType, Schema] = {
    NotificationType.COMPUTE_HOST: object_schema(
        {
            "event": _EVENT,
            "cluster_status": {"type": "string", "enum": ["ONLINE", "OFFLINE"]},
            "host_status": {"type": "string", "enum": ["NORMAL", "UNKNOWN"]},
        },
        ("event",),
    ),
    NotificationType.PROCESS: object_schema(
        {"event": _EVENT, "process_name": WORDS}, ("event", "process_name")
    ),
    NotificationType.VM: object_schema(
        {"event": WORDS, "instance_uuid": UUID, "vir_domain_event": WORDS},
        ("event", "instance_uuid", "vir_domain_event"),
    ),
}


def _notification(type_: Schema, payload: Schema) -> Schema:
    return object_schema(
        {
            "type": type_,
            "hostname": HOSTNAME,
            "generated_time": {
                "type": "string",
                "description": "ISO 8601; UTC unless a zone is given.",
                "examples": ["2026-01-31T12:00:00.000000"],
            },
            "payload": payload,
        },
        ("type", "hostname", "generated_time", "payload"),
    )


#: The part that all types share; the payload is validated once the type is known.
NOTIFICATION_CREATE = _wrapped(
    "notification",
    _notification(
        {"type": "string", "enum": [str(type_) for type_ in PAYLOADS]}, {"type": "object"}
    ),
)
#: The whole body, for the OpenAPI document.
NOTIFICATION_CREATE_DOCUMENTED = _wrapped(
    "notification",
    {"oneOf": [_notification({"const": str(type_)}, body) for type_, body in PAYLOADS.items()]},
)


def truth(value: Any) -> bool:
    """Return the meaning of a value that is valid by `BOOLEAN`."""
    return value is True or value in _TRUE


def with_truth(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a copy of `values` in which the named ones are booleans."""
    return {key: truth(value) if key in names else value for key, value in values.items()}


_formats = jsonschema.FormatChecker(formats=())


def _printable(char: str, besides: str = "") -> bool:
    if char in besides:
        return True
    category = unicodedata.category(char)
    return ord(char) < 0xFFFF and category[0] != "C" and category not in ("Zl", "Zp")


@_formats.checks("printable-name")
def _is_name(value: Any) -> bool:
    return not isinstance(value, str) or (
        value == value.strip() and all(_printable(char) for char in value)
    )


@_formats.checks("printable-text")
def _is_text(value: Any) -> bool:
    return not isinstance(value, str) or all(_printable(char, "\n") for char in value)


@_formats.checks("printable-sentence")
def _is_sentence(value: Any) -> bool:
    return not isinstance(value, str) or (
        bool(value.strip()) and all(char.isprintable() or char.isspace() for char in value)
    )


class Validator:
    """A schema that explains in one sentence why a body is invalid."""

    def __init__(self, schema: Schema, prefix: str = "") -> None:
        self._validator = jsonschema.Draft202012Validator(schema, format_checker=_formats)
        self._prefix = prefix

    def validate(self, body: Any) -> None:
        """Raise Invalid with the field and the reason if the body is invalid."""
        errors: Iterator[jsonschema.ValidationError] = self._validator.iter_errors(body)
        error = next(errors, None)
        if error is not None:
            path = "/".join(filter(None, (self._prefix, *map(str, error.absolute_path))))
            reason = _REASONS[str(error.validator)](error)
            raise Invalid(f"{path or 'body'}: {reason}.")


def _wrong_type(error: jsonschema.ValidationError) -> str:
    wanted: Any = error.validator_value
    return f"must be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"


def _missing(error: jsonschema.ValidationError) -> str:
    instance: Any = error.instance
    wanted: Any = error.validator_value
    return f"{', '.join(name for name in wanted if name not in instance)} must be given"


def _unknown(error: jsonschema.ValidationError) -> str:
    instance: Any = error.instance
    schema: Any = error.schema
    known = schema["properties"]
    names = ", ".join(repr(name[:40]) for name in list(instance)[:5] if name not in known)
    return f"unknown field{' ' * bool(names)}{names}; known fields are {', '.join(known)}"


def _description(error: jsonschema.ValidationError) -> str:
    schema: Any = error.schema
    return f"invalid value; allowed: {schema['description'].rstrip('.')}"


def _not_among(error: jsonschema.ValidationError) -> str:
    wanted: Any = error.validator_value
    return f"must be one of {', '.join(str(value) for value in wanted)}"


_REASONS: dict[str, Callable[[jsonschema.ValidationError], str]] = {
    "type": _wrong_type,
    "required": _missing,
    "additionalProperties": _unknown,
    "enum": _not_among,
    "pattern": _description,
    "format": _description,
    "minLength": lambda _error: "must not be empty",
    "maxLength": lambda error: f"must have at most {error.validator_value} characters",
    "minimum": lambda error: f"must be {error.validator_value} or more",
    "maximum": lambda error: f"must be at most {error.validator_value}",
    "minProperties": lambda _error: "must have at least one field",
}
