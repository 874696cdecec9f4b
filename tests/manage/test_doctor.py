# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage doctor: each thing that can be wrong, and the sentence that mends it."""

import datetime
import json
import re
import uuid
from typing import Any

import pytest
from oslo_config import cfg

from hacore.clock import SystemClock
from hacore.cmd.manage.doctor import examine
from hacore.cmd.manage.findings import wrong
from hacore.db.engine import Database
from tests import factories
from tests.manage.conftest import Operator
from tests.services import skip_unless_required

ACTIONS = "nova: act on servers"


def findings(operator: Operator, *arguments: str) -> dict[str, tuple[str, str]]:
    """Result and detail of each check; the exit status must fit to them."""
    ended = operator.run("doctor", "-f", "json", *arguments)
    assert ended.error == ""
    found = {row["check"]: (row["result"], row["detail"]) for row in json.loads(ended.output)}
    assert ended.status == int(any(result == "wrong" for result, _ in found.values()))
    return found


def wrongs(operator: Operator, *arguments: str) -> dict[str, str]:
    """What is wrong, by check."""
    found = findings(operator, *arguments)
    return {check: detail for check, (result, detail) in found.items() if result == "wrong"}


def test_a_cloud_that_is_well(operator: Operator, db: Database) -> None:
    segment = factories.segment(db)
    for name in ("compute1", "compute2"):
        factories.host(db, name, segment_uuid=segment.uuid)
    found = findings(operator)
    assert {check: result for check, (result, _) in found.items() if result != "ok"} == {
        ACTIONS: "not checked",
        "fencing devices": "not checked",
        "nova: heartbeats": "not checked",
    }
    assert found["nova: heartbeats"][1] == "No engine watches Nova; start hacore-engine."
    assert found["database"] == ("ok", "Schema 0008_needs_0001.")
    assert found["nova"] == ("ok", "Microversion 2.90.")
    assert found["hosts"] == (
        "ok", "2 registered, all known to Nova. In no segment: compute3, compute4."
    )  # fmt: skip


def test_the_doctor_changes_nothing(operator: Operator) -> None:
    before = operator.cloud.control("GET", "state")
    findings(operator)
    after = operator.cloud.control("GET", "state")
    assert {**before, "now": 0} == {**after, "now": 0}


def test_the_table_has_the_same(operator: Operator) -> None:
    ended = operator.run("doctor")
    assert ended.status == 0
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in ended.output.splitlines()
        if line.startswith("|")
    ]
    assert lines[0] == ["Check", "Result", "Detail"]
    found = findings(operator)
    assert {row[0]: row[1] for row in lines[1:]} == {
        check: result for check, (result, _) in found.items()
    }


# --------------------------------------------------------- hacore's own things


def test_the_database_is_away(operator: Operator) -> None:
    url = f"mysql+pymysql://root@127.0.0.1:{operator.nothing}/hacore"
    operator.change(database={"connection": url})
    found = findings(operator)
    result, detail = found["database"]
    assert result == "wrong"
    assert re.fullmatch(
        r"The database is unavailable: .*Can't connect to MySQL server on '127\.0\.0\.1' .*; check "
        r"\[database\] connection, and the database server\.",
        detail,
    )
    assert found["hosts"] == ("not checked", "Fix the database first.")
    assert found["nova"][0] == "ok"


def test_there_are_no_tables(operator: Operator) -> None:
    operator.change(database={"connection": f"sqlite:///{operator.folder}/empty.sqlite"})
    assert wrongs(operator) == {
        "database": "The database has no tables of hacore; run 'hacore-manage db sync'."
    }


