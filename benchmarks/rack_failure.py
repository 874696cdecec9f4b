# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A rack dies: 40 hosts of 50 instances within a second, in a cloud of 1,000 hosts.

    python -m benchmarks.rack_failure [--engines 1] [--hosts 1000] [--dead 40] [--instances 50]

On the sandbox, with MariaDB and RabbitMQ.  First the floor: a bare script that
fires every evacuate call from 20 threads and only waits.  Then hacore with so
many engines, from the first POST to the last `finished`.
"""

import argparse
import concurrent.futures
import datetime
import itertools
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from novaclient import client as nova_client

from tests.e2e.daemons import Daemon
from tests.e2e.deployment import MYSQL, Deployment

FLOOR_THREADS = 20
PATIENCE_S = 1200.0
#: A control plane of this size: 16 conductors and schedulers make 37 evacuations a second.
CLOUD = ["--preset", "real", "--control-workers", "16", "--api-workers", "32"]
CLOUD += ["--set", "crowd=320", "--set", "crowd_cost=0.0014", "--service-down", "3"]
_TICKS = os.sysconf("SC_CLK_TCK")


class Sandbox:
    """A simulated cloud as a process of its own."""

    def __init__(self, folder: Path, hosts: int, instances: int) -> None:
        code = "import sys; from hacore.cmd.sandbox import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "serve", "--port", "0", *CLOUD]
        command += ["--hosts", str(hosts), "--instances", str(instances)]
        command += ["--ha-instances", str(instances)]
        self.daemon = Daemon("sandbox", command, folder / "sandbox.log")
        self.daemon.wait_until_it_says("[nova]", 120)
        found = re.search(r"listening on (\S+)", self.daemon.text())
        assert found, self.daemon.text()
        self.url = found[1]
        self.login = {
            "auth_url": f"{self.url}/identity/v3",
            "username": "hacore",
            "password": "hacore",
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the control API."""
        answer = requests.request(method, f"{self.url}/control{path}", json=body, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def kill(self, hosts: list[str]) -> None:
        """All of them die, and Nova sees it."""
        for host in hosts:
            self.control("POST", f"/hosts/{host}/kill")
        while any(
            row["state"] == "up" and row["name"] in hosts
            for row in self.control("GET", "/state?host=none")["hosts"]
        ):
            time.sleep(0.2)

    def left_on(self, hosts: list[str]) -> int:
        """How many instances are there."""
        rows = self.control("GET", "/state?host=none")["hosts"]
        return sum(row["servers"] for row in rows if row["name"] in hosts)


def measure_floor(options: argparse.Namespace, dead: list[str]) -> float:
    """Fire everything, wait; seconds."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = Sandbox(Path(folder), options.hosts, options.hosts * options.instances)
        try:
            session = keystone_session.Session(auth=v3.Password(**cloud.login))
            nova = nova_client.Client("2.90", session=session, region_name="RegionOne")
            servers = [
                row["id"]
                for host in dead
                for row in cloud.control("GET", f"/state?host={host}")["servers"]
            ]
            cloud.kill(dead)
            started = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(FLOOR_THREADS) as pool:
                list(pool.map(nova.servers.evacuate, servers))
            while cloud.left_on(dead):
                time.sleep(0.2)
            return time.monotonic() - started
        finally:
            cloud.daemon.end()


def statements() -> int:
    """How many statements the database server has carried out."""
    engine = sa.create_engine(MYSQL, poolclass=sa.NullPool)
    with engine.connect() as connection:
        row = connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Questions'")).one()
    return int(row[1])


def usage(daemon: Daemon) -> tuple[float, float]:
    """Resident megabytes and seconds of CPU of a daemon and its children."""
    megabytes = seconds = 0.0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == daemon.pid:  # its process group
                seconds += (int(fields[11]) + int(fields[12])) / _TICKS
                megabytes += int(fields[21]) * os.sysconf("SC_PAGESIZE") / 1e6
        except (OSError, IndexError):
            continue  # it has just ended
    return megabytes, seconds


def measure_hacore(options: argparse.Namespace, dead: list[str]) -> None:
    """Post, wait for the last `finished`; print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = Sandbox(Path(folder), options.hosts, options.hosts * options.instances)
        hacore = Deployment(
            Path(folder) / "hacore",
            cloud.login,
            {"DEFAULT": {"verify_interval": 1.0, "auth_strategy": "noauth2"}},
        )
        try:
            hacore.start_api(gunicorn=True)
            hacore.wait_for_api()
            for number in range(options.engines):
                hacore.start_engine(f"engine{number}").wait_until_it_says("is ready", 60)
            _report(options, cloud, hacore, dead)
        finally:
            hacore.close()
            cloud.daemon.end()


def _report(
    options: argparse.Namespace, cloud: Sandbox, hacore: Deployment, dead: list[str]
) -> None:
    call = _Caller(hacore.url)
    segment = call("POST", "/segments", segment={
        "name": "rack", "recovery_method": "auto", "service_type": "COMPUTE",
    })["segment"]["uuid"]  # fmt: skip
    for host in dead:
        call("POST", f"/segments/{segment}/hosts", host={
            "name": host, "type": "COMPUTE", "control_attributes": "SSH",
        })  # fmt: skip
    cloud.kill(dead)
    cloud.control("DELETE", "/requests")
    cpu_before = [usage(daemon)[1] for daemon in hacore.engines.values()]
    statements_before, started = statements(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda host: call("POST", "/notifications", notification={
            "type": "COMPUTE_HOST", "hostname": host, "generated_time": "2026-01-01T00:00:00",
            "payload": {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"},
        }), dead))  # fmt: skip
    posted_s = time.monotonic() - started
    most_megabytes = [0.0] * options.engines
    rows: list[dict[str, Any]] = []
    while time.monotonic() - started < PATIENCE_S:
        rows = call("GET", "/notifications")["notifications"]
        for number, daemon in enumerate(hacore.engines.values()):
            most_megabytes[number] = max(most_megabytes[number], usage(daemon)[0])
        if all(row["status"] not in ("new", "running") for row in rows):
            break
        time.sleep(0.5)
    total_s, asked = time.monotonic() - started, statements() - statements_before
    ended = sorted(datetime.datetime.fromisoformat(row["updated_at"]) for row in rows)
    counted = cloud.control("GET", "/requests")["requests"]
    moved = options.dead * options.instances
    cpu = [
        usage(daemon)[1] - before
        for daemon, before in zip(hacore.engines.values(), cpu_before, strict=True)
    ]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(ended)]
    owners = hacore.read("SELECT owner, COUNT(*) AS n FROM notifications GROUP BY owner")
    nova = sum(row["count"] for row in counted if row["service"] == "compute")
    keystone = sum(row["count"] for row in counted if row["service"] == "identity")
    statuses = {row["status"] for row in rows}
    print(
        f"{options.engines} engine(s): {total_s:.1f} s from the first POST to the last end "
        f"({', '.join(sorted(statuses))}), posts took {posted_s:.1f} s; "
        f"first host back after {total_s - sum(gaps):.1f} s, median host "
        f"{total_s - (ended[-1] - statistics.median_low(ended)).total_seconds():.1f} s, "
        f"largest gap between hosts {max(gaps):.1f} s"
    )
    print(
        f"  recoveries by engine {sorted(row['n'] for row in owners)}; memory at most "
        f"{[round(m) for m in most_megabytes]} MB, CPU {[round(c, 1) for c in cpu]} s; "
        f"{asked / moved:.1f} database statements, {nova / moved:.2f} Nova requests per "
        f"instance, {keystone} Keystone requests in all; left on the dead hosts: "
        f"{cloud.left_on(dead)}",
        flush=True,
    )


class _Caller:
    def __init__(self, url: str) -> None:
        self._url = url
        self._headers = {"X-Auth-Token": "a", "OpenStack-API-Version": "instance-ha 1.3"}

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        answer = requests.request(
            method, f"{self._url}/v1{path}", headers=self._headers, json=body or None, timeout=60
        )
        answer.raise_for_status()
        return answer.json()


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--dead", type=int, default=40)
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--no-floor", action="store_true", help="do not measure the floor")
    options = parser.parse_args()
    dead = [f"compute{number}" for number in range(1, options.dead + 1)]
    if not options.no_floor:
        print(f"floor: {measure_floor(options, dead):.1f} s", flush=True)
    measure_hacore(options, dead)


if __name__ == "__main__":
    main()
