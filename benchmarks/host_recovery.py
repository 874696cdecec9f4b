# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How fast a dead host's instances are back: hacore against a bare script, on real Nova.

    python -m benchmarks.host_recovery [--instances 50] [--pairs 5]

Needs ministack (tools/ministack/ministack up), MariaDB and RabbitMQ.  Each pair
is measured in turn, on a cloud that is reset before: Nova already sees the host
as down when the time starts.

floor:  fires all evacuate calls from 20 threads and does nothing else;
hacore: from the POST of the notification to its status `finished`, by the time that the API
    says it got it.

The floor ends when a list, asked for every 0.5 s, shows no instance on the dead host
any more.  When each instance was back is read from Nova's own records afterwards, in
both.  Requests are counted in the access logs of Nova's API and of Keystone.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from tests.e2e.deployment import Deployment
from tests.e2e.ministack import Ministack

HOST = "compute1"
FLOOR_THREADS = 20
PATIENCE_S = 600.0
LOOK_S = 0.5


@dataclasses.dataclass
class Result:
    """Seconds, and requests where they were counted."""

    total_s: float
    mean_back_s: float
    first_call_s: float | None = None
    nova_requests: dict[str, int] = dataclasses.field(default_factory=dict)
    keystone_requests: int = 0


class AccessLogs:
    """Requests since `start`, by user agent, as the servers wrote them down."""

    def __init__(self, cloud: Ministack) -> None:
        # the access log lies beside the log that `ministack logs` names
        self._files = {
            name: Path(cloud.run("logs", name).strip()).with_suffix(".access")
            for name in ("nova-api", "keystone")
        }
        self._offsets = {name: path.stat().st_size for name, path in self._files.items()}

    def of_hacore(self, name: str) -> list[dict[str, Any]]:
        """Lines of requests that hacore sent."""
        with self._files[name].open("rb") as file:
            file.seek(self._offsets[name])
            lines = [json.loads(line) for line in file.read().decode().splitlines()]
        return [line for line in lines if line["ua"].startswith(("hacore", "python-novaclient"))]


def prepare(cloud: Ministack, count: int) -> list[str]:
    """A dead host with instances on it, which Nova sees as down."""
    cloud.reset()
    instances = cloud.boot(count, HOST)
    cloud.kill(HOST)
    cloud.run("wait-down", HOST)
    return instances


def measure_floor(cloud: Ministack, count: int) -> Result:
    """Fire everything, wait."""
    instances = prepare(cloud, count)
    started, started_at = time.monotonic(), time.time()
    with concurrent.futures.ThreadPoolExecutor(FLOOR_THREADS) as pool:
        list(pool.map(cloud.nova.servers.evacuate, instances))
    while _left(cloud):
        if time.monotonic() - started > PATIENCE_S:
            sys.exit(f"instances are on {HOST} still after {PATIENCE_S:g} s")
        time.sleep(LOOK_S)
    return Result(time.monotonic() - started, mean_back_s(cloud, instances, started_at))


def _left(cloud: Ministack) -> bool:
    query = {"host": HOST, "all_tenants": 1}
    return bool(cloud.nova.servers.list(detailed=False, search_opts=query, limit=1000))


def mean_back_s(cloud: Ministack, instances: list[str], started_at: float) -> float:
    """Seconds from `started_at` until Nova ended an instance's evacuation, on average."""
    records = cloud.evacuations()
    ends = [max(record.updated_at for record in records[uuid]) for uuid in instances]
    utc = [datetime.datetime.fromisoformat(end).replace(tzinfo=datetime.UTC) for end in ends]
    # Nova cuts its times to seconds
    return statistics.mean(end.timestamp() + 0.5 - started_at for end in utc)


def measure_hacore(cloud: Ministack, count: int) -> Result:
    """Post, wait for `finished`."""
    instances = prepare(cloud, count)
    with tempfile.TemporaryDirectory() as folder:
        hacore = Deployment(
            Path(folder), cloud.login("instanceha"), {"DEFAULT": {"verify_interval": 1.0}}
        )
        try:
            hacore.start_api(under="gunicorn")
            hacore.wait_for_api()
            hacore.start_engine().wait_until_it_says("is ready", 60)
            return _recover(cloud, hacore, instances)
        finally:
            hacore.close()


