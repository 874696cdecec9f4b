# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tokens, roles and service tokens, by keystonemiddleware against the sandbox's keystone."""

from wsgiref.types import WSGIApplication

import pytest

from hacore.db.engine import Database
from tests import factories

from .conftest import Client, Keystone

PATHS = ["/v1", "/v1/", "/v1/segments", "/v1/notifications", "/v1/nothing", "/v1/extensions"]
PATHS += ["/nothing", "/v1/0/openapi.json", "/v2"]  # nobody learns what there is
PATHS += ["/operator/v1", "/operator/v1/recoveries", "/operator/v1/safety", "/operator/v1/x"]


@pytest.fixture
def api(keystone_app: WSGIApplication) -> Client:
    return Client(keystone_app)


def test_an_administrator_may(api: Client, keystone: Keystone) -> None:
    token = {"X-Auth-Token": keystone.token("admin", "admin")}
    body = {"segment": {"name": "a", "recovery_method": "auto", "service_type": "COMPUTE"}}

    assert api.post("/v1/segments", body, headers=token).status_code == 201
    assert len(api.get("/v1/segments", headers=token).json["segments"]) == 1


def test_what_an_operator_decides_has_their_name(
    api: Client, db: Database, keystone: Keystone
) -> None:
    row = factories.notification(db, factories.host(db))
    url = f"/operator/v1/recoveries/{row.uuid}/abandon"
    token = {"X-Auth-Token": keystone.token("admin", "admin")}
    forged = {**token, "X-User-Name": "alice", "X_USER_NAME": "alice", "X-User-Id": "alice"}

    answer = api.post(url, {"reason": "by hand"}, headers=forged)

    assert answer.json["recovery"]["message"] == "Abandoned by admin: by hand."
    member = {"X-Auth-Token": keystone.token("demo", "demo")}
    system = {**member, "OpenStack-System-Scope": "all", "X-Roles": "reader"}
    assert api.get("/operator/v1/recoveries", headers=system).status_code == 403
    assert api.get("/operator/v1/recoveries", headers=token).status_code == 200


def test_a_member_may_not(api: Client, keystone: Keystone) -> None:
    token = {"X-Auth-Token": keystone.token("demo", "demo")}

    assert api.get("/v1/segments", headers=token).status_code == 403
    assert api.get("/v1/", headers=token).status_code == 200
    # nor by saying so
    forged = {**token, "X-Roles": "admin", "X-Is-Admin-Project": "True"}
    assert "forbidden" in api.get("/v1/segments", headers=forged).json


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers", [{}, {"X-Auth-Token": "nonsense"}, {"X-Roles": "admin", "X-User-Id": "admin"}]
)
def test_without_a_token_nothing_goes(api: Client, path: str, headers: dict[str, str]) -> None:
    answer = api.get(path, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")
    assert answer.json["unauthorized"]["code"] == 401
    assert "X-Auth-Token" in answer.json["unauthorized"]["message"]
    assert answer.headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize(
    "path", ["/", "/healthcheck", "/v1/openapi.json", "/operator/v1/openapi.json"]
)
def test_what_needs_no_token(api: Client, path: str) -> None:
    assert api.get(path).status_code == 200


def test_an_expired_token(api: Client, keystone: Keystone) -> None:
    token = keystone.token("admin", "admin")
    keystone.expire(token)

    answer = api.get("/v1/segments", headers={"X-Auth-Token": token})

    assert answer.status_code == 401


def test_service_tokens(api: Client, keystone: Keystone) -> None:
    user = {"X-Auth-Token": keystone.token("admin", "admin")}
    service = keystone.token("hacore", "service")
    no_service = keystone.token("demo", "demo")

    good = api.get("/v1/segments", headers={**user, "X-Service-Token": service})
    unknown = api.get("/v1/segments", headers={**user, "X-Service-Token": "nonsense"})
    wrong_role = api.get("/v1/segments", headers={**user, "X-Service-Token": no_service})

    assert good.status_code == 200
    assert (unknown.status_code, wrong_role.status_code) == (401, 401)
    assert "X-Service-Token" in unknown.json["unauthorized"]["message"]


def test_the_project_in_the_path_is_the_tokens(api: Client, keystone: Keystone) -> None:
    auth = keystone.auth("admin", "admin")
    token = {"X-Auth-Token": keystone.token("admin", "admin")}
    project = keystone.project_id(auth)

    assert api.get(f"/v1/{project}/segments", headers=token).status_code == 200
    assert api.get(f"/v1/{'f' * 32}/segments", headers=token).status_code == 400
    assert api.get(f"/v1/{project}/segments").status_code == 401


def test_unavailable_keystone_is_503(api: Client, keystone: Keystone) -> None:
    token = keystone.token("admin", "admin")
    keystone.stop()

    answer = api.get("/v1/segments", headers={"X-Auth-Token": token})

    assert answer.status_code == 503
    assert answer.json["serviceUnavailable"]["code"] == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_size_is_judged_before_the_token(api: Client) -> None:
    answer = api.ask("POST", "/v1/segments", body=b"x" * 200_000)

    assert answer.status_code == 413
    assert "overLimit" in answer.json
