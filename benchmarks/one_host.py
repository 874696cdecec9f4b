# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One host dies: seconds from its death to the first evacuate call, as an operator sees it.

    python -m benchmarks.one_host --before VENV [--pairs 5] [--only 10/60 1/5 others]

On the sandbox, with MariaDB and RabbitMQ; nothing of hacore is configured.  VENV is the virtual
environment of the version before.  Each row has a cloud of its own with Nova's report_interval and
service_down_time as named, four hosts, and one engine, which has watched for a while.  The rows of
a group run side by side: they wait.  The death is reported when it happens, unless a row says when.

10/60, 1/5: pairs of the version before and this one; the hosts of a pair die at the same moment
    between two heartbeats, those of the next pair at another one.  Demanded: the median of this
    version is not a second above that of the version before.
others: this version, once each: 10/25; and with 10/60 a fencing step of the operator's own that
    returns fenced=True; [host_failure] force_down = always; the list of services fails once during
    the wait; reported 5 s before the death, and 60 s after it; and the engine restarted just
    before the death.

Exit status 1 if the demand is missed.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.cloud import Hacore, Sandbox, hacore, python_of, sandbox
from tests.e2e.daemons import wait_for

HOST = "compute1"
HOSTS = [f"compute{number}" for number in range(1, 5)]
GROUPS = ("10/60", "1/5", "others")
MOST_S = 1.0
PATIENCE_S = 400.0
_EXAMPLE = Path(__file__).parents[1] / "doc" / "examples" / "hacore-fencing-example"
_FLOWS = "taskflow_driver_recovery_flows"
_FORCED = {"host_failure": {"force_down": "always"}}
_FENCED = {
    "fencing": {"off_command": "true", "status_command": "echo off"},
    _FLOWS: {
        "host_auto_failure_recovery_tasks": "pre:['example_fence_task',"
        "'disable_compute_service_task'],main:['prepare_HA_enabled_instances_task'],"
        "post:['evacuate_instances_task']"
    },
}


@dataclasses.dataclass(frozen=True)
class World:
    """A cloud, and the hacore that is measured."""

    cloud: Sandbox
    hacore: Hacore
    interval_s: float


def _death(world: World) -> float:
    """Kill the host; when that was."""
    died_at = time.time()
    world.cloud.die([HOST])
    return died_at


def reported(world: World, after_s: float = 0.0) -> float:
    """Die, and report it so many seconds later (or before); when it died."""
    if after_s < 0:
        world.hacore.notify("COMPUTE_HOST", HOST)
        time.sleep(-after_s)
        return _death(world)
    died_at = _death(world)
    time.sleep(after_s)
    world.hacore.notify("COMPUTE_HOST", HOST)
    return died_at


def list_fails(world: World) -> float:
    """Answer one look of the engine with an error, 20 s after the death."""
    died_at = reported(world)
    time.sleep(20)
    # what fails may be a read of one service, which is tried again: until it was a look
    rule = {"service": "compute", "method": "GET", "path": "/os-services$", "status": 503}
    (engine,) = world.hacore.engines
    while "no host is taken for dead until it can be read" not in engine.text():
        world.cloud.control("PUT", "/faults", {"calls": [{**rule, "times": 1}]})
        time.sleep(0.5)
    world.cloud.control("DELETE", "/faults")
    return died_at


def engine_restarted(world: World) -> float:
    """Restart the engine, then die."""
    deployment = world.hacore.deployment
    (name,) = deployment.engines
    deployment.engines[name].end()
    deployment.start_engine(name).wait_until_it_says("is ready", 60)
    return reported(world)


@dataclasses.dataclass(frozen=True)
class Row:
    """What is measured.

    :ivar interval_s: Nova's report_interval; `down_s`: its service_down_time.
    :ivar phase: when the host dies, in parts of the interval after a heartbeat.
    :ivar happen: lets the host die; returns when it did.
    """

    name: str
    interval_s: float
    down_s: float
    phase: float = 0.5
    happen: Callable[[World], float] = reported
    groups: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    python: str = sys.executable
    env: dict[str, str] | None = None


def pairs_of(name: str, count: int, before: str) -> list[Row]:
    """The rows of a group of pairs, each pair one after the other."""
    interval_s, down_s = (float(part) for part in name.split("/"))
    return [
        Row(f"{name} {version}", interval_s, down_s, (number + 0.5) / count, python=python)
        for number in range(count)
        for version, python in (("before", before), ("now", sys.executable))
    ]


