# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The OpenAPI documents: current, served, and true."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hacore.api import openapi
from hacore.api.openapi import DOCUMENTS, INSTANCE_HA, OPERATOR, Api
from hacore.api.operator.response_schemas import OPERATOR_EXAMPLES
from hacore.api.operator.routes import OPERATOR_ROUTES
from hacore.api.response_schemas import EXAMPLES
from hacore.api.routes import ROUTES
from hacore.db import claims, holds, recoveries
from hacore.db.engine import Database
from hacore.states import Gate, Rule
from tests import factories

from .conftest import Client, report

DOC = Path(__file__).parents[2] / "doc"
COMMITTED = {
    INSTANCE_HA: (DOC / "openapi.json", "python -m hacore.api.openapi > doc/openapi.json"),
    OPERATOR: (
        DOC / "operator-openapi.json",
        "python -m hacore.api.openapi operator > doc/operator-openapi.json",
    ),
}
each_api = pytest.mark.parametrize("api", DOCUMENTS, ids=lambda api: api.title)


@each_api
def test_the_committed_document_is_current(api: Api) -> None:
    file, command = COMMITTED[api]
    assert file.read_text() == openapi.text(api), f"run: {command}"


@each_api
def test_it_is_served_without_a_token(client: Client, api: Api) -> None:
    answer = client.get(api.url)

    assert answer.status_code == 200
    assert answer.json == openapi.document(api)


@each_api
def test_every_route_is_in_it(api: Api) -> None:
    paths = openapi.document(api)["paths"]
    routes = ROUTES if api is INSTANCE_HA else OPERATOR_ROUTES
    served = {
        (route.method.lower(), "/v1/" if route.url == "/v1" else route.url) for route in routes
    }

    assert served == {
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if path not in ("/", api.url)
    }
    identifiers = [
        operation["operationId"] for methods in paths.values() for operation in methods.values()
    ]
    assert len(identifiers) == len(set(identifiers))


@each_api
def test_every_schema_is_one(api: Api) -> None:
    document = openapi.document(api)
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        others = {key: each for key, each in api.schemas.items() if key != name}
        assert f'/{name}"' in json.dumps(document["paths"]) + json.dumps(others)


def check(name: str, body: Any, api: Api = INSTANCE_HA) -> None:
    document = openapi.document(api)
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


@pytest.mark.parametrize("verb", ["approve", "abandon", "retry"])
def test_answers_to_operators_are_as_declared(client: Client, db: Database, verb: str) -> None:
    """And the examples of what they send are accepted."""
    row = factories.notification(db, factories.host(db))
    taken = claims.claim(db, "a", 60, 86400)
    assert taken is not None
    recoveries.about_to_disable(db, taken, "x")
    root = "/operator/v1"
    url = f"{root}/recoveries/{row.uuid}"
    routes = {(route.method, route.path): route for route in OPERATOR_ROUTES}

    def look() -> None:
        check("Recoveries", client.get(f"{root}/recoveries").json, OPERATOR)
        check("RecoveryDetailAnswer", client.get(url).json, OPERATOR)
        check("Events", client.get(f"{url}/events").json, OPERATOR)
        check("Explanation", client.get(f"{root}/explain/{row.uuid}").json, OPERATOR)
        check("SafetyAnswer", client.get(f"{root}/safety").json, OPERATOR)

    look()
    holds.hold(db, taken, Gate.LIMITS, Rule.MAJORITY, "x", {"missing": 6, "hosts": 10})
    look()
    pause = routes["PUT", "/safety/pause"].example
    check("PauseAnswer", client.put(f"{root}/safety/pause", pause).json, OPERATOR)
    look()
    check("PauseAnswer", client.delete(f"{root}/safety/pause?scope=all").json, OPERATOR)
    factories.look(db, "compute1")
    route = routes["POST", f"/recoveries/{{notification_id}}/{verb}"]
    answer = client.post(f"{url}/{verb}", route.example)
    assert answer.status_code == (409 if verb == "retry" else route.status)
    check("Fault" if verb == "retry" else str(route.answer), answer.json, OPERATOR)
    look()


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_examples_of_answers_are_as_declared(name: str) -> None:
    check(name, EXAMPLES[name])


@pytest.mark.parametrize("name", list(OPERATOR_EXAMPLES))
def test_examples_of_answers_to_operators_are_as_declared(name: str) -> None:
    check(name, OPERATOR_EXAMPLES[name], OPERATOR)


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
