# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the mass-failure limits cost: one dead host of 1,000, and 1,000 that live.

    python -m benchmarks.limits_cost --before VENV [--hosts 1000] [--pairs 5] [--down 0]
        [--idle 120]

On the sandbox, with heartbeats as Nova has them by default, MariaDB (idle: one of its own) and
RabbitMQ.  VENV is the virtual environment of the version before.

first call: seconds from the POST to the arrival of the first evacuate call at Nova.  Three
    hacores with an engine each, on a cloud each: with the limits, without them (max_share and
    burst_hosts 0), and the version before.  In each round one host of each cloud dies, and is
    reported when Nova shows it as down and hacore knows that it is silent; one after the other,
    each time another one first; it is removed from its segment afterwards.  One round before goes
    uncounted.  With --down so many others are dead all the time, and never reported.  Demanded:
    the median with the limits is at most 5 % above that without them, and above that of the
    version before.
idle: three engines, nothing fails: requests and bytes of the lists that Nova's API is asked for
    (a list's body, and how many were answered), CPU and memory of each engine, statements that
    the database carries out.  The version before first.

Exit status 1 if the demand is missed.
"""

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cloud import (
    AS_BY_DEFAULT,
    LARGE,
    Hacore,
    Sandbox,
    hacore,
    python_of,
    sandbox,
    usage,
)
from benchmarks.rack_failure import statements
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Servers
from tests.servers import MariaDB

KIND = (*LARGE, *AS_BY_DEFAULT)
INTERVAL_S = 10
EACH = 2
IDLE_ENGINES = 3
MOST = 1.05
PATIENCE_S = 120.0
_SETTLE_S = 60.0


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is compared; `is_watching`: it is a version that watches Nova's heartbeats."""

    name: str
    groups: Mapping[str, Mapping[str, Any]]
    python: str = sys.executable
    is_watching: bool = True

    def options(self) -> dict[str, dict[str, Any]]:
        """By group, for Hacore."""
        learned = {"nova": {"report_interval": None}}
        return {**learned, **{group: dict(values) for group, values in self.groups.items()}}


WITH = Kind("with the limits", {})
WITHOUT = Kind("without them", {"mass_failure": {"max_share": 0, "burst_hosts": 0}})


def before(python: str) -> Kind:
    """The version before."""
    return Kind("version before", {}, python, is_watching=False)


# ----------------------------------------------------------------- first call


@dataclasses.dataclass(frozen=True)
class World:
    """A cloud and its hacore."""

    kind: Kind
    cloud: Sandbox
    hacore: Hacore

    def wait_until_known(self, host: str) -> None:
        """Return when Nova shows a dead host as down, and hacore knows that it is silent."""

        def silent() -> bool:
            rows = self.hacore.deployment.read(
                f"SELECT state FROM host_states WHERE name = '{host}'"
            )
            return bool(rows) and rows[0]["state"] == "silent"

        self.cloud.kill([host], look_s=1)
        if self.kind.is_watching:
            wait_for(f"the silence of {host}", silent, PATIENCE_S, 0.5)

    def first_call_s(self, host: str) -> float:
        """Report it; seconds to the first evacuate call, once all is done."""
        posted = time.time()
        self.hacore.notify("COMPUTE_HOST", host)
        wait_for(f"the recovery of {host}", lambda: not self.hacore.unended(), PATIENCE_S)
        called = self.cloud.first_call_at(host)
        assert called is not None, f"no evacuate call for {host}"
        return called - posted


def first_calls(kinds: list[Kind], hosts: int, pairs: int, down: int) -> dict[str, list[float]]:
    """Seconds to the first call, by the name of the kind."""
    names = [f"compute{number}" for number in range(1, hosts + 1)]
    found: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    with contextlib.ExitStack() as stack:
        worlds = []
        for kind in kinds:
            cloud = stack.enter_context(sandbox(KIND, hosts, EACH))
            made = stack.enter_context(
                hacore(cloud.login, names, groups=kind.options(), python=kind.python)
            )
            worlds.append(World(kind, cloud, made))
        time.sleep(4 * INTERVAL_S)  # who has started last knows the hosts by then
        for world in worlds:
            world.cloud.die(names[hosts - down :])
        for round_ in range(pairs + 1):
            host = names[round_]
            for world in worlds:
                world.cloud.die([host])
            for world in worlds:
                world.wait_until_known(host)
            turns = [worlds[(round_ + turn) % len(worlds)] for turn in range(len(worlds))]
            seconds = {world.kind.name: world.first_call_s(host) for world in turns}
            for world in worlds:  # one that is not back would be missing for a day
                world.hacore.forget(host)
            shown = ", ".join(f"{kind.name} {seconds[kind.name]:.3f} s" for kind in kinds)
            print(f"{f'pair {round_}' if round_ else 'uncounted'}: {shown}", flush=True)
            if round_:
                for name, value in seconds.items():
                    found[name].append(value)
    return found


def compare(found: dict[str, list[float]]) -> bool:
    """Print the medians; whether the demand is met."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    ours = medians[WITH.name]
    is_met = True
    for name, median in medians.items():
        spread = f"{min(found[name]):.3f} to {max(found[name]):.3f}"
        print(
            f"median {name}: {median:.3f} s ({spread}); with the limits {ours / median:.3f} of it"
        )
        is_met = is_met and ours <= median * MOST
    return is_met


# ----------------------------------------------------------------------- idle


def idle(kind: Kind, hosts: int, seconds: float) -> None:
    """Measure for so long, and print."""
    names = [f"compute{number}" for number in range(1, hosts + 1)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = MariaDB(folder / "mariadb")
        stack.callback(server.stop)
        cloud = stack.enter_context(sandbox(KIND, hosts, EACH))
        made = stack.enter_context(
            hacore(
                *(cloud.login, names, IDLE_ENGINES),
                groups=kind.options(),
                servers=Servers(database=server.url),
                python=kind.python,
            )
        )
        time.sleep(_SETTLE_S)  # tokens, caches, and the interval is learned
        cloud.control("DELETE", "/requests")
        asked, began = statements(server.url), time.monotonic()
        start = [usage(engine) for engine in made.engines]
        time.sleep(seconds)
        took = time.monotonic() - began
        end = [usage(engine) for engine in made.engines]
        asked = statements(server.url) - asked - 1  # the question itself
        requests = cloud.requests_to("compute")
        answer = cloud.session.get(
            "/os-services",
            microversion="2.90",
            endpoint_filter={"service_type": "compute", "region_name": "RegionOne"},
        )
        size = len(answer.content)
    cpu = [100 * (b[1] - a[1]) / took for a, b in zip(start, end, strict=True)]
    print(
        f"idle, {kind.name}: {hosts} hosts, {IDLE_ENGINES} engines, {took:.0f} s: "
        f"{requests / took:.2f} requests/s and {requests * size / took / 1000:.0f} kB/s at Nova's "
        f"API (a list is {size / 1000:.0f} kB), {asked / took:.1f} statements/s; each engine: CPU "
        f"{', '.join(f'{each:.2f}' for each in cpu)} % of a core, memory "
        f"{', '.join(f'{each[0]:.1f}' for each in start)} MB, then "
        f"{', '.join(f'{each[0]:.1f}' for each in end)} MB",
        flush=True,
    )


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="VENV")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--down", type=int, default=0, help="hosts that are dead all the time")
    parser.add_argument("--idle", type=float, default=120.0, metavar="SECONDS", help="0: not")
    parser.add_argument("--only-idle", action="store_true")
    options = parser.parse_args()
    old = before(python_of(options.before))
    is_met = True
    if not options.only_idle:
        is_met = compare(
            first_calls([WITH, WITHOUT, old], options.hosts, options.pairs, options.down)
        )
    if options.idle:
        idle(old, options.hosts, options.idle)
        idle(WITH, options.hosts, options.idle)
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
