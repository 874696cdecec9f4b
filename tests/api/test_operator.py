# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1: what an operator reads, and what follows from what they decide."""

import datetime
from typing import Any

import pytest

from hacore.db import claims, gates, holds, leases, moves, recoveries
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.states import Answer, Gate, MoveStatus, NotificationType, Rule
from hacore.states import NotificationStatus as Status
from tests import factories

from .conftest import Client
from .operator_rows import NOWHERE, ROOT, WHY, claim, held, lines, path, read, reason

# ------------------------------------------------------------------- reading


def uuids(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"{ROOT}/recoveries{query}")
    assert answer.status_code == 200, answer.text
    return [each["uuid"] for each in answer.json["recoveries"]]


def test_recoveries_are_listed_with_what_holds_them(client: Client, db: Database) -> None:
    row = held(db)

    (shown,) = client.get(f"{ROOT}/recoveries").json["recoveries"]

    assert (shown["uuid"], shown["status"], shown["host"]) == (row.uuid, "error", "compute1")
    assert shown["held"]["rule"] == "majority"
    assert shown["held"]["reason"] == WHY
    assert shown["held"]["since"].endswith("Z")
    assert (shown["retry_at"], shown["owner"], shown["payload"]) == (None, None, row.payload)


def test_filters(client: Client, db: Database) -> None:
    old = factories.notification(
        db,
        factories.host(db, "compute1"),
        created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        status=Status.FINISHED,
    )
    stuck = held(db, "compute2")
    alarm = factories.notification(
        db,
        factories.host(db, "compute3"),
        type=NotificationType.VM,
        payload={"event": "x", "instance_uuid": NOWHERE, "vir_domain_event": "y"},
    )

    assert uuids(client) == [alarm.uuid, stuck.uuid, old.uuid]
    assert uuids(client, "?status=finished&status=new") == [alarm.uuid, old.uuid]
    assert uuids(client, "?host=compute2") == [stuck.uuid]
    assert uuids(client, "?type=VM") == [alarm.uuid]
    assert uuids(client, "?since=2026-01-02T00:00:00") == [alarm.uuid, stuck.uuid]
    assert uuids(client, "?held=true") == [stuck.uuid]
    assert uuids(client, "?held=no&type=COMPUTE_HOST") == [old.uuid]
    assert uuids(client, "?host=nobody") == []


def test_pages(client: Client, db: Database) -> None:
    host = factories.host(db)
    made = [factories.notification(db, host).uuid for _ in range(5)]

    first = uuids(client, "?limit=2")
    second = uuids(client, f"?limit=2&marker={first[-1]}")

    assert [*first, *second] == made[:0:-1]
    assert uuids(client, "?limit=0") == []


@pytest.mark.parametrize(
    "query",
    [
        *("status=held", "status=", "type=HOST", "held=perhaps", "since=yesterday"),
        *("limit=-1", "limit=x", "marker=x", f"marker={NOWHERE}", "limit=%D9%A3"),
    ],
)
def test_what_no_filter_is_is_refused(client: Client, query: str) -> None:
    name = query.partition("=")[0]

    assert reason(client.get(f"{ROOT}/recoveries?{query}"), 400).startswith(name)


