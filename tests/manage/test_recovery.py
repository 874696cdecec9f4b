# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage recovery and service, typed as an operator types them."""

import getpass
import json
import re

import pytest
import requests

from hacore.db import claims, leases, moves, recoveries
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.heartbeat import Heartbeat
from hacore.states import MoveStatus
from hacore.states import NotificationStatus as Status
from tests import factories
from tests.e2e.daemons import Daemon, wait_for
from tests.manage.conftest import Operator
from tests.servers import free_port
from tests.unit import processes

DAY_S = 86400
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def claim(db: Database, owner: str = "controller1:4711:abc", lease_s: float = 60) -> claims.Claim:
    taken = claims.claim(db, owner, lease_s, DAY_S)
    assert taken is not None
    return taken


def given_up(db: Database, name: str = "compute1") -> Notification:
    row: Notification = factories.notification(db, factories.host(db, name))
    claims.finish(db, claim(db), Status.FAILED, "It failed. Given up after 1 attempt.", failed=True)
    return row


def test_the_list_shows_and_filters(operator: Operator, db: Database) -> None:
    broken = given_up(db)
    waiting = factories.notification(db, factories.host(db, "compute2"))
    listed = operator.finds("recovery", "list")
    assert [row["uuid"] for row in listed] == [waiting.uuid, broken.uuid]
    came_in = listed[1].pop("came_in")
    assert TIME.fullmatch(came_in)
    assert listed[1] == {
        "uuid": broken.uuid,
        "type": "COMPUTE_HOST",
        "host": "compute1",
        "status": "failed",
        "held": None,
        "held_since": None,
        "failed_attempts": 1,
        "owner": None,
        "message": "It failed. Given up after 1 attempt.",
    }
    for filters, wanted in (
        (("--status", "failed"), broken),
        (("--host", "compute2"), waiting),
        (("--limit", "1"), waiting),
    ):
        assert [row["uuid"] for row in operator.finds("recovery", "list", *filters)] == [
            wanted.uuid
        ]
    table = operator.says("recovery", "list")
    assert f"| {broken.uuid} | COMPUTE_HOST | compute1 | failed | " in table


def test_rolling_restarts_are_no_attempts(operator: Operator, db: Database) -> None:
    """Each stopping engine hands its claim over; none of that is an attempt that failed."""
    row = factories.notification(db, factories.host(db))
    for number in range(4):
        taken = claim(db, f"controller{number}:1:abc")
        claims.release(db, taken, "the engine stops")
    assert taken.number == 4
    assert operator.finds("recovery", "list")[0]["failed_attempts"] == 0
    claims.finish(db, claim(db), Status.ERROR, "It failed.", failed=True, retry_after_s=0)
    (listed,) = operator.finds("recovery", "list")
    assert (listed["failed_attempts"], listed["message"]) == (1, "It failed.")
    shown = operator.finds("recovery", "show", row.uuid)
    assert shown["recovery"]["failed_attempts"] == 1
    assert {line["claim"] for line in shown["history"]} == {1, 2, 3, 4, 5}


