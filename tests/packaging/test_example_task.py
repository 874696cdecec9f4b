# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A third party's steps, installed beside hacore into a new environment, run in a recovery."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Hacore
from tests.packaging.conftest import ROOT, Installed
from tests.servers import free_port
from tests.unit import processes

pytestmark = pytest.mark.timeout(1200)

EXAMPLE = ROOT / "doc" / "examples" / "hacore-fencing-example"
FLOW = (
    "pre:['example_fence_task','disable_compute_service_task'],"
    "main:['prepare_HA_enabled_instances_task'],"
    "post:['evacuate_instances_task','announce_task']"
)
FENCE = """\
import sys
import urllib.request

url, host = sys.argv[1:]
urllib.request.urlopen(urllib.request.Request(f"{url}/control/hosts/{host}/kill", b"{}"))
"""


@pytest.fixture(scope="module")
def example(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The environment with the third party's package in it as well."""
    installed.add(EXAMPLE, tmp_path_factory.mktemp("example"))
    return installed


@pytest.fixture
def cloud(example: Installed, tmp_path: pathlib.Path) -> Iterator[dict[str, str]]:
    """A cloud with two instances on each of four hosts, all of them alive."""
    program = example.command("hacore-sandbox")
    with processes.sandbox(tmp_path, "--instances", "8", program=program) as login:
        yield login


@pytest.fixture
def configuration(
    example: Installed, cloud: dict[str, str], tmp_path: pathlib.Path
) -> tuple[pathlib.Path, int]:
    """A configuration file with both steps in the flow of hosts; the port of the API."""
    fence = tmp_path / "fence.py"
    fence.write_text(FENCE)
    port = free_port()
    url = cloud["auth_url"].removesuffix("/identity/v3")
    path = processes.write(
        tmp_path / "hacore.conf",
        {
            "DEFAULT": {"auth_strategy": "noauth2", "state_path": tmp_path},
            "api": {"port": port},
            "nova": cloud,
            "example_fence": {
                "off_command": f"{example.command('python')} {fence} {url} {{host}}",
                "status_command": "echo Chassis Power is off",
            },
            "taskflow_driver_recovery_flows": {"host_auto_failure_recovery_tasks": FLOW},
        },
    )
    return path, port


def test_the_flow_says_whose_its_steps_are(
    example: Installed, configuration: tuple[pathlib.Path, int]
) -> None:
    path, _ = configuration
    shown = example.run("hacore-manage", "--config-file", path, "flow", "show", "host-auto")
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["1.", "pre", "example_fence_task", "from", "hacore-fencing-example"],
        ["2.", "pre", "disable_compute_service_task", "from", "hacore"],
        ["3.", "main", "prepare_HA_enabled_instances_task", "from", "hacore"],
        ["4.", "post", "evacuate_instances_task", "from", "hacore"],
        ["5.", "post", "announce_task", "from", "hacore-fencing-example"],
    ]


def test_the_steps_run(api: Hacore) -> None:
    """The monitor is mistaken, compute1 lives: the step switches it off, so Nova lets it go."""
    api.make_segment([f"compute{number}" for number in range(1, 5)])
    payload = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
    uuid = api.notify("COMPUTE_HOST", "compute1", payload)
    notification = api.wait_until_ended(uuid)
    assert notification["status"] == "finished", notification
    steps = notification["recovery_workflow_details"]
    assert [(step["name"], step["state"], float(step["progress"])) for step in steps] == [
        ("ExampleFenceTask", "SUCCESS", 1.0),
        ("DisableComputeServiceTask", "SUCCESS", 1.0),
        ("PrepareHAEnabledInstancesTask", "SUCCESS", 1.0),
        ("EvacuateInstancesTask", "SUCCESS", 1.0),
        ("AnnounceTask", "SUCCESS", 1.0),
    ]
    said = [detail["message"] for step in steps for detail in step["progress_details"]]
    assert "compute1 is off." in said
    # what the step provided reached the next one
    assert "Forced down nova-compute on compute1." in said
    assert [move["status"] for move in api.moves(uuid)] == ["succeeded", "succeeded"]