def test_a_recovery_is_shown_with_everything_recorded(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db), request_id="req-1")
    taken = claim(db)
    leases.record(db, Notification, taken, "disable_compute_service_task", state="RUNNING")
    recoveries.about_to_disable(db, taken, "reason")
    leases.record(
        db, Notification, taken, "disable_compute_service_task", state="SUCCESS", progress=1.0
    )
    (move,) = moves.prepare(db, taken, [moves.Plan(NOWHERE, "db1", "active", 1, 0)])
    move.locked = True
    moves.begin(db, taken, move)
    move.locked = False
    moves.end(db, taken, move, MoveStatus.SUCCEEDED, step="x", dest_host="compute2")

    running = client.get(path(row)).json["recovery"]
    claims.finish(db, taken, Status.FINISHED, "1 evacuated.")
    shown = client.get(path(row)).json["recovery"]

    assert running["claim"]["owner"] == running["owner"] == "engine1"
    assert (running["claim"]["number"], running["claim"]["live"]) == (1, True)
    assert running["to_clean_up"] is None
    assert (shown["status"], shown["claim"], shown["request_id"]) == ("finished", None, "req-1")
    (step,) = (each for each in shown["steps"] if each["step"].startswith("disable"))
    assert (step["state"], step["progress"], step["claim"]) == ("SUCCESS", 1.0, 1)
    (moved,) = shown["moves"]
    assert (moved["from"], moved["to"], moved["status"]) == ("compute1", "compute2", "succeeded")
    assert moved["seconds"] >= 0
    assert [line["message"] for line in shown["history"]] == lines(db, row)
    assert shown["to_clean_up"] == [
        {
            "what": "nova-compute on compute1 was disabled.",
            "command": "openstack compute service set --enable compute1 nova-compute",
        }
    ]


def test_a_move_that_goes_on_has_no_seconds_yet(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db)
    (move,) = moves.prepare(db, taken, [moves.Plan(NOWHERE, "db1", "active", 1, 0)])
    moves.begin(db, taken, move)

    (shown,) = client.get(path(row)).json["recovery"]["moves"]

    assert (shown["status"], shown["seconds"], shown["to"]) == ("ongoing", None, None)


@pytest.mark.parametrize("url", ["recoveries/{}", "recoveries/{}/events", "explain/{}"])
@pytest.mark.parametrize("uuid", [NOWHERE, "x", "%00", NOWHERE.upper()])
def test_what_is_not_there(client: Client, url: str, uuid: str) -> None:
    answer = client.get(f"{ROOT}/{url.format(uuid)}")

    assert answer.status_code == 404
    assert "itemNotFound" in answer.json


def test_events_after_the_last_one_that_is_known(client: Client, db: Database) -> None:
    row = held(db)

    known = client.get(path(row, "/events")).json["events"]
    client.post(path(row, "/approve"), {"rule": "majority", "reason": "they are off"})
    new = client.get(path(row, f"/events?after={known[-1]['id']}")).json["events"]
    cut = client.get(path(row, "/events?limit=1")).json["events"]
    none = client.get(path(row, f"/events?after={'9' * 400}")).json["events"]

    assert [each["gate"] for each in known] == [None, "limits", None]
    assert known[1]["answer"] == "hold"
    assert [each["message"] for each in new] == ["Approved by admin (majority): they are off."]
    assert (cut, none) == (known[:1], [])
    assert reason(client.get(path(row, "/events?after=-1")), 400).startswith("after")


def test_gates_are_explained_in_order(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db)
    gates.record(db, taken, Gate.LIVENESS, Answer.WAIT, {"age_s": 20.0}, "Nova heard it 20 s ago.")
    gates.record(db, taken, Gate.LIVENESS, Answer.GO, {"age_s": 40.0}, "It is silent for 8 s.")
    holds.hold(db, taken, Gate.LIMITS, Rule.MAJORITY, WHY, {"missing": 6, "hosts": 10})

    shown = client.get(f"{ROOT}/explain/{row.uuid}").json

    assert shown["recovery"]["held"]["rule"] == "majority"
    assert [(each["gate"], each["answer"], each["message"]) for each in shown["gates"]] == [
        ("liveness", "wait", "Nova heard it 20 s ago."),
        ("liveness", "go", "It is silent for 8 s."),
        ("limits", "hold", WHY),
    ]
    assert shown["gates"][-1]["facts"] == {"missing": 6, "hosts": 10}


# ------------------------------------------------------------------ deciding


def test_a_failed_recovery_is_retried(client: Client, db: Database, wakes: list[str]) -> None:
    row = factories.notification(db, factories.host(db))
    claims.finish(db, claim(db), Status.FAILED, "It failed.", failed=True)

    answer = client.post(path(row, "/retry"), {"reason": " the storage\nis back. "})

    assert answer.status_code == 202
    assert answer.json["recovery"]["status"] == "error"
    assert answer.json["recovery"]["retry_at"] is not None
    assert "Retry requested by admin: the storage is back." in lines(db, row)
    assert wakes == ["wake"]
    assert claim(db).uuid == row.uuid


