# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A simulated cloud for benchmarks, as a process of its own, and hacore beside it."""

import concurrent.futures
import contextlib
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.deployment import Deployment, Options, Servers
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
#: For those who have time: heartbeats as Nova has them by default.
AS_BY_DEFAULT = ("--set", "report_interval_s=10", "--service-down", "60")
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

    def die(self, hosts: Sequence[str]) -> None:
        """All of them die."""
        for host in hosts:
            self.control("POST", f"/hosts/{host}/kill")

    def kill(self, hosts: Sequence[str], look_s: float = 0.2) -> None:
        """All of them die, and Nova sees it."""
        self.die(hosts)
        while any(
            row["state"] == "up" and row["name"] in hosts
            for row in self.control("GET", "/state?host=none")["hosts"]
        ):
            time.sleep(look_s)

    def first_call_at(self, host: str) -> float | None:
        """When the first evacuate call for an instance of `host` came in, by time.time()."""
        rows = self.control("GET", "/evacuations")["evacuations"]
        return min((float(row["at"]) for row in rows if row["source"] == host), default=None)

    def wait_for_first_call(self, host: str, timeout_s: float) -> float:
        """The same, once there is one."""
        return wait_for(
            f"an evacuate call for {host}", lambda: self.first_call_at(host), timeout_s, 0.5
        )

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
    """hacore on a cloud: an API and `engines` engines, and segments of `hosts`.

    :param login: at Keystone.
    :param options: of [DEFAULT].
    :param token: of whom its API is used by.
    :param groups: other options, by group; see Deployment.
    :param segments: over which the hosts are spread, one after the other.
    :param python: of the environment of another version of hacore.
    :param env: more environment variables of its engines.
    :param main: the module whose `main` is an engine.
    """

    def __init__(
        self,
        folder: Path,
        login: Mapping[str, str],
        hosts: Sequence[str],
        engines: int = 1,
        options: Mapping[str, Any] | None = None,
        token: str = "any",
        *,
        groups: Options | None = None,
        segments: int = 1,
        servers: Servers | None = None,
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
        main: str = "hacore.cmd.engine",
    ) -> None:
        self._token = token
        default = {"verify_interval": 1.0, "auth_strategy": "noauth2", **(options or {})}
        self.deployment = Deployment(
            *(folder / "hacore", login, {"DEFAULT": default, **(groups or {})}),
            servers=servers or Servers(),
            python=python,
        )
        try:
            self._start(hosts, engines, segments, env, main)
        except BaseException:
            self.deployment.close()
            raise

    def _start(
        self,
        hosts: Sequence[str],
        engines: int,
        segments: int,
        env: Mapping[str, str] | None,
        main: str,
    ) -> None:
        self.deployment.start_api(under="gunicorn")
        self.deployment.wait_for_api()
        for number in range(engines):
            engine = self.deployment.start_engine(f"engine{number}", env=env, main=main)
            engine.wait_until_it_says("is ready", 60)
        self.engines = list(self.deployment.engines.values())
        uuids = [
            self.call("POST", "/segments", segment={
                "name": f"rack{number or ''}",
                "recovery_method": "auto",
                "service_type": "COMPUTE",
            })["segment"]["uuid"]
            for number in range(segments)
        ]  # fmt: skip
        self.call("POST", f"/segments/{uuids[0]}/hosts", host={
            "name": hosts[0], "type": "COMPUTE", "control_attributes": "SSH",
        })  # fmt: skip
        self._register([
            (host, uuids[number % segments]) for number, host in enumerate(hosts) if number
        ])  # fmt: skip

    def _register(self, hosts: Sequence[tuple[str, str]]) -> None:
        """More hosts, each with its segment, as the first one is: a thousand posts take long."""
        if not hosts:
            return
        engine = sa.create_engine(self.deployment.database_url, poolclass=sa.NullPool)
        table = sa.Table("hosts", sa.MetaData(), autoload_with=engine, resolve_fks=False)
        with engine.begin() as connection:
            row = connection.execute(sa.select(table)).mappings().one()
            first = {name: value for name, value in row.items() if value is not None}
            del first["id"]
            rows = [
                {**first, "uuid": str(uuid.uuid4()), "name": host, "segment_uuid": segment}
                for host, segment in hosts
            ]
            connection.execute(sa.insert(table), rows)

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
        return str(made["notification"]["notification_uuid"])

    def notify_dead(self, hosts: Sequence[str]) -> None:
        """All at once."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda host: self.notify("COMPUTE_HOST", host), hosts))

    def forget(self, host: str) -> None:
        """Remove a host from its segment."""
        (row,) = self.deployment.read(
            f"SELECT uuid, segment_uuid FROM hosts WHERE name = '{host}' AND deleted = 0"
        )
        requests.delete(
            f"{self.deployment.url}/v1/segments/{row['segment_uuid']}/hosts/{row['uuid']}",
            headers={"X-Auth-Token": self._token},
            timeout=60,
        ).raise_for_status()

    def unended(self) -> int:
        """How many notifications have not ended."""
        (row,) = self.deployment.read(
            "SELECT COUNT(*) AS n FROM notifications WHERE status IN ('new', 'running')"
        )
        return int(row["n"])

    def wait_until_silent(self, hosts: int) -> None:
        """Return when the engine that watches for all has found so many hosts silent."""

        def silent() -> bool:
            found = self.deployment.read(
                "SELECT COUNT(*) AS n FROM host_states WHERE state = 'silent'"
            )
            return int(found[0]["n"]) >= hosts

        wait_for(f"{hosts} silent hosts", silent, 120, 0.5)


@contextlib.contextmanager
def hacore(
    login: Mapping[str, str],
    hosts: Sequence[str],
    engines: int = 1,
    options: Mapping[str, Any] | None = None,
    token: str = "any",
    **more: Any,
) -> Iterator[Hacore]:
    """hacore until the block ends.

    :param more: as of Hacore.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Hacore(Path(folder), login, hosts, engines, options, token, **more)
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


def python_of(environment: str) -> str:
    """The interpreter of a virtual environment, or that interpreter itself."""
    path = Path(environment).absolute()  # not resolved: it is a link to the system's own
    return str(path / "bin" / "python" if path.is_dir() else path)
