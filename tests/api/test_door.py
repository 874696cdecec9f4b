# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who may do what, on each web server, and that no other spelling of a path changes it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import falcon.inspect
import pytest

from hacore.api import app as api
from hacore.api.operator.routes import OPERATOR_ROUTES
from hacore.api.routes import PUBLIC, ROUTES
from tests.services import skip_unless_required

from .conftest import Keystone
from .door_servers import (
    IDS,
    KINDS,
    OF_THE_SYSTEM,
    Server,
    TokenServer,
    ask,
    project_of,
    servers,
)
from .door_spellings import SPELLINGS, Row, is_right, spell

#: What each route says to whom; a new route needs a row.
COLUMNS = (
    *("nobody", "nonsense", "reader", "member", "service", "admin", "system"),
    *("auditor", "nova"),
)
Statuses = tuple[int, ...]
PUBLIC_ROW: Statuses = (200,) * 9
ANY_TOKEN: Statuses = (401, 401, *(200,) * 7)


def admins(status: int) -> Statuses:
    """What a route says that only administrators may use, also one that is a service."""
    return (401, 401, 403, 403, 403, status, status, 403, status)


#: Also a reader of the whole system may.
READERS: Statuses = (401, 401, 403, 403, 403, 200, 200, 200, 200)


def approvers(status: int) -> Statuses:
    """What a route says that only administrators may use, but no service."""
    return (401, 401, 403, 403, 403, status, status, 403, 403)


MATRIX = {
    "GET /": PUBLIC_ROW,
    "GET /healthcheck": PUBLIC_ROW,
    "GET /v1/openapi.json": PUBLIC_ROW,
    "GET /operator/v1/openapi.json": PUBLIC_ROW,
    "GET /v1": ANY_TOKEN,
    "GET /v1/": ANY_TOKEN,
    "GET /v1/versions/{version_id}": ANY_TOKEN,
    "GET /v1/extensions": admins(200),
    "GET /v1/extensions/{alias}": admins(200),
    "GET /v1/segments": admins(200),
    "POST /v1/segments": admins(201),
    "GET /v1/segments/{segment_id}": admins(200),
    "PUT /v1/segments/{segment_id}": admins(200),
    "DELETE /v1/segments/{segment_id}": admins(204),
    "GET /v1/segments/{segment_id}/hosts": admins(200),
    "POST /v1/segments/{segment_id}/hosts": admins(201),
    "GET /v1/segments/{segment_id}/hosts/{host_id}": admins(200),
    "PUT /v1/segments/{segment_id}/hosts/{host_id}": admins(200),
    "DELETE /v1/segments/{segment_id}/hosts/{host_id}": admins(204),
    "GET /v1/notifications": admins(200),
    "POST /v1/notifications": admins(202),
    "GET /v1/notifications/{notification_id}": admins(200),
    "GET /v1/notifications/{notification_id}/vmoves": admins(200),
    "GET /v1/notifications/{notification_id}/vmoves/{vmove_id}": admins(200),
    "GET /operator/v1/recoveries": READERS,
    "GET /operator/v1/recoveries/{notification_id}": READERS,
    "GET /operator/v1/recoveries/{notification_id}/events": READERS,
    "POST /operator/v1/recoveries/{notification_id}/retry": admins(409),  # it is held
    "POST /operator/v1/recoveries/{notification_id}/abandon": admins(200),
    "POST /operator/v1/recoveries/{notification_id}/approve": approvers(202),
    "GET /operator/v1/safety": READERS,
    "PUT /operator/v1/safety/pause": admins(200),
    "DELETE /operator/v1/safety/pause": admins(200),
    "GET /operator/v1/explain/{notification_id}": READERS,
    "GET /operator/v1/hosts/{host_id}/proofs": READERS,
    "POST /operator/v1/hosts/{host_id}/proofs": approvers(201),
    "POST /operator/v1/hosts/{host_id}/return": approvers(202),
    "GET /operator/v1/operations": READERS,
    "GET /operator/v1/operations/{operation_id}": READERS,
}
_RECOVERY = "POST /operator/v1/recoveries/{notification_id}"
BODIES: dict[str, Any] = {
    "POST /v1/segments": {
        "segment": {"name": "b", "recovery_method": "auto", "service_type": "COMPUTE"}
    },
    "PUT /v1/segments/{segment_id}": {"segment": {"name": "c"}},
    "POST /v1/segments/{segment_id}/hosts": {
        "host": {"name": "compute2", "type": "COMPUTE", "control_attributes": "SSH"}
    },
    "PUT /v1/segments/{segment_id}/hosts/{host_id}": {"host": {"type": "other"}},
    "POST /v1/notifications": {
        "notification": {
            "type": "PROCESS",
            "hostname": "compute1",
            "generated_time": "2026-01-01T00:00:00",
            "payload": {"event": "STOPPED", "process_name": "nova-compute"},
        }
    },
    f"{_RECOVERY}/retry": {},
    f"{_RECOVERY}/abandon": {"reason": "x"},
    f"{_RECOVERY}/approve": {"rule": "majority", "reason": "x"},
    "PUT /operator/v1/safety/pause": {"scope": "all", "reason": "x"},
    "POST /operator/v1/hosts/{host_id}/proofs": {
        "kind": "pacemaker",
        "action": "off",
        "host": "compute1",
        "reason": "x",
    },
    "POST /operator/v1/hosts/{host_id}/return": {"force": True, "reason": "x"},
}
#: What a route needs beside its path.
QUERIES = {"DELETE /operator/v1/safety/pause": "?scope=all"}

