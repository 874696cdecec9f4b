# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the log of a real daemon says of a recovery, and what it never says.

Everything is at DEBUG, the libraries too, and the callers have tokens of Keystone.
"""

import dataclasses
import json
import pathlib
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.daemons import Daemon, wait_for
from tests.servers import free_port
from tests.unit import processes
from tests.unit.processes import Configuration

PASSWORD = "s3cret-of-keystone"
BUS_PASSWORD = "s3cret-of-the-bus"
# The sandbox's accounts have their names as passwords, and names may be in a log.
SANDBOX = f"""
import dataclasses, sys
from hacore_sandbox.cli import main
from hacore_sandbox.identity import ACCOUNTS

for name in ACCOUNTS:
    ACCOUNTS[name] = dataclasses.replace(ACCOUNTS[name], password={PASSWORD!r})
sys.exit(main(["serve", "--port=0", "--preset=instant", "--instances=8"]))
"""
#: How the sandbox's tokens look, as Keystone's.
TOKEN = re.compile(r"gAAAAA[\w=-]{20,}")


@dataclasses.dataclass(frozen=True)
class Recovered:
    """What was said while compute1 died and was recovered from."""

    text: str
    notification: str
    request_id: str  #: of the POST
    instances: list[str]
    token: str  #: of the monitor


@pytest.fixture(scope="module", params=["text", "json"])
def recovered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recovered]:
    folder = tmp_path_factory.mktemp("logs")
    sandbox = Daemon("sandbox", [sys.executable, "-P", "-c", SANDBOX], folder / "sandbox.log")
    try:
        sandbox.wait_until_it_says("region_name", 60)
        yield recover(folder, sandbox.text().split()[2], request.param == "json")
    finally:
        sandbox.end()


def recover(folder: pathlib.Path, cloud: str, use_json: bool) -> Recovered:
    port = free_port()
    login = {
        "auth_type": "password",
        "auth_url": f"{cloud}/identity/v3",
        "username": "hacore",
        "password": PASSWORD,
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    configuration: Configuration = {
        "DEFAULT": {
            "debug": True,
            # at DEBUG it logs objects that oslo.log's JSON formatter makes endless
            "default_log_levels": "stevedore=INFO",
            "use_json": use_json,
            "transport_url": f"fake://hacore:{BUS_PASSWORD}@nowhere/",
        },
        "api": {"port": port},
        "database": {"connection": f"sqlite:///{folder}/hacore.sqlite"},
        "keystone_authtoken": {**login, "service_token_roles_required": True},
        "nova": login,
    }
    file = processes.write(folder / "hacore.conf", configuration)
    command = [processes.command("hacore-standalone"), f"--config-file={file}"]
    daemon = Daemon("hacore-standalone", command, folder / "hacore.log")
    try:
        daemon.wait_until_it_says("API listens on", 60)
        with requests.Session() as http:
            http.trust_env = False
            facts = report(http, cloud, f"http://127.0.0.1:{port}/v1")
    finally:
        status = daemon.end()
    text = daemon.text()
    assert status == 0, text[-5000:]
    return Recovered(text, **facts)


def report(http: requests.Session, cloud: str, api: str) -> dict[str, Any]:
    """Let compute1 die, say so as a monitor with a token, and wait for the end."""

    def call(method: str, url: str, body: object = None) -> requests.Response:
        answer = http.request(method, url, json=body, timeout=30)
        assert answer.ok, answer.text
        return answer

    user = {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
    issued = call("POST", f"{cloud}/identity/v3/auth/tokens", {"auth": auth})
    token = issued.headers["X-Subject-Token"]
    http.headers.update({"X-Auth-Token": token, "OpenStack-API-Version": "instance-ha 1.3"})
    segment = {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
    made = call("POST", f"{api}/segments", {"segment": segment}).json()["segment"]
    host = {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}
    call("POST", f"{api}/segments/{made['uuid']}/hosts", {"host": host})
    call("POST", f"{cloud}/control/hosts/compute1/kill", {})
    failure = {
        "type": "COMPUTE_HOST",
        "hostname": "compute1",
        "generated_time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "payload": {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"},
    }
    posted = call("POST", f"{api}/notifications", {"notification": failure})
    uuid = posted.json()["notification"]["notification_uuid"]
    url = f"{api}/notifications/{uuid}"
    wait_for("the end", lambda: call("GET", url).json()["notification"]["status"] == "finished", 60)
    moves = call("GET", f"{url}/vmoves").json()["vmoves"]
    return {
        "notification": uuid,
        "request_id": posted.headers["X-Openstack-Request-Id"],
        "instances": [move["instance_uuid"] for move in moves],
        "token": token,
    }


def lines(recovered: Recovered, *words: str) -> list[str]:
    return [line for line in recovered.text.splitlines() if all(word in line for word in words)]


def test_every_change_is_one_line(recovered: Recovered) -> None:
    """With notification, host, request id, and the instance where there is one."""
    uuid, request_id = recovered.notification, recovered.request_id
    changes = [
        f"notification {uuid}: new, COMPUTE_HOST of host compute1",
        f"notification {uuid}: new -> running: Claimed by ",
        f"host compute1: on maintenance (notification {uuid})",
        *(
            f"notification {uuid}: step {step}: {state} (host compute1)"
            for step in (
                "DisableComputeServiceTask",
                "PrepareHAEnabledInstancesTask",
                "EvacuateInstancesTask",
            )
            for state in ("RUNNING", "SUCCESS")
        ),
        *(
            f"instance {instance}: move {status} (notification {uuid}, host compute1): "
            for instance in recovered.instances
            for status in ("pending", "ongoing", "succeeded")
        ),
        f"notification {uuid}: running -> finished (host compute1): 2 evacuated, 0 skipped.",
    ]
    assert len(recovered.instances) == 2
    for change in changes:
        said = lines(recovered, change)
        assert len(said) == 1, (change, said)
        assert request_id in said[0], said[0]
        assert "compute1" in said[0]


def test_nothing_secret_is_said(recovered: Recovered) -> None:
    assert len(lines(recovered, "DEBUG")) > 100  # there was something to say it in
    for secret in (PASSWORD, BUS_PASSWORD, recovered.token):
        assert lines(recovered, secret) == []
    assert [line for line in recovered.text.splitlines() if TOKEN.search(line)] == []


def test_json_lines_are_json(recovered: Recovered) -> None:
    if not recovered.text.startswith("{"):
        assert "\n{" not in recovered.text
        return
    said = [json.loads(line) for line in recovered.text.splitlines()]
    engines = [line for line in said if line["context"].get("notification")]
    assert {line["context"]["notification"] for line in engines} == {recovered.notification}
    assert {line["context"]["host"] for line in engines} == {"compute1"}
    assert {line["context"]["request_id"] for line in engines} == {recovered.request_id}
    # also those of the threads that make the calls for single instances
    assert {line["thread_name"] for line in engines if "move ongoing" in line["message"]} != {
        line["thread_name"] for line in engines if "-> finished" in line["message"]
    }
