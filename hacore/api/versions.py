# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/ and /v1/: the versions of the API."""

import json
from typing import Any

import falcon

from hacore.api import microversions
from hacore.api.call import Call
from hacore.errors import NotFound

_UPDATED = "2026-11-21T00:00:00Z"  # when NEWEST came


def _version(url: str) -> dict[str, Any]:
    return {
        "id": "v1.0",
        "status": "CURRENT",
        "version": microversions.text(microversions.NEWEST),
        "min_version": microversions.text(microversions.OLDEST),
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{url}/v1/"}],
    }


def detail(call: Call) -> dict[str, Any]:
    version = _version(call.url)
    version["links"].append(
        {"rel": "describedby", "type": "text/html", "href": f"{call.url}/v1/openapi.json"}
    )
    version["media-types"] = [
        {
            "base": "application/json",
            # Masakari's word, which clients may look for
            "type": "application/vnd.openstack.masakari+json;version=1",
        }
    ]
    return {"version": version}


def detail_by_id(call: Call, version_id: str) -> dict[str, Any]:
    if version_id != "v1.0":
        raise NotFound(f"No version has the id {version_id[:40]!r}; the only one is v1.0.")
    return detail(call)


class Root:
    """/, which needs no token and has no microversions."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.data = json.dumps({"versions": [_version(req.prefix)]}).encode()

    on_head = on_get
