# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The OpenAPI document: current, served, and true."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hacore.api import openapi
from hacore.api.response_schemas import EXAMPLES, SCHEMAS
from hacore.api.routes import OPENAPI, ROUTES

from .conftest import Client, report

COMMITTED = Path(__file__).parents[2] / "doc" / "openapi.json"


def test_the_committed_document_is_current() -> None:
    assert COMMITTED.read_text() == openapi.text(), (
        "run: python -m hacore.api.openapi > doc/openapi.json"
    )


def test_it_is_served_without_a_token(client: Client) -> None:
    answer = client.get("/v1/openapi.json")

    assert answer.status_code == 200
    assert answer.json == openapi.document()


def test_every_route_is_in_it() -> None:
    paths = openapi.document()["paths"]
    served = {(route.method.lower(), "/v1" + (route.path or "/")) for route in ROUTES}

    assert served == {
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if path not in ("/", OPENAPI)
    }
    identifiers = [
        operation["operationId"] for methods in paths.values() for operation in methods.values()
    ]
    assert len(identifiers) == len(set(identifiers))


def test_every_schema_is_one() -> None:
    document = openapi.document()
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert name in json.dumps(document["paths"]) + json.dumps(SCHEMAS)


def check(name: str, body: Any) -> None:
    document = openapi.document()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)


def test_examples_are_accepted_and_answers_are_as_declared(client: Client) -> None:
    examples = {route.handler: dict(route.example) for route in ROUTES if route.example is not None}
    routes = {(route.method, route.path): route for route in ROUTES}

    def example(method: str, path: str) -> Any:
        return examples[routes[method, path].handler]

    segments = "/v1/segments"
    made = client.post(segments, example("POST", "/segments")).json
    check("SegmentAnswer", made)
    segment = f"{segments}/{made['segment']['uuid']}"
    path = "/segments/{segment_id}"
    check("SegmentAnswer", client.at("1.2").put(segment, example("PUT", path)).json)
    check("Segments", client.get(segments).json)
    made = client.post(f"{segment}/hosts", example("POST", f"{path}/hosts")).json
    check("HostAnswer", made)
    host = f"{segment}/hosts/{made['host']['uuid']}"
    check("HostAnswer", client.put(host, example("PUT", path + "/hosts/{host_id}")).json)
    check("Hosts", client.get(f"{segment}/hosts").json)
    made = client.post("/v1/notifications", example("POST", "/notifications")).json
    check("NotificationAnswer", made)
    check("Notifications", client.get("/v1/notifications").json)
    notification = f"/v1/notifications/{made['notification']['notification_uuid']}"
    for version in ("1.0", "1.1"):
        check("NotificationDetail", client.at(version).get(notification).json)
    check("VMoves", client.at("1.3").get(f"{notification}/vmoves").json)
    check("VersionsAnswer", client.get("/").json)
    check("VersionAnswer", client.get("/v1/").json)
    check("Extensions", client.get("/v1/extensions").json)
    check("ExtensionAnswer", client.get("/v1/extensions/vmoves").json)
    check("Fault", client.get("/v1/nothing").json)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_examples_of_answers_are_as_declared(name: str) -> None:
    check(name, EXAMPLES[name])


@pytest.mark.parametrize(
    "payload", [{"event": "STOPPED"}, {"event": "STOPPED", "process_name": "x"}, {}]
)
def test_the_documented_body_refuses_what_the_service_refuses(
    client: Client, payload: dict[str, str]
) -> None:
    client.host(client.segment())
    body = {"notification": report(payload=payload)}
    (route,) = [r for r in ROUTES if (r.method, r.path) == ("POST", "/notifications")]
    assert route.documented_body is not None

    fits = jsonschema.Draft202012Validator(route.documented_body).is_valid(body)

    assert fits == (client.post("/v1/notifications", body).status_code == 202)
