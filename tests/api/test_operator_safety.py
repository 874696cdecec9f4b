# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/safety: limits, what is held, who is not heard; pauses."""

import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from hacore.db import pauses, watch
from hacore.db.engine import Database
from hacore.db.models import Watch
from hacore.states import Rule
from tests import factories
from tests.db import services_of

from .conftest import Client
from .operator_rows import NOWHERE, ROOT, held, look, reason


def safety(client: Client) -> dict[str, Any]:
    shown: dict[str, Any] = client.get(f"{ROOT}/safety").json["safety"]
    return shown


def test_safety_before_any_engine_has_looked(client: Client) -> None:
    shown = safety(client)

    assert shown["limits"] == {
        "max_share": 50,
        "min_hosts": 3,
        "burst_hosts": 10,
        "burst_share": 5,
        "max_restarts": 5,
        "restart_window": 3600,
        "held_expire": 259200,
    }
    assert shown["held"] == {str(rule): 0 for rule in Rule}
    assert shown["heartbeats"] == {
        "current": False,
        "age_s": None,
        "interval_s": None,
        "illness": None,
        "ill_since": None,
        "hosts": 0,
    }
    assert (shown["pauses"], shown["hosts_not_heard"]) == ([], [])


def test_safety_counts_what_is_held_and_names_who_is_not_heard(
    client: Client, db: Database
) -> None:
    held(db, "compute1")
    held(db, "compute2")
    held(db, "compute3", Rule.BURST)
    look(
        db,
        watch.Seen("compute1", "nova", "silent", 40.0, "x"),
        watch.Seen("compute4", "nova", "heard", 400.0, "y"),
        illness="the message bus",
    )

    shown = safety(client)

    assert (shown["held"]["majority"], shown["held"]["burst"], shown["held"]["nova"]) == (2, 1, 0)
    (host,) = shown["hosts_not_heard"]
    assert (host["host"], host["zone"], host["state"]) == ("compute1", "nova", "silent")
    beats = shown["heartbeats"]
    assert (beats["current"], beats["illness"], beats["hosts"]) == (True, "the message bus", 2)
    assert beats["interval_s"] == 10.0
    assert beats["age_s"] >= 0


def test_what_was_seen_long_ago_is_not_current(client: Client, db: Database) -> None:
    look(db, watch.Seen("compute1", "nova", "heard", 40.0, "x"))
    with db.write() as session:
        old = db.now(session) - datetime.timedelta(seconds=16)
        session.execute(sa.update(Watch).values(looked_at=old))

    assert safety(client)["heartbeats"]["current"] is False


def test_a_pause_begins_is_changed_and_ends(
    client: Client, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"scope": "all", "reason": "switches\nare replaced", "seconds": 7200}
    first = client.put(f"{ROOT}/safety/pause", body)
    second = client.put(f"{ROOT}/safety/pause", {"scope": "all", "reason": "still"})
    shown = safety(client)["pauses"]
    ended = client.delete(f"{ROOT}/safety/pause?scope=all&reason=done")
    again = client.delete(f"{ROOT}/safety/pause?scope=all")

    made = first.json["pause"]
    assert (made["by"], made["reason"]) == ("admin", "switches are replaced")
    assert made["until"] is not None
    assert shown == [second.json["pause"]]
    assert second.json["pause"] == {**made, "reason": "still", "until": None}
    assert ended.status_code == 200
    assert reason(again, 409) == "Recoveries are not paused."
    assert pauses.all_of(db) == []
    assert "pause of all: ended by admin: done" in caplog.text


def test_a_pause_of_a_segment(client: Client, db: Database) -> None:
    segment = factories.segment(db)
    url = f"{ROOT}/safety/pause"

    made = client.put(url, {"scope": segment.uuid, "reason": "x"})

    assert made.json["pause"]["scope"] == segment.uuid
    assert client.put(url, {"scope": NOWHERE, "reason": "x"}).status_code == 404
    assert client.put(url, {"scope": "rack 1", "reason": "x"}).status_code == 404
    assert client.delete(f"{url}?scope=all").status_code == 409
    assert reason(client.delete(url), 400).startswith("scope: ")
    assert reason(client.delete(f"{url}?scope=all&reason=%00"), 400)
    assert reason(client.delete(f"{url}?scope=all&reason=%1b"), 400).startswith("reason: ")
    assert client.delete(f"{url}?scope={segment.uuid}").status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"reason": "x"}, "body: scope must be given."),
        ({"scope": "all"}, "body: reason must be given."),
        ({"scope": "all", "reason": "x", "seconds": 0}, "seconds: must be 1 or more."),
        ({"scope": "all", "reason": "x", "seconds": 1e12}, "seconds: must be at most "),
        ({"scope": "all", "reason": "x", "seconds": 0.5}, "seconds: must be of type integer."),
        ({"scope": "", "reason": "x"}, "scope: must not be empty."),
    ],
)
def test_pauses_that_are_refused(client: Client, db: Database, body: Any, said: str) -> None:
    assert reason(client.put(f"{ROOT}/safety/pause", body), 400).startswith(said)
    assert pauses.all_of(db) == []


def test_engines_that_hold_nothing_are_named(client: Client, db: Database) -> None:
    before = client.get(f"{ROOT}/safety")
    services_of.engine(db, "0.1.0")

    after = client.get(f"{ROOT}/safety", headers={"If-None-Match": before.headers["ETag"]})

    assert before.json["safety"]["not_enforced"] is None
    assert after.status_code == 200
    assert "0.1.0 on controller1" in after.json["safety"]["not_enforced"]
