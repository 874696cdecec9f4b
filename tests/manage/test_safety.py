# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is held, why, and what an operator may do about it: typed as an operator types it."""

import getpass
import json
import re

import pytest

from hacore.db import claims, gates, holds
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.states import Answer, Gate, Rule
from tests import factories
from tests.db import services_of
from tests.manage.conftest import Operator, errors

DAY_S = 86400
WHY = (
    "6 of 10 hosts of segment rack1 are missing (a, b), more than 50 %; goes on when no more than "
    "50 % have been missing for 60 s, or when an operator approves it."
)
FACTS = {"domain": "segment rack1", "hosts": 10, "missing": 6, "names": ["a", "b"]}


def held(db: Database, rule: Rule = Rule.MAJORITY, host: str = "compute1") -> Notification:
    """A recovery that an engine has begun and holds; Nova does not hear its host."""
    factories.look(db, host)
    row: Notification = factories.notification(db, factories.host(db, host))
    claim = claims.claim(db, "controller1:1:abc", 60, DAY_S)
    assert claim is not None
    gates.record(db, claim, Gate.PAUSE, Answer.GO, {}, "Nobody has paused recoveries.")
    holds.hold(db, claim, Gate.LIMITS, rule, WHY, FACTS if rule is Rule.MAJORITY else {})
    return row


def test_held_ones_are_listed_with_rule_and_since(operator: Operator, db: Database) -> None:
    row = held(db)
    factories.notification(db, factories.host(db, "compute2"))
    (listed,) = operator.finds("recovery", "list", "--held")
    assert (listed["uuid"], listed["status"], listed["held"]) == (row.uuid, "error", "majority")
    assert listed["message"] == f"Held (majority): {WHY}"
    shown = operator.finds("recovery", "show", row.uuid)
    assert (shown["recovery"]["held"], shown["recovery"]["failed_attempts"]) == ("majority", 0)
    assert shown["recovery"]["held_since"] == listed["held_since"] is not None
    assert [line["message"] for line in shown["history"][-2:]] == [
        WHY,
        f"error: Held (majority): {WHY}",
    ]
    assert len(operator.finds("recovery", "list")) == 2
    (headings, *_) = operator.says("recovery", "list", "--held").splitlines()[1:]
    assert headings.replace("|", "").split() == (
        ["Uuid", "Type", "Host", "Held", "Held", "since", "Came", "in", "Message"]
    )


def test_everything_fits_into_80_columns(operator: Operator, db: Database) -> None:
    row = held(db)
    for verb in (
        ("recovery", "list", "--held"),
        ("recovery", "show", row.uuid),
        ("explain", row.uuid),
    ):
        ended = operator.run(*verb, COLUMNS="80")
        assert ended.status == 0
        assert max(map(len, ended.output.splitlines())) <= 80, ended.output
        assert row.uuid[:30] in ended.output or verb[0] == "explain"


def test_approve(operator: Operator, db: Database) -> None:
    row = held(db)
    said = operator.says(
        "recovery", "approve", row.uuid, "--reason", "they are dead", "--by", "bob"
    )
    assert said == (
        "Approved: majority, for up to 6 missing hosts; it stands for 15 min.\n"
        f"Notification {row.uuid} is due now; an engine with free capacity claims it within 5 s.\n"
    )
    shown = operator.finds("recovery", "show", row.uuid)
    assert (shown["recovery"]["held"], shown["recovery"]["held_since"]) == (None, None)
    (approved,) = shown["recovery"]["approvals"]
    assert re.fullmatch(
        r"majority, by bob at [\d-]+ [\d:]+ UTC, for up to 6 missing hosts", approved
    )
    assert shown["history"][-1]["message"] == "Approved by bob (majority): they are dead."
    assert claims.claim(db, "controller1:1:abc", 60, DAY_S) is not None
    assert operator.is_told("recovery", "approve", row.uuid, "--reason", "again") == (
        f"Notification {row.uuid} is not held; it is running."
    )


