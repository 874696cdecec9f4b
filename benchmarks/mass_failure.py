# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Many hosts of 1,000 die at once: 40, which the limits let pass, and 60, which they do not.

    python -m benchmarks.mass_failure --before VENV [--pairs 3] [--engines 2] [--instances 2]

On the sandbox, with heartbeats as Nova has them by default, MariaDB and RabbitMQ; 25 segments of
40 hosts, and the dead spread over them.  VENV is the virtual environment of the version before.
Nova shows the dead as down, and hacore knows that they are silent, before they are reported, all
at once; seconds are from the first POST.

40: pairs of the version before and this one, each on a new cloud.  Demanded: none is held, and the
    median of the time to the last `finished` is at most that of the version before, plus 5 %.
60: more than burst_share (5 %, 50 hosts) at once, once.  Demanded: 10 are held by `burst`, for
    120 s; after that all end `finished`.

Exit status 1 if a demand is missed.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.cloud import AS_BY_DEFAULT, LARGE, Hacore, hacore, python_of, sandbox
from benchmarks.rack_failure import statements

KIND = (*LARGE, *AS_BY_DEFAULT)
INTERVAL_S = 10
SEGMENTS = 25
FEW, MANY = 40, 60
HELD, HELD_S = 10, 120.0
MOST = 1.05
PATIENCE_S = 900.0
_LEARNED = {"nova": {"report_interval": None}}


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a mass failure.

    :ivar ends: seconds after the first POST at which a recovery had ended, in order.
    :ivar statuses: how many ended how.
    :ivar held: how many were ever held, by rule.
    :ivar longest_s: for which one was held the longest, and `shortest_s` the shortest.
    :ivar left: instances that are on the dead hosts still.
    """

    ends: list[float]
    statuses: Counter[str]
    held: Counter[str]
    shortest_s: float
    longest_s: float
    left: int
    statements: int

    @property
    def total_s(self) -> float:
        """Until the last has ended."""
        return self.ends[-1]

    def __str__(self) -> str:
        held = ""
        if self.held:
            held = (
                f", held {dict(self.held)} for {self.shortest_s:.1f} to {self.longest_s:.1f} s; "
                f"the last of the others after {self.ends[-1 - self.held.total()]:.1f} s"
            )
        return (
            f"first ended after {self.ends[0]:.1f} s, median {statistics.median(self.ends):.1f} s, "
            f"last {self.total_s:.1f} s; {dict(self.statuses)}{held}; {self.left} instances left, "
            f"{self.statements} statements"
        )


def follow(made: Hacore, count: int) -> list[float]:
    """Wait until so many have ended; seconds from now at which each was seen to have."""
    began, ends = time.monotonic(), list[float]()
    while len(ends) < count and time.monotonic() - began < PATIENCE_S:
        (row,) = made.deployment.read(
            "SELECT COUNT(*) AS n FROM notifications WHERE status IN "
            "('finished', 'failed', 'ignored')"
        )
        ends += [time.monotonic() - began] * (int(row["n"]) - len(ends))
        time.sleep(0.1)
    return ends


def holds(made: Hacore) -> tuple[Counter[str], list[float]]:
    """How many were ever held, by rule; and for how long each, by the database's clock."""
    rows = made.deployment.read(
        "SELECT notification_uuid AS uuid, gate, answer, message, created_at AS at "
        "FROM recovery_events ORDER BY id"
    )
    rules: Counter[str] = Counter()
    held_at, seconds = {}, []
    for row in rows:
        message = row["message"] or ""
        if message.startswith("error: Held ("):
            rules[message.split("(")[1].split(")")[0]] += 1
            held_at[row["uuid"]] = row["at"]
        elif message.startswith("Goes on: ") and row["uuid"] in held_at:
            seconds.append((row["at"] - held_at.pop(row["uuid"])).total_seconds())
    return rules, sorted(seconds)


def measure(
    hosts: int, each: int, engines: int, dead: Sequence[str], python: str = sys.executable
) -> Result:
    """Kill, report, follow."""
    is_watching = python == sys.executable
    names = [f"compute{number}" for number in range(1, hosts + 1)]
    with (
        sandbox(KIND, hosts, each) as cloud,
        hacore(
            *(cloud.login, names, engines), groups=_LEARNED, segments=SEGMENTS, python=python
        ) as made,
    ):
        time.sleep(4 * INTERVAL_S)  # the hosts are known by then
        cloud.kill(dead, look_s=2)
        if is_watching:
            made.wait_until_silent(len(dead))
        asked, began = statements(), time.monotonic()
        made.notify_dead(dead)
        posted_s = time.monotonic() - began
        ends = [posted_s + end for end in follow(made, len(dead))]
        asked = statements() - asked
        rows = made.call("GET", "/notifications")["notifications"]
        rules, seconds = holds(made) if is_watching else (Counter[str](), [])
        return Result(
            ends,
            Counter(row["status"] for row in rows),
            rules,
            min(seconds, default=0.0),
            max(seconds, default=0.0),
            cloud.left_on(dead),
            asked,
        )


def pass_(options: argparse.Namespace, python: str) -> bool:
    """40: none is held; whether that is so, and takes no longer than before."""
    dead = [f"compute{number}" for number in range(1, FEW + 1)]
    ours, theirs, is_met = [], [], True
    for number in range(1, options.pairs + 1):
        arguments = options.hosts, options.instances, options.engines, dead
        old = measure(*arguments, python)
        print(f"{FEW} of {options.hosts}, pair {number}, version before: {old}", flush=True)
        new = measure(*arguments)
        print(f"{FEW} of {options.hosts}, pair {number}, this version: {new}", flush=True)
        theirs.append(old.total_s)
        ours.append(new.total_s)
        is_met = is_met and not new.held and new.statuses["finished"] == FEW and not new.left
    our, their = statistics.median(ours), statistics.median(theirs)
    print(
        f"{FEW} of {options.hosts}: median {our:.1f} s, before {their:.1f} s: "
        f"{our / their:.3f} of it",
        flush=True,
    )
    return is_met and our <= their * MOST


def hold(options: argparse.Namespace) -> bool:
    """60: some are held; whether it is as many as promised, and for as long."""
    dead = [f"compute{number}" for number in range(1, MANY + 1)]
    result = measure(options.hosts, options.instances, options.engines, dead)
    print(f"{MANY} of {options.hosts}: {result}", flush=True)
    return (
        result.held == {"burst": HELD}
        and result.shortest_s >= HELD_S
        and result.statuses["finished"] == MANY
        and not result.left
    )


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="VENV")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=2, help="on each host")
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=3, help="0: only the larger failure")
    options = parser.parse_args()
    is_met = pass_(options, python_of(options.before)) if options.pairs else True
    is_met = hold(options) and is_met
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
