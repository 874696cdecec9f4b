# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-status upgrade check: what it lets pass, what it stops, and what it says."""

import json
import pathlib

import pytest

from hacore.cmd.upgrade import NAMESPACES
from tests.manage.conftest import Operator
from tests.unit import processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUCCESS, WARNING, FAILURE = 0, 1, 2


def check(operator: Operator) -> dict[str, tuple[int, str]]:
    """Result and details of each check that has not passed; the exit status must fit."""
    ended = operator.run("upgrade", "check", "--json", program="hacore-status")
    assert ended.error == ""
    checks = json.loads(ended.output)["checks"]
    assert ended.status == max(one["result"] for one in checks)
    assert [one["check"] for one in checks] == [
        "Values of options", "Names of options", "Database", "Policy file", "Recovery flows"
    ]  # fmt: skip
    return {
        one["check"]: (one["result"], one["details"]) for one in checks if one["result"] != SUCCESS
    }


def test_all_is_well(operator: Operator) -> None:
    assert check(operator) == {}
    ended = operator.run("upgrade", "check", program="hacore-status")
    assert "| Check: Database " in ended.output


def test_the_database_is_not_synced(operator: Operator) -> None:
    operator.change(database={"connection": f"sqlite:///{operator.folder}/empty.sqlite"})
    assert check(operator) == {
        "Database": (
            FAILURE,
            "The database has no tables of hacore; run 'hacore-manage db sync'.",
        )
    }


def test_the_database_is_away(operator: Operator) -> None:
    url = f"mysql+pymysql://root@127.0.0.1:{operator.nothing}/hacore"
    operator.change(database={"connection": url})
    result, details = check(operator)["Database"]
    assert result == FAILURE
    assert details.endswith("; check [database] connection, and the database server.")


def test_the_policy_is_json(operator: Operator) -> None:
    policy = operator.folder / "policy.json"
    policy.write_text('{"os_masakari_api:segments:index": "role:admin"}')
    operator.change(oslo_policy={"policy_file": policy})
    result, details = check(operator)["Policy file"]
    assert result == FAILURE
    assert "``oslopolicy-convert-json-to-yaml``" in details


def test_a_step_is_gone(operator: Operator) -> None:
    operator.change(
        taskflow_driver_recovery_flows={"process_failure_recovery_tasks": "pre:['fence']"}
    )
    result, details = check(operator)["Recovery flows"]
    assert result == FAILURE
    assert "unknown task 'fence' (in pre)" in details


def test_a_value_is_not_allowed_any_more(operator: Operator) -> None:
    operator.change(host_failure={"force_down": "sometimes"})
    result, details = check(operator)["Values of options"]
    assert result == FAILURE
    assert details.startswith("Option [host_failure] force_down is wrong: Valid values are")


@pytest.mark.parametrize(
    ("group", "name", "sentence"),
    [
        (
            "DEFAULT",
            "claim_leese",
            "[DEFAULT] claim_leese is not an option and has no effect; remove it from {file}, or "
            "correct its name.",
        ),
        (
            "host_failure",
            "ignore-instances-in-error-stat",
            "[host_failure] ignore_instances_in_error_stat is not an option and has no effect; "
            "remove it from {file}, or correct its name.",
        ),
        (
            "DEFAULT",
            "rpc_thread_pool_size",
            "[DEFAULT] rpc_thread_pool_size is now called [DEFAULT] executor_thread_pool_size; "
            "rename it in {file}.",
        ),
    ],
)
def test_a_name_that_has_no_effect_or_is_old(
    operator: Operator, group: str, name: str, sentence: str
) -> None:
    operator.change(**{group: {name: 5}})
    file = operator.folder / "hacore.conf"
    assert check(operator) == {"Names of options": (WARNING, sentence.format(file=file))}


def test_options_of_others_are_theirs(operator: Operator) -> None:
    operator.change(acme={"rack": 7}, nova={"system_scope": "all"})
    assert "Names of options" not in check(operator)


def test_without_a_configuration_it_cannot_check(operator: Operator) -> None:
    file = operator.folder / "none.conf"
    ended = processes.run(
        operator.folder, ["hacore-status", f"--config-file={file}", "upgrade", "check"]
    )
    assert (ended.status, ended.error) == (
        255,
        f"hacore-status: Configuration file {file} not found; create it, or name another with "
        "--config-file.\n",
    )


def test_the_options_are_those_of_the_sample() -> None:
    lines = (ROOT / "etc/hacore/hacore-config-generator.conf").read_text().splitlines()
    names = {line.partition("=")[2].strip() for line in lines if line.startswith("namespace")}
    assert names == NAMESPACES