def test_a_retry_needs_no_reason(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    claims.finish(db, claim(db), Status.FAILED, "It failed.", failed=True)

    assert client.post(path(row, "/retry"), {}).status_code == 202
    assert "Retry requested by admin." in lines(db, row)


def test_a_held_recovery_is_not_retried(client: Client, db: Database, wakes: list[str]) -> None:
    row = held(db)

    said = reason(client.post(path(row, "/retry"), {}), 409)

    assert said == (
        f"Notification {row.uuid} is held (majority), and a retry would be held again; approve "
        "it, so that it goes on, or abandon it."
    )
    assert read(db, row).held_rule == "majority"
    assert wakes == []


def test_an_approval_lets_it_go_on(client: Client, db: Database, wakes: list[str]) -> None:
    row = held(db)
    body = {"rule": "majority", "reason": "the row is off", "facts": {"missing": 6}}

    answer = client.post(path(row, "/approve"), body)

    assert answer.status_code == 202
    assert answer.json["recovery"]["held"] is None
    assert wakes == ["wake"]
    (approved,) = client.get(path(row)).json["recovery"]["approvals"]
    assert (approved["rule"], approved["by"], approved["missing"]) == ("majority", "admin", 6)
    again = reason(client.post(path(row, "/approve"), body), 409)
    assert again == f"Notification {row.uuid} is not held; it is error."
    assert claim(db).uuid == row.uuid


def test_an_approval_of_another_rule_is_refused(client: Client, db: Database) -> None:
    row = held(db)

    said = reason(client.post(path(row, "/approve"), {"rule": "burst", "reason": "x"}), 409)

    assert said == (
        f"The facts have changed: notification {row.uuid} is held by majority (shown: burst). "
        "Look again."
    )


def test_a_pause_is_not_approved(client: Client, db: Database) -> None:
    row = held(db, rule=Rule.PAUSE)

    said = reason(client.post(path(row, "/approve"), {"rule": "pause", "reason": "x"}), 409)

    assert said.startswith(f"Notification {row.uuid} is held by pause, which nobody can approve; ")
    assert read(db, row).held_rule == "pause"


@pytest.mark.parametrize("shown", [7, 6, None])
def test_an_approval_stands_for_what_was_shown(
    client: Client, db: Database, shown: int | None
) -> None:
    row = held(db, missing=6)
    body: dict[str, Any] = {"rule": "majority", "reason": "x"}
    if shown is not None:
        body["facts"] = {"missing": shown}

    assert client.post(path(row, "/approve"), body).status_code == 202

    (approval,) = holds.approvals_of(read(db, row))
    assert approval.missing == (6 if shown is None else shown)


def test_worse_facts_than_those_shown_are_refused(client: Client, db: Database) -> None:
    row = held(db, missing=9)
    body = {"rule": "majority", "reason": "x", "facts": {"missing": 6}}

    said = reason(client.post(path(row, "/approve"), body), 409)

    assert said == "The facts have changed: 9 of 10 hosts are missing (shown: 6). Look again."
    assert read(db, row).held_rule == "majority"


def test_a_held_recovery_is_abandoned(client: Client, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db)
    recoveries.about_to_disable(db, taken, "reason")
    holds.hold(db, taken, Gate.LIMITS, Rule.MAJORITY, WHY, {})

    answer = client.post(path(row, "/abandon"), {"reason": "evacuated by hand"})

    assert answer.status_code == 200
    shown = answer.json["recovery"]
    assert (shown["status"], shown["held"]) == ("failed", None)
    assert shown["message"] == "Abandoned by admin: evacuated by hand."
    (left,) = answer.json["to_clean_up"]
    assert left["what"] == "nova-compute on compute1 was disabled."
    now = read(db, row)
    assert (now.held_rule, now.held_since) == (None, None)
    again = reason(client.post(path(row, "/abandon"), {"reason": "x"}), 409)
    assert again == f"Notification {row.uuid} has already ended: it is failed."


@pytest.mark.parametrize("verb", ["retry", "abandon", "approve"])
def test_nothing_is_decided_about_what_an_engine_works_on(
    client: Client, db: Database, verb: str
) -> None:
    row = factories.notification(db, factories.host(db))
    claim(db)
    body = {"reason": "x", **({"rule": "pause"} if verb == "approve" else {})}

    assert row.uuid in reason(client.post(path(row, f"/{verb}"), body), 409)
    assert client.post(f"{ROOT}/recoveries/{NOWHERE}/{verb}", body).status_code == 404


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("abandon", {}, "body: reason must be given."),
        ("approve", {"rule": "pause"}, "body: reason must be given."),
        ("approve", {"reason": "x"}, "body: rule must be given."),
        ("abandon", {"reason": ""}, "reason: "),
        ("abandon", {"reason": " \n\t "}, "reason: "),
        ("retry", {"reason": "a\0"}, "body: "),
        ("retry", {"reason": "a\u202eb"}, "reason: "),
        ("abandon", {"reason": "x" * 1001}, "reason: must have at most 1000 characters."),
        ("abandon", {"reason": 1}, "reason: must be of type string."),
        ("retry", {"reason": "x", "by": "root"}, "body: unknown field 'by'; known fields are"),
        ("approve", {"reason": "x", "rule": "all"}, "rule: must be one of majority, "),
        ("approve", {"reason": "x", "rule": "pause", "facts": {}}, "facts: missing must be given"),
        (
            "approve",
            {"reason": "x", "rule": "pause", "facts": {"missing": -1}},
            "facts/missing: must be 0 or more.",
        ),
        (
            "approve",
            {"reason": "x", "rule": "pause", "facts": {"missing": 1e300}},
            "facts/missing: must be at most 1000000.",
        ),
        (
            "approve",
            {"reason": "x", "rule": "pause", "facts": {"missing": True}},
            "facts/missing: must be of type integer.",
        ),
        ("retry", [], "body: must be of type object."),
    ],
)
def test_bodies_that_are_refused(
    client: Client, db: Database, verb: str, body: Any, said: str
) -> None:
    row = held(db)

    assert reason(client.post(path(row, f"/{verb}"), body), 400).startswith(said)
    assert read(db, row).held_rule == "majority"


