# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A third party's steps, installed beside hacore into a new environment, run in a recovery."""

import pathlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.daemons import Daemon, wait_for
from tests.packaging.conftest import ROOT, Installed
from tests.unit import processes

pytestmark = pytest.mark.timeout(1200)

EXAMPLE = ROOT / "doc" / "examples" / "hacore-fencing-example"
FLOW = (
    "pre:['fence_host_task','disable_compute_service_task'],"
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
    source = tmp_path_factory.mktemp("example") / EXAMPLE.name
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "build"))
    installed.run("pip", "install", "--quiet", source)
    return installed


@pytest.fixture
def cloud(example: Installed, tmp_path: pathlib.Path) -> Iterator[dict[str, str]]:
    """A cloud with two instances on each of four hosts, all of them alive."""
    program = example.command("hacore-sandbox")
    with processes.sandbox(tmp_path, "--instances", "8", program=program) as login:
        yield login


class Api:
    """The REST API of a hacore that believes everybody."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1"
        self._http = requests.Session()
        self._http.headers["OpenStack-API-Version"] = "instance-ha 1.3"

    def get(self, path: str) -> Any:
        return self._answer("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, self._url + path, json=body, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def configuration(
    example: Installed, cloud: dict[str, str], tmp_path: pathlib.Path
) -> tuple[pathlib.Path, int]:
    """A configuration file with both steps in the flow of hosts; the port of the API."""
    fence = tmp_path / "fence.py"
    fence.write_text(FENCE)
    port = processes.free_port()
    url = cloud["auth_url"].removesuffix("/identity/v3")
    path = processes.write(
        tmp_path / "hacore.conf",
        {
            "DEFAULT": {"auth_strategy": "noauth2", "state_path": tmp_path},
            "api": {"port": port},
            "nova": cloud,
            "fencing": {"command": f"{example.command('python')} {fence} {url} {{host}}"},
            "taskflow_driver_recovery_flows": {"host_auto_failure_recovery_tasks": FLOW},
        },
    )
    return path, port


@pytest.fixture
def api(
    example: Installed, configuration: tuple[pathlib.Path, int], tmp_path: pathlib.Path
) -> Iterator[Api]:
    """The API of a running hacore-standalone."""
    path, port = configuration
    command = [example.command("hacore-standalone"), f"--config-file={path}"]
    daemon = Daemon("hacore-standalone", command, tmp_path / "hacore.log")
    made = Api(port)
    try:
        daemon.wait_until_it_says("API listens on", 60)
        yield made
    finally:
        made.close()
        status = daemon.end()
        sys.stdout.write(daemon.text())  # pytest shows it when the test fails
    assert status == 0


def test_the_flow_says_whose_its_steps_are(
    example: Installed, configuration: tuple[pathlib.Path, int]
) -> None:
    path, _ = configuration
    shown = example.run("hacore-manage", "--config-file", path, "flow", "show", "host-auto")
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["1.", "pre", "fence_host_task", "from", "hacore-fencing-example"],
        ["2.", "pre", "disable_compute_service_task", "from", "hacore"],
        ["3.", "main", "prepare_HA_enabled_instances_task", "from", "hacore"],
        ["4.", "post", "evacuate_instances_task", "from", "hacore"],
        ["5.", "post", "announce_task", "from", "hacore-fencing-example"],
    ]


def test_the_steps_run(api: Api) -> None:
    """The monitor is mistaken, compute1 lives: the step switches it off, so Nova lets it go."""
    segment = {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
    segment = api.post("/segments", {"segment": segment})["segment"]
    for number in range(1, 5):
        host = {"name": f"compute{number}", "type": "COMPUTE", "control_attributes": "SSH"}
        api.post(f"/segments/{segment['uuid']}/hosts", {"host": host})
    report = {
        "type": "COMPUTE_HOST",
        "hostname": "compute1",
        "generated_time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "payload": {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"},
    }
    made = api.post("/notifications", {"notification": report})["notification"]
    path = f"/notifications/{made['notification_uuid']}"

    def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = api.get(path)["notification"]
        return None if shown["status"] in ("new", "running") else shown

    notification = wait_for("the recovery to end", ended, 60)
    assert notification["status"] == "finished", notification
    steps = notification["recovery_workflow_details"]
    assert [(step["name"], step["state"], float(step["progress"])) for step in steps] == [
        ("FenceHostTask", "SUCCESS", 1.0),
        ("DisableComputeServiceTask", "SUCCESS", 1.0),
        ("PrepareHAEnabledInstancesTask", "SUCCESS", 1.0),
        ("EvacuateInstancesTask", "SUCCESS", 1.0),
        ("AnnounceTask", "SUCCESS", 1.0),
    ]
    said = [detail["message"] for step in steps for detail in step["progress_details"]]
    assert "compute1 is off." in said
    # what the step provided reached the next one
    assert "Told Nova that nova-compute on compute1 is down." in said
    moves = api.get(f"{path}/vmoves")["vmoves"]
    assert [move["status"] for move in moves] == ["succeeded", "succeeded"]
