# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How the window of evacuations in flight follows Nova, as a picture.

    python -m benchmarks.window [doc/pictures/window.png]

Real daemons on the sandbox, with MariaDB and RabbitMQ; a fast Nova (37 evacuations a
second), a slow one (2.3), and a faltering one (9, which works at a quarter of its pace
from the 8th to the 20th second and answers every fifth call with 503 meanwhile).
The window is what the engine writes to its log; what was in flight and when it came
back is what the moves say.
"""

import argparse
import dataclasses
import datetime
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.cloud import LARGE, MEDIUM, SMALL, hacore, sandbox

matplotlib.use("Agg")
from matplotlib import pyplot

EACH = 50
PATIENCE_S = 600.0
_SIZE = re.compile(r"^(\S+ \S+) .*hacore\.engine\.window .* window (\d+):", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Case:
    """A Nova, and what happens to it: seconds after the first POST, and its faults then."""

    title: str
    kind: Sequence[str]
    hosts: int
    rate: float  #: evacuations a second, at most
    faults: tuple[tuple[float, dict[str, Any]], ...] = ()


_OVERLOAD = {"service": "compute", "status": 503, "every": 5}
CASES = (
    Case("fast", LARGE, 10, 37.2),
    Case("slow", SMALL, 1, 2.33),
    Case(
        "faltering",
        MEDIUM,
        5,
        9.3,
        ((8.0, {"slow": 4.0, "calls": [_OVERLOAD]}), (20.0, {"slow": 1.0, "calls": []})),
    ),
)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What came out; times in seconds after the first POST."""

    case: Case
    sizes: list[tuple[float, int]]
    flights: list[tuple[float, float]]

    @property
    def total_s(self) -> float:
        """Until the last instance is back."""
        return max(end for _begin, end in self.flights)


def measure(case: Case) -> Seen:
    """Kill the hosts of a case, have them recovered."""
    hosts = [f"compute{number}" for number in range(1, case.hosts + 1)]
    with (
        sandbox(case.kind, 100, EACH) as cloud,
        hacore(cloud.login, hosts, options={"debug": "true"}) as made,
    ):
        cloud.kill(hosts)
        begun = datetime.datetime.now()  # noqa: DTZ005 - as the log has it
        begun_utc = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        started = time.monotonic()
        made.notify_dead(hosts)
        todo = list(case.faults)
        while made.unended() and time.monotonic() - started < PATIENCE_S:
            if todo and time.monotonic() - started >= todo[0][0]:
                cloud.control("PUT", "/faults", todo.pop(0)[1])
            time.sleep(0.1)
        text = made.engines[0].text()
        rows = made.deployment.read("SELECT start_time, end_time, status FROM vmoves")
    assert {row["status"] for row in rows} == {"succeeded"}, rows
    sizes = [
        ((datetime.datetime.fromisoformat(at) - begun).total_seconds(), int(size))
        for at, size in _SIZE.findall(text)
    ]
    flights = [
        (
            (row["start_time"] - begun_utc).total_seconds(),
            (row["end_time"] - begun_utc).total_seconds(),
        )
        for row in rows
    ]
    return Seen(case, sizes, flights)


def draw(seen: Sequence[Seen], path: Path) -> None:
    """One row for each case: the window and what is in flight; verdicts by second."""
    figure, rows = pyplot.subplots(len(seen), 2, figsize=(12, 3 * len(seen)), squeeze=False)
    for one, (left, right) in zip(seen, rows, strict=True):
        span = one.total_s
        times = [0.0, *(at for at, _size in one.sizes), span]
        sizes = [6, *(size for _at, size in one.sizes)]
        left.step(times, [*sizes, sizes[-1]], where="post", label="window")
        moments = [span * n / 400 for n in range(401)]
        flying = [sum(begin <= at < end for begin, end in one.flights) for at in moments]
        left.plot(moments, flying, linewidth=0.8, label="in flight")
        left.set_title(f"{one.case.title} Nova: {len(one.flights)} instances, {span:.0f} s")
        left.set_ylabel("evacuations")
        left.legend()
        right.hist([end for _begin, end in one.flights], bins=range(int(span) + 2))
        right.axhline(one.case.rate, linestyle="--", color="grey", label="what Nova can do")
        right.set_ylabel("verdicts per second")
        right.legend()
        for at, _fault in one.case.faults:
            left.axvline(at, color="red", linewidth=0.6)
            right.axvline(at, color="red", linewidth=0.6)
    for axis in rows[-1]:
        axis.set_xlabel("seconds after the first POST")
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})


def main() -> None:
    """Measure, draw, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, default=Path("doc/pictures/window.png"))
    options = parser.parse_args()
    seen = []
    for case in CASES:
        seen.append(measure(case))
        moved, sizes = len(seen[-1].flights), [size for _at, size in seen[-1].sizes]
        print(
            f"{case.title}: {moved} instances in {seen[-1].total_s:.1f} s, "
            f"{moved / case.rate:.1f} s at Nova's full rate; window {min(sizes, default=6)} to "
            f"{max(sizes, default=6)}, {sizes[-1] if sizes else 6} at the end",
            flush=True,
        )
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(seen, options.picture)


if __name__ == "__main__":
    main()