def _recover(cloud: Ministack, hacore: Deployment, instances: list[str]) -> Result:
    headers = {
        "X-Auth-Token": cloud.session.get_token(),
        "OpenStack-API-Version": "instance-ha 1.3",
    }

    def call(method: str, path: str, **options: Any) -> Any:
        answer = requests.request(
            method, f"{hacore.url}/v1{path}", headers=headers, timeout=60, **options
        )
        answer.raise_for_status()
        return answer.json()

    segment = call(
        "POST",
        "/segments",
        json={"segment": {"name": "s", "recovery_method": "auto", "service_type": "COMPUTE"}},
    )["segment"]["uuid"]
    call(
        "POST",
        f"/segments/{segment}/hosts",
        json={"host": {"name": HOST, "type": "COMPUTE", "control_attributes": "SSH"}},
    )
    logs = AccessLogs(cloud)
    started_at = time.time()
    uuid = call(
        "POST",
        "/notifications",
        json={
            "notification": {
                "type": "COMPUTE_HOST",
                "hostname": HOST,
                "generated_time": "2026-01-01T00:00:00",
                "payload": {
                    "event": "STOPPED",
                    "host_status": "NORMAL",
                    "cluster_status": "OFFLINE",
                },
            }
        },
    )["notification"]["notification_uuid"]
    while (row := call("GET", f"/notifications/{uuid}")["notification"])["status"] in (
        "new",
        "running",
    ):
        time.sleep(LOOK_S)
    finished = datetime.datetime.fromisoformat(row["updated_at"]).replace(tzinfo=datetime.UTC)
    if row["status"] != "finished":
        sys.exit(f"the recovery ended {row['status']}: {row['message']}")
    requests_to_nova = logs.of_hacore("nova-api")
    # a lock answers 202, an evacuate call 200; t: when the request came in, ms
    first_ms = min(
        line["t"] for line in requests_to_nova if line["u"].endswith("/action") and line["s"] == 200
    )
    kinds: dict[str, int] = {}
    for line in requests_to_nova:
        path = line["u"].partition("?")[0].split("/v2.1")[-1].split("/")
        kind = f"{line['m']} {'/'.join(part for part in path if len(part) < 30)}"
        kinds[kind] = kinds.get(kind, 0) + 1
    return Result(
        finished.timestamp() - started_at,
        mean_back_s(cloud, instances, started_at),
        first_ms / 1000 - started_at,
        kinds,
        len(logs.of_hacore("keystone")),
    )


def print_medians(floors: list[Result], ours: list[Result]) -> None:
    """Of the times, and of what each pair's are to each other."""

    def told(name: str, results: list[Result]) -> tuple[float, float]:
        total_s = statistics.median(result.total_s for result in results)
        back_s = statistics.median(result.mean_back_s for result in results)
        print(f"median of {name}: {total_s:.1f} s, back after {back_s:.1f} s on average")
        return total_s, back_s

    floor, our = told("floor", floors), told("hacore", ours)
    pairs = list(zip(ours, floors, strict=True))
    total = statistics.median(our.total_s / floor.total_s for our, floor in pairs)
    back = statistics.median(our.mean_back_s / floor.mean_back_s for our, floor in pairs)
    print(
        f"hacore to floor: {our[0] / floor[0]:.2f} and {our[1] / floor[1]:.2f} by these medians, "
        f"{total:.2f} and {back:.2f} as the medians of {len(pairs)} pairs' ratios"
    )


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    try:
        cloud = Ministack()
    except (OSError, requests.RequestException, subprocess.SubprocessError) as exc:
        sys.exit(f"ministack does not answer ({exc}); run: tools/ministack/ministack up")
    floors, ours = [], []
    for number in range(options.pairs):
        floors.append(measure_floor(cloud, options.instances))
        ours.append(measure_hacore(cloud, options.instances))
        floor, our = floors[-1], ours[-1]
        nova = sum(our.nova_requests.values())
        print(
            f"pair {number + 1}: floor {floor.total_s:.1f} s (back after {floor.mean_back_s:.1f} s"
            f" on average), hacore {our.total_s:.1f} s ({our.mean_back_s:.1f} s), first call "
            f"after {our.first_call_s:.2f} s, {nova / options.instances:.2f} Nova requests per "
            f"instance, {our.keystone_requests} Keystone requests",
            flush=True,
        )
        print(f"  {our.nova_requests}", flush=True)
    print_medians(floors, ours)
    cloud.reset()


if __name__ == "__main__":
    main()
