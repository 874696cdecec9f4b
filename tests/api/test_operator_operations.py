# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/hosts/{uuid}/return, and what operations show."""

from typing import Any

import pytest

from hacore.api.operator.routes import OPERATOR_ROUTES
from hacore.db import operation_claims, operations
from hacore.db.engine import Database
from hacore.states import OperationStatus, OperationType
from tests import factories
from tests.db import services_of

from .conftest import Client
from .operator_rows import NOWHERE, ROOT, held, reason
from .test_openapi import OPERATOR, check


def returned(client: Client, host: Any, **body: Any) -> dict[str, Any]:
    answer = client.post(f"{ROOT}/hosts/{host.uuid}/return", body)
    assert answer.status_code == 202, answer.text
    shown: dict[str, Any] = answer.json["operation"]
    return shown


def test_a_return_is_accepted_and_shown(client: Client, db: Database) -> None:
    host = factories.host(db)
    shown = returned(client, host, reason="The memory\n was replaced.", force=True)
    assert (shown["type"], shown["status"], shown["host"]) == ("return", "new", "compute1")
    assert (shown["reason"], shown["options"]) == ("The memory was replaced.", {"force": True})
    assert shown["host_uuid"] == host.uuid
    detail = client.get(f"{ROOT}/operations/{shown['uuid']}").json["operation"]
    assert {name: detail[name] for name in shown} == shown
    (line,) = detail["history"]
    assert line["message"] == f"Requested by {shown['by']}: The memory was replaced."


def test_answers_are_as_declared(client: Client, db: Database) -> None:
    route = next(each for each in OPERATOR_ROUTES if each.rule == "hacore:operator:hosts:return")
    path = f"{ROOT}/hosts/{factories.host(db).uuid}/return"
    answer = client.post(path, route.example)
    check("OperationAnswer", answer.json, OPERATOR)
    url = f"{ROOT}/operations/{answer.json['operation']['uuid']}"

    def look() -> None:
        check("Operations", client.get(f"{ROOT}/operations").json, OPERATOR)
        check("OperationDetailAnswer", client.get(url).json, OPERATOR)

    look()
    claim = operation_claims.claim(db, "engine1", 60)
    assert claim is not None
    look()
    assert client.get(url).json["operation"]["owner"] == "engine1"
    operation_claims.wait(db, claim, "Nova does not hear compute1.", 30)
    look()
    assert client.get(url).json["operation"]["status"] == "waiting"


def test_lists_and_their_filters(client: Client, db: Database) -> None:
    first = returned(client, factories.host(db))
    claim = operation_claims.claim(db, "engine1", 60)
    assert claim is not None
    operation_claims.finish(db, claim, OperationStatus.FAILED, "x")
    second = returned(client, factories.host(db, "compute2"))

    def listed(query: str = "") -> list[str]:
        rows = client.get(f"{ROOT}/operations{query}").json["operations"]
        return [row["uuid"] for row in rows]

    assert listed() == [second["uuid"], first["uuid"]]
    assert listed("?status=failed") == [first["uuid"]]
    assert listed("?host=compute2&type=return") == [second["uuid"]]
    assert listed("?limit=1") == [second["uuid"]]
    assert listed(f"?marker={second['uuid']}") == [first["uuid"]]
    assert "status" in reason(client.get(f"{ROOT}/operations?status=error"), 400)


def test_what_is_not_there(client: Client) -> None:
    for path in (f"{ROOT}/operations/{NOWHERE}", f"{ROOT}/operations/x"):
        assert client.get(path).status_code == 404
    for uuid in (NOWHERE, "compute1"):
        assert client.post(f"{ROOT}/hosts/{uuid}/return", {}).status_code == 404


def test_refused_while_a_recovery_is_held(client: Client, db: Database) -> None:
    row = held(db)
    answer = client.post(f"{ROOT}/hosts/{row.source_host_uuid}/return", {})
    assert reason(answer, 409) == (
        f"A recovery of host compute1 is held (majority); abandon recovery {row.uuid} first."
    )


def test_refused_while_an_older_version_lives(client: Client, db: Database) -> None:
    host = factories.host(db)
    services_of.engine(db, "0.1.9")
    answer = client.post(f"{ROOT}/hosts/{host.uuid}/return", {})
    assert "of an older version do not know operations: hacore-engine 0.1.9" in reason(answer, 409)


@pytest.mark.parametrize("body", [{"force": True}, {"reason": " "}, {"force": "yes"}, {"x": 1}])
def test_bodies_that_are_refused(client: Client, db: Database, body: dict[str, Any]) -> None:
    host = factories.host(db)
    assert client.post(f"{ROOT}/hosts/{host.uuid}/return", body).status_code == 400


def test_its_host_is_in_use_and_its_segment_is_not(client: Client, db: Database) -> None:
    host = factories.host(db)
    other = factories.host(db, "compute2", segment_uuid=host.segment_uuid)
    operations.create(db, host.uuid, OperationType.RETURN, "alice", None, {})
    path = f"/v1/segments/{host.segment_uuid}"
    change = {"host": {"on_maintenance": False}}
    assert "(return) of it has not ended" in reason(
        client.put(f"{path}/hosts/{host.uuid}", change), 409
    )
    assert client.delete(f"{path}/hosts/{host.uuid}").status_code == 409
    assert client.delete(path).status_code == 409
    assert client.put(f"{path}/hosts/{other.uuid}", change).status_code == 200
    assert client.put(path, {"segment": {"description": "x"}}).status_code == 200