def test_what_has_become_worse_is_not_approved(operator: Operator, db: Database) -> None:
    row = held(db)
    arguments = ("recovery", "approve", row.uuid, "--reason", "they are dead")
    assert operator.is_told(*arguments, "--rule", "burst") == (
        f"The facts have changed: notification {row.uuid} is held by majority (shown: burst). "
        "Look again."
    )
    assert operator.is_told(*arguments, "--rule", "majority", "--missing", "5") == (
        "The facts have changed: 6 of 10 hosts are missing (shown: 5). Look again."
    )
    assert operator.says(*arguments, "--rule", "majority", "--missing", "7").startswith(
        "Approved: majority, for up to 7 missing hosts; it stands for 15 min.\n"
    )


@pytest.mark.parametrize(
    ("rule", "way_out"),
    [
        (Rule.PAUSE, "it goes on when the pause ends ('hacore-manage resume')"),
        (Rule.BACKLOG, "it goes on by itself when an engine knows which hosts Nova hears"),
        (
            Rule.PROOF,
            "it goes on when the host is off: see to that, and run "
            "'hacore-manage host confirm-off'; or abandon it",
        ),
    ],
)
def test_what_nobody_can_approve(
    operator: Operator, db: Database, rule: Rule, way_out: str
) -> None:
    row = held(db, rule)
    assert operator.is_told("recovery", "approve", row.uuid, "--reason", "I say so") == (
        f"Notification {row.uuid} is held by {rule}, which nobody can approve; {way_out}."
    )
    assert operator.finds("recovery", "list")[0]["held"] == rule


@pytest.mark.parametrize("rule", [Rule.BURST, Rule.NOVA, Rule.RESTARTS])
def test_what_counts_no_hosts_is_approved_without_a_number(
    operator: Operator, db: Database, rule: Rule
) -> None:
    row = held(db, rule)
    said = operator.says("recovery", "approve", row.uuid, "--reason", "seen myself")
    assert said.startswith(f"Approved: {rule}; it stands for 15 min.\n")


def test_a_retry_of_a_held_one_names_the_ways_out(operator: Operator, db: Database) -> None:
    row = held(db)
    assert operator.is_told("recovery", "retry", row.uuid) == (
        f"Notification {row.uuid} is held (majority), and a retry would be held again; approve it, "
        "so that it goes on, or abandon it."
    )
    assert operator.finds("recovery", "list")[0]["held"] == "majority"


def test_abandon_ends_the_hold(operator: Operator, db: Database) -> None:
    row = held(db)
    operator.says("recovery", "abandon", row.uuid, "--reason", "it is back")
    (listed,) = operator.finds("recovery", "list")
    assert (listed["status"], listed["held"], listed["held_since"]) == ("failed", None, None)
    assert operator.finds("recovery", "list", "--held") == []
    operator.says("recovery", "retry", row.uuid)  # a failed one like any other


# ------------------------------------------------------------------- explain


def test_explain_shows_each_answer_in_order(operator: Operator, db: Database) -> None:
    row = held(db)
    operator.says("recovery", "approve", row.uuid, "--reason", "they are dead")
    again = claims.claim(db, "controller1:1:abc", 60, DAY_S)
    assert again is not None
    gates.record(db, again, Gate.LIMITS, Answer.GO, {"missing": 6}, "An operator approved it.")
    found = operator.finds("explain", row.uuid)
    assert [(each["gate"], each["answer"], each["claim"]) for each in found["gates"]] == [
        ("pause", "go", 1),
        ("limits", "hold", 1),
        ("limits", "go", 2),
    ]
    assert (found["gates"][1]["facts"], found["gates"][1]["message"]) == (FACTS, WHY)
    assert (found["recovery"]["status"], found["recovery"]["held"]) == ("running", None)
    text = operator.says("explain", row.uuid)
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    assert lines == [
        "    Nobody has paused recoveries.",
        f"    {WHY}",
        "    domain: segment rack1; hosts: 10; missing: 6; names: a, b",
        "    An operator approved it.",
        "    missing: 6",
    ]
    first, *_, approved, now = text.splitlines()
    assert re.fullmatch(
        r"COMPUTE_HOST of host compute1, came in at [\d-]+ [\d:]+ \(times in UTC\)", first
    )
    by = re.escape(getpass.getuser())
    assert re.fullmatch(
        rf"Approved: majority, by {by} at [\d-]+ [\d:]+ UTC, for up to 6 missing hosts", approved
    )
    assert found["recovery"]["approvals"] == [approved.removeprefix("Approved: ")]
    assert now.startswith("Now running: ")


