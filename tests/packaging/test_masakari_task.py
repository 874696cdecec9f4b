# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A third party's task for Masakari, installed beside hacore, runs in a recovery.

The configuration is Masakari's, converted.
"""

import pathlib
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Hacore
from tests.packaging.conftest import Installed
from tests.servers import free_port
from tests.unit import processes

pytestmark = pytest.mark.timeout(1200)

EXAMPLE = pathlib.Path(__file__).parent / "masakari-task-example"
FLOW = (
    "pre:['page_somebody_task'],main:['disable_compute_node_task'],"
    "post:['confirm_compute_node_disabled_task','no_op']"
)


@pytest.fixture(scope="module")
def example(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The environment with the third party's package in it as well."""
    installed.add(EXAMPLE, tmp_path_factory.mktemp("example"))
    return installed


@pytest.fixture
def configuration(example: Installed, tmp_path: pathlib.Path) -> Iterator[tuple[pathlib.Path, int]]:
    """hacore's configuration, made of Masakari's; the port of the API."""
    port = free_port()
    program = example.command("hacore-sandbox")
    with processes.sandbox(tmp_path, "--instances", "4", program=program) as nova:
        masakari = processes.write(
            tmp_path / "masakari.conf",
            {
                "DEFAULT": {
                    "auth_strategy": "noauth2",
                    "masakari_api_listen": "127.0.0.1",
                    "masakari_api_listen_port": port,
                    "os_privileged_user_name": nova["username"],
                    "os_privileged_user_password": nova["password"],
                    "os_privileged_user_tenant": nova["project_name"],
                    "os_privileged_user_auth_url": nova["auth_url"],
                    "os_region_name": nova["region_name"],
                },
                "taskflow_driver_recovery_flows": {"process_failure_recovery_tasks": FLOW},
            },
        )
        path = tmp_path / "hacore.conf"
        converted = example.run("hacore-manage", "convert-config", masakari)
        # hacore-standalone makes its database there
        path.write_text(f"{converted}\n[DEFAULT]\nstate_path = {tmp_path}\n")
        yield path, port


def test_the_task_runs(
    example: Installed, configuration: tuple[pathlib.Path, int], api: Hacore
) -> None:
    path, _ = configuration
    shown = example.run("hacore-manage", "--config-file", path, "flow", "show", "process")
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["1.", "pre", "page_somebody_task", "from", "masakari-task-example"],
        ["2.", "main", "disable_compute_node_task", "from", "hacore"],
        ["3.", "post", "confirm_compute_node_disabled_task", "from", "hacore"],
        ["4.", "post", "no_op", "from", "hacore"],
    ]

    api.make_segment(["compute1"])
    payload = {"event": "STOPPED", "process_name": "nova-compute"}
    notification = api.wait_until_ended(api.notify("PROCESS", "compute1", payload))
    assert notification["status"] == "finished", notification
    steps = notification["recovery_workflow_details"]
    assert [(step["name"], step["state"]) for step in steps] == [
        ("PageSomebodyTask", "SUCCESS"),
        ("DisableComputeNodeTask", "SUCCESS"),
        ("ConfirmComputeNodeDisabledTask", "SUCCESS"),
        ("NoOp", "SUCCESS"),
    ]