def test_the_broker_is_away(operator: Operator) -> None:
    url = f"rabbit://guest:guest@127.0.0.1:{operator.nothing}/"
    operator.change(DEFAULT={"transport_url": url})
    found = wrongs(operator)
    assert set(found) == {"message bus"}
    # the words behind the number are the concurrency back end's
    assert re.fullmatch(
        r"The message bus is unavailable: \[Errno 111\] [\w ]+; check \[DEFAULT\] transport_url "
        r"\(user, password, host, port, virtual host\) and the broker\. Until then recoveries "
        r"start up to 5 s later\.",
        found["message bus"],
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rabbit://guest:wrong@127.0.0.1:5672/", "Login was refused"),
        ("rabbit://guest:guest@127.0.0.1:5672/nowhere", "vhost nowhere not found"),
    ],
)
def test_the_broker_refuses_us(operator: Operator, url: str, reason: str) -> None:
    skip_unless_required("RabbitMQ on port 5672")
    operator.change(DEFAULT={"transport_url": url})
    (detail,) = wrongs(operator).values()
    assert detail.startswith("The message bus is unavailable: ")
    assert reason in detail
    assert "check [DEFAULT] transport_url (user, password, host, port, virtual host)" in detail


def test_a_step_is_not_installed(operator: Operator) -> None:
    operator.change(
        taskflow_driver_recovery_flows={"process_failure_recovery_tasks": "pre:['fence']"}
    )
    (detail,) = wrongs(operator).values()
    assert detail.startswith(
        "[taskflow_driver_recovery_flows] process_failure_recovery_tasks: unknown task 'fence'"
    )


# ------------------------------------------------------------------- the API


def test_a_machine_for_engines_only_needs_no_login_for_tokens(operator: Operator) -> None:
    operator.change(DEFAULT={"auth_strategy": "keystone"})
    assert findings(operator)["api: policy and tokens"] == (
        "not checked",
        "[keystone_authtoken] has no auth_type; set it and the options of that login, unless this "
        "machine runs engines only.",
    )


def test_the_login_that_checks_tokens_is_wrong(operator: Operator) -> None:
    operator.change(
        DEFAULT={"auth_strategy": "keystone"},
        keystone_authtoken={**operator.cloud.login, "password": "wrong"},
    )
    (detail,) = wrongs(operator).values()
    assert re.fullmatch(
        r"Failed to log in to Keystone: The request you have made requires authentication.*; "
        r"check the login in \[keystone_authtoken\]\.",
        detail,
    )


def test_the_policy_cannot_be_read(operator: Operator) -> None:
    operator.change(oslo_policy={"policy_file": "/nowhere/policy.yaml"})
    (detail,) = wrongs(operator).values()
    assert "[oslo_policy] policy_file names /nowhere/policy.yaml, which does not exist" in detail


# ------------------------------------------------------------ Keystone, Nova


def test_the_password_is_wrong(operator: Operator) -> None:
    operator.change(nova={"password": "wrong"})
    found = findings(operator)
    assert found["keystone"][0] == "wrong"
    assert re.fullmatch(
        r"Failed to log in to Keystone: The request you have made requires authentication.*; "
        r"check the login in \[nova\]\.",
        found["keystone"][1],
    )
    assert "nova" not in found


def test_keystone_is_away(operator: Operator) -> None:
    url = f"http://127.0.0.1:{operator.nothing}/identity/v3"
    operator.change(nova={"auth_url": url})
    (detail,) = wrongs(operator).values()
    assert re.fullmatch(
        rf"Keystone is unavailable: Unable to establish connection to {url}\S*: \[Errno 111\] "
        r"[\w ]+; check \[nova\] auth_url and Keystone\.",
        detail,
    )


def test_the_region_is_wrong(operator: Operator) -> None:
    operator.change(nova={"region_name": "RegionTwo"})
    found = findings(operator)
    assert found["keystone"][0] == "ok"
    assert found["nova"][0] == "wrong"
    assert found["nova"][1].endswith(
        "endpoint for compute service in RegionTwo region not found; check [nova] region_name and "
        "valid_interfaces against the service catalog."
    )


def test_nova_is_away(operator: Operator) -> None:
    operator.cloud.faults(calls=[{"service": "compute", "status": 503}])
    (detail,) = wrongs(operator).values()
    assert re.fullmatch(r"Nova is unavailable: .*; check that nova-api runs\.", detail)


