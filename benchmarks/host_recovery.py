# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How fast a dead host's instances are back: hacore against a bare script.

    python -m benchmarks.host_recovery [--sandbox] [--instances 50] [--pairs 5]

On a real Nova (tools/ministack/ministack up), or on a simulated one that does
at most 2.3 evacuations a second; with MariaDB and RabbitMQ.  Each pair is measured in
turn, on a cloud that is reset before: Nova already sees the host as down when the time
starts.

floor:  fires all evacuate calls from 20 threads and does nothing else;
hacore: from the POST of the notification to its status `finished`, by the time that the API
    says it got it.

The floor ends when a list, asked for every 0.5 s, shows no instance on the dead host
any more.  When each instance was back is read from Nova's own records afterwards, in
both.  Requests are counted where they arrive: in the access logs of Nova's API and of
Keystone, or by the sandbox.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import requests

from benchmarks.cloud import SMALL, Hacore, Sandbox, hacore, sandbox
from tests.e2e.ministack import Ministack

HOST = "compute1"
FLOOR_THREADS = 20
PATIENCE_S = 600.0
LOOK_S = 0.5


@dataclasses.dataclass
class Requests:
    """What hacore asked for.

    :ivar nova: by method and path.
    :ivar first_call_at: when the first evacuate call came in, where the server says so.
    """

    nova: Counter[str]
    keystone: int
    first_call_at: float | None = None


class Counting(Protocol):
    """Counts where requests arrive, from when it is made."""

    def requests(self) -> Requests:
        """Those of hacore so far."""


@dataclasses.dataclass
class Scene:
    """A host that has died, as Nova sees, and the instances on it.

    :ivar nova: its client, as an administrator.
    :ivar login: of hacore.
    :ivar token: of who reports the failure.
    """

    nova: Any
    login: dict[str, Any]
    token: str
    instances: list[str]
    start_counting: Callable[[], Counting]


@dataclasses.dataclass
class Times:
    """Seconds until all are back, and until one is on average."""

    total_s: float
    mean_back_s: float


# --------------------------------------------------------------------- clouds


@contextlib.contextmanager
def real(count: int) -> Iterator[Scene]:
    """On ministack."""
    try:
        cloud = Ministack()
    except (OSError, requests.RequestException, subprocess.SubprocessError) as exc:
        sys.exit(f"ministack does not answer ({exc}); run: tools/ministack/ministack up")
    cloud.reset()
    instances = cloud.boot(count, HOST)
    cloud.kill(HOST)
    cloud.run("wait-down", HOST)
    try:
        yield Scene(
            nova=cloud.nova,
            login=cloud.login("instanceha"),
            token=str(cloud.session.get_token()),
            instances=instances,
            start_counting=lambda: AccessLogs(cloud),
        )
    finally:
        cloud.reset()
        cloud.close()


class AccessLogs:
    """What Nova's API and Keystone write down."""

    def __init__(self, cloud: Ministack) -> None:
        # the access log lies beside the log that `ministack logs` names
        self._files = {
            name: Path(cloud.run("logs", name).strip()).with_suffix(".access")
            for name in ("nova-api", "keystone")
        }
        self._offsets = {name: path.stat().st_size for name, path in self._files.items()}

    def requests(self) -> Requests:
        nova = self._read("nova-api")
        kinds: Counter[str] = Counter()
        for line in nova:
            path = line["u"].partition("?")[0].split("/v2.1")[-1].split("/")
            kinds[f"{line['m']} {'/'.join(part for part in path if len(part) < 30)}"] += 1
        # a lock answers 202, an evacuate call 200; t: when the request came in, ms
        first_ms = min(
            line["t"] for line in nova if line["u"].endswith("/action") and line["s"] == 200
        )
        return Requests(kinds, len(self._read("keystone")), first_ms / 1000)

    def _read(self, name: str) -> list[dict[str, Any]]:
        with self._files[name].open("rb") as file:
            file.seek(self._offsets[name])
            lines = [json.loads(line) for line in file.read().decode().splitlines()]
        # the user agent
        return [line for line in lines if line["ua"].startswith(("hacore", "python-novaclient"))]


@contextlib.contextmanager
def simulated(count: int) -> Iterator[Scene]:
    """On the sandbox, with four hosts."""
    with sandbox(SMALL, 4, count) as cloud:
        instances = cloud.servers_of(HOST)
        cloud.kill([HOST])
        yield Scene(
            nova=cloud.nova,
            login=cloud.login,
            token=str(cloud.session.get_token()),
            instances=instances,
            start_counting=lambda: Arrivals(cloud),
        )


