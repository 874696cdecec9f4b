# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/extensions: the list that some clients look for; it says nothing new."""

from typing import Any

from hacore.api.answering import Call, Route
from hacore.errors import NotFound
from hacore.policies import name

_EXTENSIONS = {
    "extensions": ("Extensions", "The list of extensions."),
    "notifications": ("Notifications", "Reports of failures."),
    "os-hosts": ("Hosts", "Hosts of segments."),
    "segments": ("Segments", "Sets of hosts that stand in for each other."),
    "versions": ("Versions", "Versions of the API."),
    "vmoves": ("VMoves", "The instances of failed hosts, one by one."),
}


def index(_call: Call) -> dict[str, Any]:
    return {"extensions": [_show(alias) for alias in _EXTENSIONS]}


def detail(_call: Call, alias: str) -> dict[str, Any]:
    if alias not in _EXTENSIONS:
        raise NotFound(f"There is no extension {alias[:40]!r}.")
    return {"extension": _show(alias)}


def _show(alias: str) -> dict[str, Any]:
    title, description = _EXTENSIONS[alias]
    return {
        "name": title,
        "alias": alias,
        "description": description,
        "namespace": "",
        "updated": "",
        "links": [],
    }


ROUTES = [
    Route(
        "GET",
        "/extensions",
        index,
        "List the extensions of the API",
        name("extensions", "index"),
        answer="Extensions",
    ),
    Route(
        "GET",
        "/extensions/{alias}",
        detail,
        "Show an extension",
        name("extensions", "detail"),
        answer="ExtensionAnswer",
    ),
]