def others(folder: Path) -> list[Row]:
    """The rows that only this version has.

    :param folder: where the example of a step is made known.
    """
    info = folder / "hacore_fencing_example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: hacore-fencing-example\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[hacore.task_flow.tasks]\nexample_fence_task = hacore_fencing_example:ExampleFenceTask\n"
    )
    step = {"PYTHONPATH": f"{folder}:{_EXAMPLE}"}
    return [
        Row("10/25", 10, 25),
        Row("10/60, fenced by a step", 10, 60, groups=_FENCED, env=step),
        Row(
            "10/60, force_down = always", 10, 60, groups={"host_failure": {"force_down": "always"}}
        ),
        Row("10/60, the list fails once", 10, 60, happen=list_fails),
        Row("10/60, reported 5 s before", 10, 60, happen=lambda world: reported(world, -5)),
        Row("10/60, reported 60 s after", 10, 60, happen=lambda world: reported(world, 60)),
        Row("10/60, engine restarted", 10, 60, happen=engine_restarted),
    ]


@contextlib.contextmanager
def _world(row: Row) -> Iterator[World]:
    kind = ("--service-down", str(row.down_s), "--set", f"report_interval_s={row.interval_s}")
    with (
        sandbox(kind, len(HOSTS), 2) as cloud,
        hacore(
            *(cloud.login, HOSTS),
            groups={"nova": {"report_interval": None}, **row.groups},
            python=row.python,
            env=row.env,
        ) as made,
    ):
        yield World(cloud, made, row.interval_s)


def _wait_for_phase(world: World, phase: float) -> None:
    """Return when so much of an interval has passed since the last heartbeat."""
    now = world.cloud.control("GET", "/state?host=none")["now"]
    time.sleep((phase * world.interval_s - now) % world.interval_s)


def _is_learned(world: World) -> bool:
    shown = world.hacore.deployment.read("SELECT interval_s FROM watch")
    learned = [row["interval_s"] for row in shown if row["interval_s"]]
    return any(abs(each - world.interval_s) < 0.1 * world.interval_s for each in learned)


def _measure(world: World, row: Row) -> float:
    """Seconds from the death to the first evacuate call."""
    if row.happen is reported:
        _wait_for_phase(world, row.phase)
    died_at = row.happen(world)
    return world.cloud.wait_for_first_call(HOST, PATIENCE_S) - died_at


def measure(rows: list[Row]) -> list[float]:
    """All side by side; prints each."""
    with contextlib.ExitStack() as stack:
        worlds = [stack.enter_context(_world(row)) for row in rows]
        for world, row in zip(worlds, rows, strict=True):
            if row.python == sys.executable:  # the version before does not learn it
                wait_for("Nova's report interval", functools.partial(_is_learned, world), 120)
        time.sleep(6 * rows[-1].interval_s)  # all engines know the hosts by then
        with concurrent.futures.ThreadPoolExecutor(len(rows)) as pool:
            seconds = list(pool.map(_measure, worlds, rows))
    return seconds


def compare(name: str, rows: list[Row], seconds: list[float]) -> bool:
    """Print pairs and medians; whether the demand is met."""
    before, now = seconds[::2], seconds[1::2]
    for row, old, new in zip(rows[::2], before, now, strict=True):
        print(
            f"{name}, {row.phase * row.interval_s:.1f} s after a heartbeat: before {old:.1f} s, "
            f"now {new:.1f} s"
        )
    old, new = statistics.median(before), statistics.median(now)
    most = max(b - a for a, b in zip(before, now, strict=True))
    print(
        f"{name}: median before {old:.1f} s, now {new:.1f} s; of the pairs {most:+.1f} s at most",
        flush=True,
    )
    return new - old < MOST_S


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="VENV")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP")
    options = parser.parse_args()
    is_met = True
    for name in options.only:
        if name == "others":
            with tempfile.TemporaryDirectory() as folder:
                rows = others(Path(folder))
                for row, seconds in zip(rows, measure(rows), strict=True):
                    print(f"{row.name}: {seconds:.1f} s", flush=True)
            continue
        rows = pairs_of(name, options.pairs, python_of(options.before))
        is_met = compare(name, rows, measure(rows)) and is_met
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