_NOT_BELOW_A_PROJECT = [
    *("GET /", "GET /healthcheck", "GET /v1/openapi.json", "GET /v1", "GET /v1/"),
    *(route for route in MATRIX if " /operator/" in route),
]

#: What keystonemiddleware would say of an administrator, by someone who is none.
_FORGED = {
    "Roles": "admin,service,forged",
    "Role": "admin",
    "User-Id": "forged",
    "User-Name": "forged",
    "User": "forged",
    "User-Domain-Id": "forged",
    "User-Domain-Name": "forged",
    "Project-Id": project_of("admin"),
    "Project-Name": "forged",
    "Project-Domain-Id": "forged",
    "Project-Domain-Name": "forged",
    "Tenant-Id": project_of("admin"),
    "Tenant-Name": "forged",
    "Tenant": "forged",
    "Domain-Id": "forged",
    "Domain-Name": "forged",
    "Identity-Status": "Confirmed",
    "Is-Admin-Project": "False",
    "Is-Admin": "True",
    "System-Scope": "all",
}
FORGED = (
    "".join(f"X-{name}: {value}\r\n" for name, value in _FORGED.items())
    + "".join(f"X_{name.replace('-', '_')}: {value}\r\n" for name, value in _FORGED.items())
    + "".join(f"X-Service-{name}: {value}\r\n" for name, value in _FORGED.items())
    + "OpenStack-System-Scope: all\r\nX-Service-Catalog: []\r\n"
)

