# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A simulated cloud for benchmarks, as a process of its own, and hacore beside it."""

import concurrent.futures
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.e2e.daemons import Daemon
from tests.e2e.deployment import Deployment
from tests.sandbox_process import SandboxProcess

#: Heartbeats that Nova waits for; a benchmark has no time for five.
_COMMON = ("--preset", "real", "--service-down", "3")
#: One conductor: 2.3 evacuations a second.
SMALL = _COMMON
#: Four conductors and schedulers: 9 evacuations a second.
MEDIUM = (*_COMMON, "--control-workers", "4", "--api-workers", "16", "--set", "crowd=80")
#: Sixteen: 37 evacuations a second.
LARGE = (
    *(*_COMMON, "--control-workers", "16", "--api-workers", "32"),
    *("--set", "crowd=320", "--set", "crowd_cost=0.0014"),
)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
_DEAD = {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}


class Sandbox(SandboxProcess):
    """A simulated cloud.

    :param kind: SMALL, MEDIUM or LARGE.
    :param each: instances on each host.
    """

    def __init__(self, folder: Path, kind: Sequence[str], hosts: int, each: int) -> None:
        instances = str(hosts * each)
        counts = ["--hosts", str(hosts), "--instances", instances, "--ha-instances", instances]
        super().__init__(folder, [*kind, *counts])

    def kill(self, hosts: Sequence[str]) -> None:
        """All of them die, and Nova sees it."""
        for host in hosts:
            self.control("POST", f"/hosts/{host}/kill")
        while any(
            row["state"] == "up" and row["name"] in hosts
            for row in self.control("GET", "/state?host=none")["hosts"]
        ):
            time.sleep(0.2)

    def servers_of(self, host: str) -> list[str]:
        """Uuids."""
        return [row["id"] for row in self.control("GET", f"/state?host={host}")["servers"]]

    def left_on(self, hosts: Sequence[str]) -> int:
        """How many instances are there."""
        rows = self.control("GET", "/state?host=none")["hosts"]
        return sum(row["servers"] for row in rows if row["name"] in hosts)

    def requests_to(self, service: str) -> int:
        """How many `compute` or `identity` has got since they were last forgotten."""
        rows = self.control("GET", "/requests")["requests"]
        return sum(row["count"] for row in rows if row["service"] == service)


@contextlib.contextmanager
def sandbox(kind: Sequence[str], hosts: int, each: int) -> Iterator[Sandbox]:
    """A cloud until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = Sandbox(Path(folder), kind, hosts, each)
        try:
            yield cloud
        finally:
            cloud.close()


class Hacore:
    """hacore on a cloud: an API and `engines` engines, and a segment of `hosts`.

    :param login: at Keystone.
    :param options: of [DEFAULT].
    :param token: of whom its API is used by.
    """

    def __init__(
        self,
        folder: Path,
        login: Mapping[str, str],
        hosts: Sequence[str],
        engines: int = 1,
        options: Mapping[str, Any] | None = None,
        token: str = "any",
    ) -> None:
        self._token = token
        default = {"verify_interval": 1.0, "auth_strategy": "noauth2", **(options or {})}
        self.deployment = Deployment(folder / "hacore", login, {"DEFAULT": default})
        self.deployment.start_api(under="gunicorn")
        self.deployment.wait_for_api()
        for number in range(engines):
            self.deployment.start_engine(f"engine{number}").wait_until_it_says("is ready", 60)
        self.engines = list(self.deployment.engines.values())
        segment = self.call("POST", "/segments", segment={
            "name": "rack", "recovery_method": "auto", "service_type": "COMPUTE",
        })["segment"]["uuid"]  # fmt: skip
        for host in hosts:
            self.call("POST", f"/segments/{segment}/hosts", host={
                "name": host, "type": "COMPUTE", "control_attributes": "SSH",
            })  # fmt: skip

    def call(self, method: str, path: str, **body: Any) -> Any:
        """A call of the REST API."""
        answer = requests.request(
            method,
            f"{self.deployment.url}/v1{path}",
            headers={"X-Auth-Token": self._token, "OpenStack-API-Version": "instance-ha 1.3"},
            json=body or None,
            timeout=60,
        )
        answer.raise_for_status()
        return answer.json()

    def notify(self, kind: str, host: str, payload: Mapping[str, str] = _DEAD) -> str:
        """Report a failure; the notification's uuid."""
        made = self.call("POST", "/notifications", notification={
            "type": kind, "hostname": host, "generated_time": "2026-01-01T00:00:00",
            "payload": payload,
        })  # fmt: skip
        uuid: str = made["notification"]["notification_uuid"]
        return uuid

    def notify_dead(self, hosts: Sequence[str]) -> None:
        """All at once."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda host: self.notify("COMPUTE_HOST", host), hosts))

    def unended(self) -> int:
        """How many notifications have not ended."""
        (row,) = self.deployment.read(
            "SELECT COUNT(*) AS n FROM notifications WHERE status IN ('new', 'running')"
        )
        return int(row["n"])


@contextlib.contextmanager
def hacore(
    login: Mapping[str, str],
    hosts: Sequence[str],
    engines: int = 1,
    options: Mapping[str, Any] | None = None,
    token: str = "any",
) -> Iterator[Hacore]:
    """hacore until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        made = Hacore(Path(folder), login, hosts, engines, options, token)
        try:
            yield made
        finally:
            made.deployment.close()


def usage(daemon: Daemon) -> tuple[float, float]:
    """Resident megabytes and seconds of CPU of a daemon and its children."""
    megabytes = seconds = 0.0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == daemon.pid:  # its process group
            seconds += (int(fields[11]) + int(fields[12])) / _TICKS
            megabytes += int(fields[21]) * _PAGE / 1e6
    return megabytes, seconds