def test_the_microversion_is_too_old(operator: Operator, old_login: dict[str, str]) -> None:
    operator.change(nova={**old_login})
    assert wrongs(operator) == {
        "nova": "Nova offers microversions up to 2.42; hacore needs 2.53 (Pike) or later."
    }


# --------------------------------------------------------------------- rights


@pytest.mark.parametrize(
    ("fault", "check", "rule"),
    [
        ({"method": "GET", "path": "/os-services"}, "read compute services", "os-services:list"),
        (
            {"method": "PUT", "body": '"forced_down"'},
            "force a compute service down",
            "os-services:update",
        ),
        (
            {"method": "PUT", "body": '"disabled"'},
            "disable a compute service",
            "os-services:update",
        ),
        ({"path": "/os-migrations"}, "list evacuations", "os-migrations:index"),
        (
            {"path": "/servers/detail"},
            "list servers of a host",
            "servers:detail:get_all_tenants",
        ),
        ({"path": "/action", "body": "evacuate"}, "evacuate a server", "os-evacuate"),
        ({"path": "/action", "body": '"lock"'}, "lock a server", "os-lock-server:lock"),
        (
            {"path": "/action", "body": "os-resetState"},
            "reset the state of a server",
            "os-admin-actions:reset_state",
        ),
        ({"path": "/action", "body": "os-stop"}, "stop a server", "servers:stop"),
        ({"path": "/action", "body": "os-start"}, "start a server", "servers:start"),
    ],
)
def test_a_call_is_forbidden(
    operator: Operator, fault: dict[str, Any], check: str, rule: str
) -> None:
    operator.cloud.faults(calls=[{"service": "compute", "status": 403, **fault}])
    found = wrongs(operator)
    detail = found[f"nova: {check}"]
    assert detail.startswith("Failed to ")
    assert detail.endswith(
        f"; allow hacore's user os_compute_api:{rule} in Nova's policy, or give it the admin role."
    )
    assert set(found) == {f"nova: {check}"}


def test_aggregates_count_only_where_they_are_needed(operator: Operator) -> None:
    operator.cloud.faults(calls=[{"path": "/os-aggregates", "status": 403}])
    assert wrongs(operator) == {}
    operator.change(host_failure={"add_reserved_host_to_aggregate": True})
    assert set(wrongs(operator)) == {
        "nova: list aggregates", "nova: add a host to an aggregate"
    }  # fmt: skip


def test_a_user_who_is_no_administrator(operator: Operator) -> None:
    operator.cloud.control("POST", "servers", {"count": 1})
    operator.change(nova={"username": "demo", "password": "demo", "project_name": "demo"})
    found = wrongs(operator)
    assert {
        "nova: read compute services",
        "nova: disable a compute service",
        "nova: enable a compute service",
        "nova: force a compute service down",
        "nova: list evacuations",
        "nova: list servers of a host",
        "nova: list uuids of a host",
    } <= set(found)


def test_a_server_that_may_be_restarted_tells_the_rest(operator: Operator) -> None:
    server = operator.cloud.control("POST", "servers", {"count": 1})["ids"][0]
    found = findings(operator, "--instance", server)
    actions = ("lock", "unlock", "evacuate", "reset the state of", "stop", "start")
    assert [found[f"nova: {action} a server"] for action in actions] == [("ok", "")] * 6
    assert ACTIONS not in found
    (shown,) = [
        one for one in operator.cloud.control("GET", "state")["servers"] if one["id"] == server
    ]
    assert (shown["vm_state"], shown["locked"]) == ("active", False)


