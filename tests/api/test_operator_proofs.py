# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/hosts/{uuid}/proofs: a person, or Pacemaker, says that a host is off."""

from typing import Any

import pytest

from hacore.db.engine import Database
from hacore.states import Rule
from tests import factories

from .conftest import Client
from .operator_rows import NOWHERE, ROOT, held, read, reason

BODY = {"kind": "operator", "host": "compute1", "reason": "Its fuse\n is out."}


def post(client: Client, row: Any, **changes: Any) -> Any:
    body = {key: value for key, value in {**BODY, **changes}.items() if value is not None}
    return client.post(f"{ROOT}/hosts/{row.source_host_uuid}/proofs", body)


def test_a_held_recovery_goes_on(client: Client, db: Database) -> None:
    row = held(db, rule=Rule.PROOF)

    answer = post(client, row)

    assert answer.status_code == 201, answer.text
    made = answer.json["proof"]
    assert (made["kind"], made["host"], made["recovery_uuid"]) == ("operator", "compute1", row.uuid)
    assert made["message"].endswith(" has confirmed that compute1 is off: Its fuse is out.")
    assert (made["void_at"], made["action"]) == (None, None)
    assert read(db, row).held_rule is None
    listed = client.get(f"{ROOT}/hosts/{row.source_host_uuid}/proofs").json["proofs"]
    assert listed == [made]


def test_pacemaker_has_fenced_it(client: Client, db: Database) -> None:
    row = held(db, rule=Rule.PROOF)

    first = post(client, row, kind="pacemaker", action="off")
    again = post(client, row, kind="pacemaker", action="off")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json["proof"]["uuid"] == again.json["proof"]["uuid"]
    assert first.json["proof"]["message"] == "Pacemaker has switched off compute1: Its fuse is out."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"host": "compute11"}, "host: 'compute11' is given"),
        ({"action": "off"}, "action: is for what Pacemaker has done"),
        ({"kind": "pacemaker"}, "action: must be given"),
        ({"kind": "step"}, "kind"),
        ({"kind": "pacemaker", "action": "cycle"}, "action"),
        ({"reason": "   "}, "reason"),
        ({"reason": None}, "reason"),
        ({"host": None}, "host"),
    ],
)
def test_what_is_refused(
    client: Client, db: Database, changes: dict[str, Any], sentence: str
) -> None:
    row = held(db, rule=Rule.PROOF)
    assert sentence in reason(post(client, row, **changes), 400)
    assert read(db, row).held_rule == Rule.PROOF


def test_a_host_that_is_heard(client: Client, db: Database) -> None:
    row = held(db, rule=Rule.PROOF)
    factories.look(db, heard=["compute1"])
    assert "Nova hears compute1" in reason(post(client, row), 409)


def test_no_such_host(client: Client) -> None:
    for uuid in (NOWHERE, "x"):
        assert reason(client.get(f"{ROOT}/hosts/{uuid}/proofs"), 404)
        assert reason(client.post(f"{ROOT}/hosts/{uuid}/proofs", BODY), 404)