_NOVA = """\
[nova]
auth_type = password
auth_url = {nova}
username = hacore
password = hacore
project_name = service
user_domain_id = default
project_domain_id = default
region_name = RegionOne
"""
_KEYSTONE = """\
[DEFAULT]
auth_strategy = keystone
transport_url = fake://
[keystone_authtoken]
auth_type = password
auth_url = {tokens}
www_authenticate_uri = {tokens}
username = hacore
password = hacore
project_name = service
user_domain_id = default
project_domain_id = default
"""
_NOAUTH = """\
[DEFAULT]
auth_strategy = noauth2
transport_url = fake://
[oslo_policy]
policy_file = {policy}
"""
#: What noauth2 says of nobody, and forged headers would.
_FORGERIES = (
    "user_id:forged or role:forged or user_domain_id:forged or project_domain_id:forged"
    " or domain_id:forged or system_scope:all or is_admin_project:False or service_roles:forged"
    " or service_user_id:forged or service_user_domain_id:forged"
    " or service_project_domain_id:forged"
)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Keystone]:
    """For [nova]."""
    made = Keystone()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def behind_keystone(
    cloud: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """Each web server with the API behind keystonemiddleware."""
    tokens = TokenServer()
    options = _KEYSTONE.format(tokens=tokens.url) + _NOVA.format(nova=cloud.url)
    with servers(tmp_path_factory.mktemp("keystone"), options) as started:
        yield started
    tokens.close()


@pytest.fixture(scope="module")
def behind_nothing(
    cloud: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """The same with noauth2, a rule that forged headers keep, and one that noauth2 keeps."""
    folder = tmp_path_factory.mktemp("noauth2")
    policy = folder / "policy.yaml"
    policy.write_text(
        f'"os_masakari_api:segments:index": "{_FORGERIES}"\n'
        '"os_masakari_api:notifications:index": "user_id:admin and role:admin"\n'
    )
    options = _NOAUTH.format(policy=policy) + _NOVA.format(nova=cloud.url)
    with servers(folder, options) as started:
        yield started


def started_or_skip(started: dict[str, Server], kind: str) -> Server:
    if kind not in started:
        skip_unless_required(kind)
    return started[kind]


@pytest.fixture(params=KINDS)
def server(behind_keystone: dict[str, Server], request: pytest.FixtureRequest) -> Server:
    return started_or_skip(behind_keystone, request.param)


def fill(server: Server, route: str = "") -> None:
    """Leave what a route works on in the database, and nothing else."""
    server.fill(held=" /operator/" in route)


def path_of(route: str) -> str:
    return route.partition(" ")[2].format(**IDS)


def request(line: str, route: str, caller: str, header: str = "") -> bytes:
    """What a caller sends, who has the body that the route wants, and forged headers."""
    body = json.dumps(BODIES[route]).encode() if route in BODIES else b""
    head = f"{line}\r\nHost: a\r\nConnection: close\r\n"
    head += "OpenStack-API-Version: instance-ha 1.3\r\n"
    if caller != "nobody":
        head += f"X-Auth-Token: {caller}\r\n"
    if header:
        head += f"{header}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{FORGED}\r\n".encode("latin-1") + body


def test_every_route_is_in_the_matrix() -> None:
    router = api._routed(None, None)  # type: ignore[arg-type]
    served = {
        f"{method.method} {route.path}"
        for route in falcon.inspect.inspect_routes(router)
        for method in route.methods
        if not method.internal  # falcon's own, which answers OPTIONS and 405
    }
    heads = {route for route in served if route.startswith("HEAD ")}

    assert served - heads | {"GET /healthcheck"} == set(MATRIX)


def test_the_matrix_and_the_routes_agree() -> None:
    """Without a token one gets what is public, and without a role what no rule protects."""
    free = {f"{route.method} /v1{route.path}" for route in ROUTES if route.rule is None}
    free |= {f"GET {path}" for path in PUBLIC} | {"GET /v1/"}
    assert [route for route in OPERATOR_ROUTES if route.rule is None] == []

    assert {route for route, row in MATRIX.items() if row[0] != 401} == {
        f"GET {path}" for path in PUBLIC
    }
    assert {route for route, row in MATRIX.items() if row[2:5] != (403, 403, 403)} == free


def test_the_matrix(server: Server) -> None:
    found = {}
    for route in MATRIX:
        fill(server, route)
        statuses = []
        for caller in COLUMNS:
            line = f"{route.split()[0]} {path_of(route)}{QUERIES.get(route, '')} HTTP/1.1"
            statuses.append(ask(server.port, request(line, route, caller)).status)
            if not route.startswith("GET "):
                fill(server, route)
        found[route] = tuple(statuses)

    assert found == MATRIX


def test_the_matrix_below_a_project(server: Server) -> None:
    """It is the same below the caller's own project, and nothing below another's."""
    server.fill()
    wrong = []
    for route, statuses in MATRIX.items():
        method, path = route.split()[0], path_of(route).removeprefix("/v1/")
        if route in _NOT_BELOW_A_PROJECT:
            continue
        for caller, status in zip(COLUMNS, statuses, strict=True):
            for owner in {caller, "admin"}.difference(OF_THE_SYSTEM):
                expected = status if owner == caller or status == 401 else 400
                line = f"{method} /v1/{project_of(owner)}/{path} HTTP/1.1"
                answer = ask(server.port, request(line, route, caller))
                if answer.status != expected:
                    wrong.append((line, caller, expected, answer))
                if not route.startswith("GET "):
                    server.fill()

    assert wrong == []


@pytest.mark.parametrize(
    ("method", "status"), [("OPTIONS", 200), ("PATCH", 405), ("TRACE", 405), ("FROB", 400)]
)
def test_methods_that_no_route_has(server: Server, method: str, status: int) -> None:
    found, expected = {}, {}
    for path, public in {path_of(route): MATRIX[route][0] == 200 for route in MATRIX}.items():
        if path == "/healthcheck":  # which takes every method for GET
            continue
        for caller in ("nobody", "member"):
            line = f"{method} {path} HTTP/1.1"
            found[line, caller] = ask(server.port, request(line, "", caller)).status
            expected[line, caller] = 401 if caller == "nobody" and not public else status

    assert found == expected


def test_head_is_get(server: Server) -> None:
    found, expected = {}, {}
    for route, statuses in MATRIX.items():
        if route.startswith("GET ") and route != "GET /healthcheck":  # it says 204
            for caller, status in zip(COLUMNS, statuses, strict=True):
                sent = request(f"HEAD {path_of(route)} HTTP/1.1", "", caller)
                found[route, caller] = ask(server.port, sent)
                expected[route, caller] = (status, b"")

    assert found == expected


def test_spellings(server: Server) -> None:
    """Without a token and with a member's, whatever else the client says of itself."""
    server.fill()
    before = server.rows()
    paths = {path_of(route) for route in MATRIX}
    work = []
    for route, statuses in MATRIX.items():
        for caller in ("nobody", "member"):
            row = Row(
                *(route.split()[0], path_of(route)),
                *(statuses[COLUMNS.index(caller)], caller != "nobody"),
            )
            for spelling in SPELLINGS:
                line = spell(spelling, row)
                if spelling.changes_the_path and line.split(" ")[1].partition("?")[0] in paths:
                    continue  # of the root, or of /v1: that is a route of its own
                work.append(
                    (spelling, row, line, caller, request(line, route, caller, spelling.header))
                )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda each: ask(server.port, each[-1]), work))

    wrong = [
        (line, caller, answer)
        for (spelling, row, line, caller, _), answer in zip(work, answers, strict=True)
        if not is_right(spelling, row, line, answer)
    ]
    assert wrong == []
    assert server.rows() == before


@pytest.mark.parametrize("kind", KINDS)
def test_noauth2_ignores_forged_headers(behind_nothing: dict[str, Server], kind: str) -> None:
    server = started_or_skip(behind_nothing, kind)

    statuses = {
        path: ask(server.port, request(f"GET {path} HTTP/1.1", "", "nobody")).status
        for path in ("/v1/segments", "/v1/notifications")
    }

    assert statuses == {"/v1/segments": 403, "/v1/notifications": 200}
