# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/extensions: the fixed list that some clients read."""

from typing import Any

from hacore.api.call import Call
from hacore.errors import NotFound

_EXTENSIONS = {
    "extensions": ("Extensions", "The list of extensions."),
    "notifications": ("Notifications", "Reports of failures."),
    "os-hosts": ("Hosts", "Hosts of segments."),
    "segments": ("Segments", "Sets of hosts that replace each other."),
    "versions": ("Versions", "Versions of the API."),
    "vmoves": ("VMoves", "The instances of failed hosts, one by one."),
}


def index(_call: Call) -> dict[str, Any]:
    return {"extensions": [_serialize(alias) for alias in _EXTENSIONS]}


def detail(_call: Call, alias: str) -> dict[str, Any]:
    if alias not in _EXTENSIONS:
        raise NotFound(f"No extension has the alias {alias[:40]!r}.")
    return {"extension": _serialize(alias)}


def _serialize(alias: str) -> dict[str, Any]:
    title, description = _EXTENSIONS[alias]
    return {
        "name": title,
        "alias": alias,
        "description": description,
        "namespace": "",
        "updated": "",
        "links": [],
    }
