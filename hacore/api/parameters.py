# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Schemas of query parameters, for the OpenAPI document; hacore.api.query reads them."""

from collections.abc import Iterable

from hacore.api.schemas import Schema


def text(description: str) -> Schema:
    """Anything; a value that nothing has finds nothing."""
    return {"type": "string", "description": description}


def boolean(description: str) -> Schema:
    """A yes or no."""
    return {
        "type": "string",
        "enum": ["true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n"],
        "description": f"{description} The case of the letters does not matter.",
    }


def time(description: str) -> Schema:
    """A time."""
    return {"type": "string", "description": f"{description} ISO 8601; without a zone it is UTC."}


def page(sort_keys: Iterable[str]) -> dict[str, Schema]:
    """The parameters of all lists."""
    return {
        "limit": {
            "type": "integer",
            "minimum": 0,
            "description": "The most rows wanted; more than osapi_max_limit are never sent.",
        },
        "marker": {
            "type": "string",
            "description": "Id or uuid of the row after which the page begins.",
        },
        "sort_key": {
            "type": "array",
            "items": {"type": "string", "enum": list(sort_keys)},
            "description": "Repeatable; by default created_at.",
        },
        "sort_dir": {
            "type": "array",
            "items": {"type": "string", "enum": ["asc", "desc"]},
            "description": "One for each sort_key at most; by default desc, or as the first one.",
        },
    }
