# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The OpenAPI documents, made from the routes; ``python -m hacore.api.openapi`` prints them.

That of instance-ha, or with the argument ``operator`` that of the operator API.  doc/openapi.json
and doc/operator-openapi.json are the committed copies; a test says when they are out of date.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import falcon

from hacore.api import faults, microversions
from hacore.api.dispatch import MEDIA_TYPES
from hacore.api.operator.response_schemas import OPERATOR_EXAMPLES, OPERATOR_SCHEMAS
from hacore.api.operator.routes import OPERATOR_SECTIONS
from hacore.api.response_schemas import EXAMPLES, SCHEMAS
from hacore.api.routes import OPENAPI, OPERATOR_OPENAPI, ROOT, SECTIONS, V1, Route
from hacore.resources import Schema

_DESCRIPTION = """\
Instance high availability for OpenStack: monitors report failures of hosts, processes and \
instances, and hacore recovers from them through Nova. Compatible with instance-ha v1 as Masakari \
serves it; doc/differences-from-masakari lists where it differs, and why.

Every path also exists below `/v1/{project_id}`, with the project of the token.
"""
_OPERATOR_DESCRIPTION = """\
What operators read and decide: recoveries with their history, why one is held, and to retry, \
approve or abandon it; limits, pauses, and whether Nova's heartbeats are read. Beside instance-ha \
v1 in the same service, with the same tokens and faults. It has no microversions and no project \
in its paths; fields and paths may be added.

A list and each answer with an `ETag` is cheap to ask for again: with `If-None-Match` the answer \
is 304 while nothing has changed.
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


_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of an earlier answer: 304 if nothing has changed since.",
    "schema": {"type": "string", "examples": ['W/"0f3a5c7e9b1d2f4a6c8e0b2d4f6a8c0e"']},
}


@dataclass(frozen=True, eq=False)
class Api:
    """What one document describes.

    :ivar url: where it is served.
    :ivar examples: of answers, by the name of their schema.
    """

    url: str
    title: str
    version: str
    description: str
    sections: Mapping[str, Sequence[Route]]
    schemas: Mapping[str, Schema]
    examples: Mapping[str, Any]


INSTANCE_HA = Api(
    OPENAPI,
    "hacore, instance-ha v1",
    microversions.text(microversions.NEWEST),
    _DESCRIPTION,
    SECTIONS,
    SCHEMAS,
    EXAMPLES,
)
OPERATOR = Api(
    OPERATOR_OPENAPI,
    "hacore, operator v1",
    "1",
    _OPERATOR_DESCRIPTION,
    OPERATOR_SECTIONS,
    OPERATOR_SCHEMAS,
    OPERATOR_EXAMPLES,
)
DOCUMENTS = (INSTANCE_HA, OPERATOR)


def document(api: Api = INSTANCE_HA) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    sections = list(api.sections)
    # instance-ha describes itself among its versions
    about = "Versions" if "Versions" in sections else "About"
    paths: dict[str, dict[str, Any]] = {ROOT: {"get": _root()}} if api is INSTANCE_HA else {}
    paths[api.url] = {"get": _itself(about)}
    for section, routes in api.sections.items():
        for route in routes:
            path = f"{V1}/" if route.url == V1 else route.url
            paths.setdefault(path, {})[route.method.lower()] = _operation(api, section, route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": api.title,
            "version": api.version,
            "description": api.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": each} for each in (*sections, *({about} - {*sections}))],
        "security": [{"keystone": []}],
        "paths": paths,
        "components": {
            "schemas": dict(api.schemas),
            "securitySchemes": {
                "keystone": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
        },
    }


def _operation(api: Api, section: str, route: Route) -> dict[str, Any]:
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
            *_header_parameters(route),
        ],
        "responses": {str(route.status): _success(api, route), **_faults(route)},
    }
    if route.tagged:
        operation["responses"]["304"] = {"description": "Nothing has changed"}
    if route.bodies:
        schema = route.documented_body or route.bodies[-1][1]
        example = {"example": route.example} if route.example else {}
        operation["requestBody"] = {
            "required": True,
            "content": {falcon.MEDIA_JSON: {"schema": schema, **example}},
        }
        if route.root == V1:
            also = f"Also accepted as {', '.join(MEDIA_TYPES[1:])}."
            operation["requestBody"]["description"] = also
    return operation


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if route.root == V1:
        return [_VERSION_HEADER]
    return [_IF_NONE_MATCH] if route.tagged else []


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
    required = schema.pop("required", False)
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema,
    }


def _success(api: Api, route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Success", "headers": _headers(route)}
    if route.answer is not None:
        content = {"schema": {"$ref": f"#/components/schemas/{route.answer}"}}
        if route.answer in api.examples:
            content["example"] = api.examples[route.answer]
        answer["content"] = {falcon.MEDIA_JSON: content}
    return answer


def _headers(route: Route) -> dict[str, Any]:
    names = [microversions.HEADER, "Vary"] if route.root == V1 else []
    if route.tagged:
        names += ["ETag", "Cache-Control", "Vary"]
    return {name: {"schema": {"type": "string"}} for name in (*names, "X-Openstack-Request-Id")}


def _faults(route: Route) -> dict[str, Any]:
    statuses = {400, 401, 413, 415, 503, *route.faults}
    if route.root == V1:
        statuses.add(406)  # a microversion that there is not
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


def _itself(section: str) -> dict[str, Any]:
    return {
        "operationId": f"{section.lower()}-openapi",
        "tags": [section],
        "summary": "Show this document; needs no token",
        "security": [],
        "responses": {
            "200": {
                "description": "Success",
                "content": {falcon.MEDIA_JSON: {"schema": {"type": "object"}}},
            }
        },
    }


def text(api: Api = INSTANCE_HA) -> str:
    """Return the document as it is committed and served."""
    return json.dumps(document(api), indent=1) + "\n"


class Served:
    """Serves a document; needs no token."""

    def __init__(self, api: Api) -> None:
        self._data = text(api).encode()

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._data

    on_head = on_get


if __name__ == "__main__":
    sys.stdout.write(text(OPERATOR if sys.argv[1:] == ["operator"] else INSTANCE_HA))