def test_explain_says_how_it_is_now(operator: Operator, db: Database) -> None:
    row = held(db)
    last = operator.says("explain", row.uuid).splitlines()[-1]
    assert re.fullmatch(r"Now held \(majority\), since [\d-]+ [\d:]+\.", last)
    fresh = factories.notification(db, factories.host(db, "compute2"))
    assert operator.says("explain", fresh.uuid).splitlines()[1:] == [
        "No gate was asked: no engine has worked on it yet.",
        "Now new: no message",
    ]
    assert claims.claim(db, "controller1:1:abc", 60, DAY_S) is not None
    assert operator.says("explain", fresh.uuid).splitlines()[1:] == [
        "No gate is on record: nothing held it, or an older engine worked on it.",
        "Now running: no message",
    ]
    nobody = "5f2a7c1e-0000-4000-8000-000000000000"
    assert operator.is_told("explain", nobody) == f"No notification has the uuid {nobody}."


# --------------------------------------------------------------------- pause


def test_pause_and_resume_all(operator: Operator, db: Database) -> None:
    said = operator.says("pause", "--reason", "the core switches\nare replaced.", "--by", "carol")
    assert re.fullmatch(
        r"Recoveries of hosts and instances are paused in all segments until they are resumed, by "
        r"carol since [\d-]+ [\d:]+ UTC: the core switches are replaced\.\n",
        said,
    )
    ended = operator.run("recovery", "list", "-f", "json")
    assert (json.loads(ended.output), errors(ended)) == ([], said.removesuffix("\n"))
    assert operator.says("resume") == f"Ended: {said}"
    assert operator.is_told("resume") == "Recoveries are not paused."


def test_a_segment_is_paused_by_its_name_or_uuid(operator: Operator, db: Database) -> None:
    segment = factories.segment(db, name="rack1")
    said = operator.says("pause", "--segment", "rack1", "--reason", "new rails", "--for", "1h30m")
    me = re.escape(getpass.getuser())
    assert re.fullmatch(
        r"Recoveries of hosts and instances are paused in segment rack1 until [\d-]+ [\d:]+ UTC, "
        rf"by {me} since [\d-]+ [\d:]+ UTC: new rails\.\n",
        said,
    )
    again = operator.says("pause", "--segment", segment.uuid, "--reason", "still")
    assert "until they are resumed" in again
    every = operator.says("pause", "--reason", "all of it", "--for", "2d")
    assert operator.says("resume", "--segment", "rack1") == f"Ended: {again}Remains: {every}"
    assert operator.is_told("resume", "--segment", "rack1") == (
        "Segment rack1 has no pause of its own, and all segments are paused; run 'hacore-manage "
        "resume' without --segment."
    )
    assert operator.is_told("pause", "--segment", "rack9", "--reason", "x") == (
        "No segment has the name or the uuid 'rack9'."
    )


@pytest.mark.parametrize("text", ["2", "0s", "h2", "-1h", "400d", "1.5h"])
def test_a_duration_that_is_none(operator: Operator, text: str) -> None:
    ended = operator.run("pause", "--reason", "x", f"--for={text}")
    assert (ended.status, ended.output) == (2, "")
    assert "argument --for: " in ended.error


# ------------------------------------------------------------------ versions


def test_an_older_engine_is_named_where_somebody_looks(operator: Operator, db: Database) -> None:
    services_of.engine(db, "0.1.0", "controller2", pid=7)
    services_of.engine(db, "0.2.0", "controller3", pid=8)
    sentence = (
        "Mass-failure limits, holds and pauses are not enforced until engine 0.1.0 on controller2 "
        "(process 7) is upgraded."
    )
    listed = operator.run("recovery", "list", "-f", "json")
    assert (json.loads(listed.output), errors(listed)) == ([], sentence)
    found = {row["check"]: row for row in json.loads(operator.run("doctor", "-f", "json").output)}
    assert found["engines: versions"] == {
        "check": "engines: versions", "result": "wrong", "detail": sentence
    }  # fmt: skip