def test_a_server_that_stays_locked_is_told(operator: Operator) -> None:
    server = operator.cloud.control("POST", "servers", {"count": 1})["ids"][0]
    operator.cloud.faults(calls=[{"path": "/action", "body": "unlock", "status": 403}])
    found = wrongs(operator, "--instance", server)
    assert set(found) == {"nova: unlock a server", ACTIONS}
    assert found[ACTIONS] == (
        f"Server {server} stays locked; run 'openstack server unlock {server}'."
    )


@pytest.mark.parametrize(
    ("states", "what"),
    [
        ({"vm_state": "stopped"}, "is stopped, task None, not locked"),
        ({"task_state": "rebooting"}, "is active, task rebooting, not locked"),
        ({"locked": True}, "is active, task None, locked"),
    ],
)
def test_a_server_that_is_in_use_is_left_alone(
    operator: Operator, states: dict[str, Any], what: str
) -> None:
    body = {"count": 1, "states": states}
    server = operator.cloud.control("POST", "servers", body)["ids"][0]
    assert wrongs(operator, "--instance", server) == {
        ACTIONS: f"Server {server} {what}; name one that is active, without a task and not locked."
    }


def test_a_server_that_is_none(operator: Operator) -> None:
    nobody = str(uuid.uuid4())
    (detail,) = wrongs(operator, "--instance", nobody).values()
    assert detail.startswith(f"Failed to read instance {nobody}: ")
    assert detail.endswith("; --instance must be the UUID of a server.")


# -------------------------------------------------------------- names, clocks


def test_a_host_is_registered_under_a_wrong_name(operator: Operator, db: Database) -> None:
    segment = factories.segment(db, name="rack1")
    for name in ("compute2", "compute1.example.org"):
        factories.host(db, name, segment_uuid=segment.uuid)
    assert wrongs(operator) == {
        "hosts": "Host compute1.example.org of segment rack1 is not a compute service of Nova, so "
        "nothing can be evacuated from it; if compute1 is meant, run 'openstack segment host "
        f"update {segment.uuid} compute1.example.org --name compute1'."
    }


def test_a_host_is_registered_without_its_domain(operator: Operator, db: Database) -> None:
    name = "COMPUTE1.a-domain-that-is-much-longer-than-the-name-of-the-host.example.org"
    factories.host(db, name, segment_uuid=factories.segment(db).uuid)
    assert "if compute1 is meant, run" in wrongs(operator)["hosts"]


def test_a_host_is_registered_that_resembles_none(operator: Operator, db: Database) -> None:
    segment = factories.segment(db, name="rack1")
    factories.host(db, "db-7", segment_uuid=segment.uuid)
    (detail,) = wrongs(operator).values()
    assert detail == (
        "Host db-7 of segment rack1 is not a compute service of Nova, so nothing can be "
        "evacuated from it; register it under its name in 'openstack compute service list'."
    )


@pytest.mark.parametrize(("ahead_s", "words"), [(120, "120 s ahead of"), (-3600, "3600 s behind")])
def test_the_clock_of_the_cloud_is_wrong(operator: Operator, ahead_s: float, words: str) -> None:
    operator.cloud.faults(clock_ahead_s=ahead_s)
    for check, whose in {"clock: Keystone": "Keystone", "clock: Nova": "Nova's API"}.items():
        detail = wrongs(operator)[check]
        assert re.sub(r"\d+", lambda n: str(round(int(n[0]), -1)), detail) == (
            f"The clock of {whose} is {words} this machine's; synchronize both with the same "
            "time servers (chronyc tracking)."
        )


class Late(SystemClock):
    """The clock of a machine that is behind."""

    def now(self) -> datetime.datetime:
        return super().now() - datetime.timedelta(minutes=3)


def test_this_machine_is_behind_the_database(db: Database, conf: cfg.ConfigOpts) -> None:
    conf.set_override("auth_strategy", "noauth2")
    findings = examine(conf, Late())
    finding = next(one for one in findings if one.check == "clock: database")
    assert finding == wrong(
        "clock: database",
        "The clock of the database is 180 s ahead of this machine's; synchronize both with the "
        "same time servers (chronyc tracking).",
    )