def test_the_whole_story_of_a_recovery_under_way(operator: Operator, db: Database) -> None:
    row = factories.notification(db, factories.host(db), request_id="req-1")
    taken = claim(db)
    leases.record(db, Notification, taken, "evacuate", state="RUNNING", progress=0.0)
    (move,) = moves.prepare(db, taken, [moves.Plan("i-1", "vm-1", "active", 1, 0)])
    move.locked = True
    moves.begin(db, taken, move)
    moves.end(db, taken, move, MoveStatus.FAILED, step="evacuate", message="No host.", progress=0.5)
    story = operator.finds("recovery", "show", row.uuid)
    assert list(story) == ["recovery", "steps", "moves", "history"]
    facts = story["recovery"]
    assert re.fullmatch(r"[1-6]?\d s left", facts.pop("lease"))
    assert {
        "status": "running",
        "owner": "controller1:4711:abc",
        "failed_attempts": 0,
        "host": "compute1",
        "payload": factories.STOPPED,
        "request_id": "req-1",
        "retry_at": None,
    }.items() <= facts.items()
    (step,) = story["steps"]
    assert (step["claim"], step["step"], step["state"], step["progress"]) == (
        1, "evacuate", "RUNNING", 0.5
    )  # fmt: skip
    (shown,) = story["moves"]
    assert (shown["instance"], shown["status"], shown["locked"], shown["message"]) == (
        "i-1", "failed", True, "No host."
    )  # fmt: skip
    assert [event["message"] for event in story["history"]] == [
        "Claimed by controller1:4711:abc (claim 1).", None, "Instance i-1: No host."
    ]  # fmt: skip
    assert all(TIME.fullmatch(event["time"]) for event in story["history"])
    table = operator.says("recovery", "show", row.uuid)
    headings = [line for line in table.splitlines() if line[0] not in "+|"]
    assert headings == ["Recovery", "Steps", "Moves", "History"]


