# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Schemas of query parameters, for the OpenAPI document; hacore.api.query reads them."""

from collections.abc import Iterable

from hacore.api import query
from hacore.resources import Schema


def text(description: str) -> Schema:
    """Any text; a value that no row has yields an empty list."""
    return {"type": "string", "description": description}


def required(schema: Schema) -> Schema:
    """A parameter without which the request is refused."""
    return {**schema, "required": True}


def word(description: str, words: Iterable[str]) -> Schema:
    """One of some words; another one is refused."""
    return {"type": "string", "enum": list(map(str, words)), "description": description}


def words(description: str, words: Iterable[str]) -> Schema:
    """The same, repeatable."""
    items = {"type": "string", "enum": list(map(str, words))}
    return {"type": "array", "items": items, "description": f"{description} Repeatable."}


def number(description: str) -> Schema:
    """An integer of 0 or more."""
    return {"type": "integer", "minimum": 0, "description": description}


def limit() -> Schema:
    """How many rows."""
    return number("Maximum number of rows; osapi_max_limit caps it.")


def marker() -> Schema:
    """Where a page begins."""
    return text("Id or UUID of the row after which the page begins.")


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
        "limit": limit(),
        "marker": marker(),
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
