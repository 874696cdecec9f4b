# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The OpenAPI document, made from the routes; ``python -m hacore.api.openapi`` prints it.

doc/openapi.json is the committed copy; a test says when it is out of date.
"""

import json
import re
import sys
from typing import Any

import falcon

from hacore.api import faults, microversions
from hacore.api.dispatch import MEDIA_TYPES
from hacore.api.response_schemas import EXAMPLES, SCHEMAS
from hacore.api.routes import OPENAPI, ROOT, SECTIONS, Route
from hacore.resources import Schema

_DESCRIPTION = """\
Instance high availability for OpenStack: monitors report failures of hosts, processes and \
instances, and hacore recovers from them through Nova. Compatible with instance-ha v1 as Masakari \
serves it; doc/differences-from-masakari lists where it differs, and why.

Every path also exists below `/v1/{project_id}`, with the project of the token.
"""
_VERSION_HEADER = {
    "name": microversions.HEADER,
    "in": "header",
    "required": False,
    "description": f"The microversion, `{microversions.SERVICE} X.Y` or "
    f"`{microversions.SERVICE} latest`; without it {microversions.text(microversions.OLDEST)}.",
    "schema": {
        "type": "string",
        "examples": [
            f"{microversions.SERVICE} {version}"
            for version in (*map(microversions.text, microversions.VERSIONS), "latest")
        ],
    },
}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {ROOT: {"get": _root()}, OPENAPI: {"get": _itself()}}
    for section, routes in SECTIONS.items():
        for route in routes:
            path = "/v1" + (route.path or "/")
            paths.setdefault(path, {})[route.method.lower()] = _operation(section, route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hacore, instance-ha v1",
            "version": microversions.text(microversions.NEWEST),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": section} for section in SECTIONS],
        "security": [{"keystone": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "keystone": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
        },
    }


def _operation(section: str, route: Route) -> dict[str, Any]:
    what = f"Policy: `{route.rule}`." if route.rule else "Needs a token, and no role."
    if route.since > microversions.OLDEST:
        what += f" New in microversion {microversions.text(route.since)}."
    operation: dict[str, Any] = {
        "operationId": _operation_id(section, route),
        "tags": [section],
        "summary": route.summary,
        "description": what,
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)),
            *(_query_parameter(name, schema) for name, schema in route.parameters.items()),
            _VERSION_HEADER,
        ],
        "responses": {str(route.status): _success(route), **_faults(route)},
    }
    if route.bodies:
        schema = route.documented_body or route.bodies[-1][1]
        example = {"example": route.example} if route.example else {}
        operation["requestBody"] = {
            "required": True,
            "content": {falcon.MEDIA_JSON: {"schema": schema, **example}},
            "description": f"Also accepted as {', '.join(MEDIA_TYPES[1:])}.",
        }
    return operation


def _operation_id(section: str, route: Route) -> str:
    return f"{section}-{route.handler.__name__}".lower().replace(" ", "-").replace("_", "-")


def _path_parameter(name: str) -> dict[str, Any]:
    schema: Schema = {"type": "string", "minLength": 1}
    if name in ("segment_id", "host_id", "notification_id", "vmove_id"):
        schema = {"type": "string", "format": "uuid"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(name: str, schema: Schema) -> dict[str, Any]:
    schema = dict(schema)
    description = schema.pop("description")
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _success(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Success", "headers": _headers()}
    if route.answer is not None:
        content = {"schema": {"$ref": f"#/components/schemas/{route.answer}"}}
        if route.answer in EXAMPLES:
            content["example"] = EXAMPLES[route.answer]
        answer["content"] = {falcon.MEDIA_JSON: content}
    return answer


def _headers() -> dict[str, Any]:
    return {
        name: {"schema": {"type": "string"}}
        for name in (microversions.HEADER, "Vary", "X-Openstack-Request-Id")
    }


def _faults(route: Route) -> dict[str, Any]:
    statuses = {400, 401, 406, 413, 415, 503, *route.faults}
    if route.rule:
        statuses.add(403)
    if "{" in route.path:
        statuses.add(404)
    return {str(status): _fault(status) for status in sorted(statuses)}


def _fault(status: int) -> dict[str, Any]:
    content = {
        "schema": {"$ref": "#/components/schemas/Fault"},
        "example": json.loads(faults.body(status, "name: must not be empty.")),
    }
    return {"description": faults.name(status), "content": {falcon.MEDIA_JSON: content}}


def _root() -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/VersionsAnswer"}
    return {
        "operationId": "versions-list",
        "tags": ["Versions"],
        "summary": "List the versions of the API; needs no token",
        "security": [],
        "responses": {
            "200": {
                "description": "Success",
                "content": {falcon.MEDIA_JSON: {"schema": reference}},
            }
        },
    }


def _itself() -> dict[str, Any]:
    return {
        "operationId": "versions-openapi",
        "tags": ["Versions"],
        "summary": "Show this document; needs no token",
        "security": [],
        "responses": {
            "200": {
                "description": "Success",
                "content": {falcon.MEDIA_JSON: {"schema": {"type": "object"}}},
            }
        },
    }


def text() -> str:
    """Return the document as it is committed and served."""
    return json.dumps(document(), indent=1) + "\n"


class Document:
    """Serves the document; needs no token."""

    def __init__(self) -> None:
        self._data = text().encode()

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._data

    on_head = on_get


if __name__ == "__main__":
    sys.stdout.write(text())