def test_one_whose_engine_died_says_so(operator: Operator, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    recoveries.begin_maintenance(db, claim(db, lease_s=-5))
    story = operator.finds("recovery", "show", row.uuid)
    assert re.fullmatch(r"expired \d+ s ago; due for the next engine", story["recovery"]["lease"])
    assert story["to_clean_up"] == [
        {
            "what": "Host compute1 is on maintenance: notifications for it are rejected.",
            "command": f"openstack segment host update {row.segment_uuid} compute1 "
            "--on_maintenance False",
        }
    ]


@pytest.mark.parametrize("verb", ["show", "retry", "abandon"])
def test_one_that_does_not_exist(operator: Operator, verb: str) -> None:
    nobody = "5f2a7c1e-0000-4000-8000-000000000000"
    more = ("--reason", "because") if verb == "abandon" else ()
    assert operator.is_told("recovery", verb, nobody, *more) == (
        f"No notification has the uuid {nobody}."
    )


def test_retry_in_one_sentence_each(operator: Operator, db: Database) -> None:
    row = given_up(db)
    assert operator.says("recovery", "retry", row.uuid) == (
        f"Notification {row.uuid} is due now; an engine with free capacity claims it within 5 s.\n"
    )
    (shown,) = operator.finds("recovery", "list")
    assert shown["message"].startswith(f"Retry requested by {getpass.getuser()}. Before: ")
    claim(db)
    assert operator.is_told("recovery", "retry", row.uuid).startswith(
        f"Notification {row.uuid} is claimed by controller1:4711:abc (lease until "
    )


def test_abandon_lists_what_must_be_cleaned_up(operator: Operator, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    taken = claim(db)
    recoveries.about_to_disable(db, taken, "It failed.")
    (move,) = moves.prepare(db, taken, [moves.Plan("i-1", "vm-1", "active", 1, 0)])
    move.locked = True
    moves.begin(db, taken, move)
    arguments = ("recovery", "abandon", "--by", "alice", "--reason", "the host\nwas sold", row.uuid)
    assert "is claimed by" in operator.is_told(*arguments)
    claims.release(db, taken, "the engine stops")
    assert operator.says(*arguments) == (
        f"Notification {row.uuid} is now failed.\n"
        "To be cleaned up; check each item before you run its command:\n"
        "* Instance i-1 (vm-1) may be under evacuation.\n"
        "      openstack server migration list --server i-1\n"
        "* Instance i-1 (vm-1) may be locked by this recovery.\n"
        "      openstack server unlock i-1\n"
        "* nova-compute on compute1 was disabled.\n"
        "      openstack compute service set --enable compute1 nova-compute\n"
    )
    (shown,) = operator.finds("recovery", "list")
    assert (shown["status"], shown["message"]) == (
        "failed",
        "Abandoned by alice: the host was sold. Still locked: i-1.",
    )


def test_abandon_wants_a_reason(operator: Operator, db: Database) -> None:
    row = factories.notification(db, factories.host(db))
    ended = operator.run("recovery", "abandon", row.uuid, "--reason", " ")
    assert ended.status == 2
    assert ended.error.endswith("error: argument --reason: must not be empty\n")
    assert operator.finds("recovery", "list")[0]["status"] == "new"


def test_what_is_not_held_is_retried_by_a_real_engine(operator: Operator, db: Database) -> None:
    """The engine that takes it is listed with it, is gone after SIGTERM, dead after kill -9."""
    operator.change(DEFAULT={"claim_lease": 3, "verify_interval": 0.1})
    row = given_up(db, "compute4")
    server = operator.cloud.control("POST", "servers", {"count": 1, "hosts": ["compute4"]})
    assert len(server["ids"]) == 1
    operator.says("recovery", "retry", row.uuid)
    file = processes.write(operator.folder / "hacore.conf", operator.configuration)
    engine = Daemon(
        "hacore-engine",
        [processes.command("hacore-engine"), f"--config-file={file}"],
        operator.folder / "engine.log",
    )
    try:
        claimed = f"{row.uuid} (COMPUTE_HOST of compute4)"
        # compute4 lives: the engine waits for Nova to see it down
        listed = wait_for(
            "the engine to take it",
            lambda: [one for one in operator.finds("service", "list") if one["claims"]],
            60,
        )
        assert [(one["binary"], one["state"], one["claims"]) for one in listed] == [
            ("hacore-engine", "alive", [claimed])
        ]
        owner = operator.finds("recovery", "show", row.uuid)["recovery"]["owner"]
        assert owner.startswith(f"{listed[0]['host']}:{listed[0]['pid']}:")
        engine.kill()
        wait_for(
            "the engine to be dead",
            lambda: [one["state"] for one in operator.finds("service", "list")] == ["dead"],
            60,
        )
    finally:
        engine.end()


@pytest.mark.parametrize("how", ["hacore-api", "hacore-standalone", "gunicorn"])
def test_an_api_is_listed_while_it_runs(operator: Operator, how: str) -> None:
    port = free_port()
    operator.change(api={"port": port}, DEFAULT={"claim_lease": 3})
    file = processes.write(operator.folder / "hacore.conf", operator.configuration)
    command = [processes.command(how), f"--config-file={file}"]
    if how == "gunicorn":
        bind = f"127.0.0.1:{port}"
        command = [processes.command(how), "--workers=2", "--bind", bind]
        command.append("hacore.cmd.wsgi:application")
    daemon = Daemon(how, command, operator.folder / "api.log", {"HACORE_CONFIG_FILES": str(file)})
    wanted = {
        "hacore-api": ["hacore-api"],
        "hacore-standalone": ["hacore-api", "hacore-engine"],
        "gunicorn": ["hacore-api", "hacore-api"],
    }[how]

    def listed() -> list[tuple[str, str]]:
        return [(one["binary"], one["state"]) for one in operator.finds("service", "list")]

    try:
        wait_for(
            "it to be listed",
            lambda: listed() == [(binary, "alive") for binary in wanted],
            60,
        )
        first = {one["pid"]: one["last_seen"] for one in operator.finds("service", "list")}
        wait_for(
            "it to be seen again",
            lambda: all(
                one["last_seen"] > first[one["pid"]] for one in operator.finds("service", "list")
            ),
            30,
        )
        assert requests.get(f"http://127.0.0.1:{port}/v1/segments", timeout=10).ok
    finally:
        daemon.end()
    assert listed() == []


def test_the_table_of_services(operator: Operator, db: Database) -> None:
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    heartbeat.beat()
    factories.notification(db, factories.host(db))
    taken = claim(db, heartbeat.name)
    table = operator.says("service", "list")
    assert "| Binary        | Host        | Pid " in table
    assert f"| {taken.uuid} (COMPUTE_HOST of compute1) |" in table
    assert json.loads(operator.says("service", "list", "-f", "json"))[0]["state"] == "alive"