# ------------------------------------------------------------------- the API


def test_it_has_no_microversions(client: Client) -> None:
    for version in ("1.0", "1.3", "7.7"):
        answer = client.at(version).get(f"{ROOT}/recoveries")
        assert answer.status_code == 200
        assert "OpenStack-API-Version" not in answer.headers
        assert answer.headers["X-Openstack-Request-Id"].startswith("req-")


def test_it_speaks_json_only(client: Client, db: Database) -> None:
    row = held(db)
    masakari = "application/vnd.openstack.masakari+json"

    for media in (masakari, "text/plain", "application/x-www-form-urlencoded"):
        answer = client.ask(
            "POST", path(row, "/retry"), body=b"{}", headers={"Content-Type": media}
        )
        assert answer.status_code == 415, media
    answer = client.get(f"{ROOT}/recoveries", headers={"Accept": masakari})
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("url", [f"{ROOT}", f"{ROOT}/nothing", "/operator", "/v1/operator"])
def test_other_paths_are_not_found(client: Client, url: str) -> None:
    assert client.get(url).status_code == 404


def test_methods_are_those_of_the_table(client: Client, db: Database) -> None:
    row = held(db)

    for url in (f"{ROOT}/recoveries", path(row), f"{ROOT}/safety", f"{ROOT}/explain/{row.uuid}"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.ask(method, url, json={}).status_code == 405
    assert client.get(path(row, "/retry")).status_code == 405
    assert client.get(f"{ROOT}/safety/pause").status_code == 405
