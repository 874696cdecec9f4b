# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Schemas of query parameters, for the OpenAPI document; hacore.api.query reads them."""

from collections.abc import Iterable

from hacore.api import query
from hacore.resources import Schema


def text(description: str) -> Schema:
    """Any text; a value that no row has yields an empty list."""
    return {"type": "string", "description": description}


def boolean(description: str) -> Schema:
    """A boolean."""
    return {
        "type": "string",
        "enum": [word for pair in zip(query.TRUE, query.FALSE, strict=True) for word in pair],
        "description": f"{description} Case-insensitive.",
    }


def time(description: str) -> Schema:
    """A time."""
    return {"type": "string", "description": f"{description} ISO 8601; UTC unless a zone is given."}


def page(sort_keys: Iterable[str]) -> dict[str, Schema]:
    """The parameters of all lists."""
    return {
        "limit": {
            "type": "integer",
            "minimum": 0,
            "description": "Maximum number of rows; osapi_max_limit caps it.",
        },
        "marker": {
            "type": "string",
            "description": "Id or UUID of the row after which the page begins.",
        },
        "sort_key": {
            "type": "array",
            "items": {"type": "string", "enum": list(sort_keys)},
            "description": "Repeatable; the default is created_at.",
        },
        "sort_dir": {
            "type": "array",
            "items": {"type": "string", "enum": ["asc", "desc"]},
            "description": "At most one for each sort_key; the default is the first one, or desc.",
        },
    }