class Arrivals:
    """What the sandbox has counted; only hacore asks."""

    def __init__(self, cloud: Sandbox) -> None:
        self._cloud = cloud
        cloud.control("DELETE", "/requests")

    def requests(self) -> Requests:
        nova: Counter[str] = Counter()
        for row in self._cloud.control("GET", "/requests")["requests"]:
            if row["service"] == "compute":
                nova[f"{row['method']} {row['route']}"] += row["count"]
        return Requests(nova, self._cloud.requests_to("identity"))


# ------------------------------------------------------------------- measured


def measure_floor(scene: Scene) -> Times:
    """Fire everything, wait."""
    started, started_at = time.monotonic(), time.time()
    with concurrent.futures.ThreadPoolExecutor(FLOOR_THREADS) as pool:
        list(pool.map(scene.nova.servers.evacuate, scene.instances))
    query = {"host": HOST, "all_tenants": 1}
    while scene.nova.servers.list(detailed=False, search_opts=query, limit=1000):
        if time.monotonic() - started > PATIENCE_S:
            sys.exit(f"instances are on {HOST} still after {PATIENCE_S:g} s")
        time.sleep(LOOK_S)
    return Times(time.monotonic() - started, mean_back_s(scene, started_at))


def mean_back_s(scene: Scene, started_at: float) -> float:
    """Seconds from `started_at` until Nova ended an instance's evacuation, on average."""
    ends: dict[str, str] = {}
    for record in scene.nova.migrations.list(migration_type="evacuation"):
        ends[record.instance_uuid] = max(record.updated_at, ends.get(record.instance_uuid, ""))
    utc = [
        datetime.datetime.fromisoformat(ends[uuid]).replace(tzinfo=datetime.UTC)
        for uuid in scene.instances
    ]
    # Nova cuts its times to seconds
    return statistics.mean(end.timestamp() + 0.5 - started_at for end in utc)


def measure_hacore(scene: Scene) -> tuple[Times, Requests, float | None]:
    """Post, wait for `finished`; the last: seconds to the first evacuate call, if known."""
    options = {"auth_strategy": "keystone"}
    with hacore(scene.login, [HOST], options=options, token=scene.token) as made:
        counting = scene.start_counting()
        started_at = time.time()
        row = _ended(made, made.notify("COMPUTE_HOST", HOST))
        asked = counting.requests()
    finished = datetime.datetime.fromisoformat(row["updated_at"]).replace(tzinfo=datetime.UTC)
    times = Times(finished.timestamp() - started_at, mean_back_s(scene, started_at))
    return times, asked, asked.first_call_at and asked.first_call_at - started_at


def _ended(made: Hacore, uuid: str) -> Any:
    while True:
        row = made.call("GET", f"/notifications/{uuid}")["notification"]
        if row["status"] == "finished":
            return row
        if row["status"] not in ("new", "running"):
            sys.exit(f"the recovery ended {row['status']}: {row['message']}")
        time.sleep(LOOK_S)


# ----------------------------------------------------------------------- told


def print_medians(floors: list[Times], ours: list[Times]) -> None:
    """Of the times, and of what each pair's are to each other."""

    def told(name: str, results: list[Times]) -> tuple[float, float]:
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
    parser.add_argument("--sandbox", action="store_true", help="on the simulated Nova")
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    stage = simulated if options.sandbox else real
    floors: list[Times] = []
    ours: list[Times] = []
    for number in range(options.pairs):
        with stage(options.instances) as scene:
            floor = measure_floor(scene)
        with stage(options.instances) as scene:
            our, asked, first_s = measure_hacore(scene)
        floors.append(floor)
        ours.append(our)
        first = f", first call after {first_s:.2f} s" if first_s else ""
        print(
            f"pair {number + 1}: floor {floor.total_s:.1f} s (back after {floor.mean_back_s:.1f} s"
            f" on average), hacore {our.total_s:.1f} s ({our.mean_back_s:.1f} s){first}, "
            f"{asked.nova.total() / options.instances:.2f} Nova requests per instance, "
            f"{asked.keystone} Keystone requests\n  {dict(asked.nova)}",
            flush=True,
        )
    print_medians(floors, ours)


if __name__ == "__main__":
    main()
