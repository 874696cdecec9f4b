# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Many schedules, in several processes, and what they come to.

A module of its own: what multiprocessing calls is not to be in ``__main__`` of a package.
"""

from hacore import concurrency

concurrency.select()

# ruff: noqa: E402 - the back end is selected before anything else is imported
import collections
import faulthandler
import multiprocessing
import time
from collections.abc import Iterable

from tests.schedules.draw import plan
from tests.schedules.run import Bench, Result

#: No schedule takes so many real seconds.
_HANGS_S = 120
_bench: Bench | None = None


def run_one(seed: int) -> Result:
    """Run one schedule, on what this process has made already."""
    global _bench
    if _bench is None:
        _bench = Bench()
    # a lock that is held while its actor waits would stop the world for ever
    faulthandler.dump_traceback_later(_HANGS_S, exit=True)
    result = _bench.run(plan(seed))
    faulthandler.cancel_dump_traceback_later()
    return result


def run_many(first: int, count: int, jobs: int, fail_fast: bool) -> int:
    """Run schedules and print what they came to."""
    begun = time.perf_counter()
    seeds = range(first, first + count)
    summary = Summary()
    if jobs == 1:
        summary.take(map(run_one, seeds), fail_fast)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            summary.take(pool.imap_unordered(run_one, seeds, chunksize=10), fail_fast)
    summary.print(time.perf_counter() - begun)
    return 1 if summary.failing else 0


class Summary:
    """Adds results up."""

    def __init__(self) -> None:
        self.failing: list[int] = []
        self._kinds: collections.Counter[str] = collections.Counter()
        self._sums: collections.Counter[str] = collections.Counter()
        self._slowest = 0.0
        self._simulated_s = self._wall_s = 0.0

    def take(self, results: Iterable[Result], fail_fast: bool) -> None:
        """Add results up as they come, and tell of those that broke a promise."""
        for result in results:
            self._kinds.update(result.kinds)
            self._simulated_s += result.simulated_s
            self._wall_s += result.wall_s
            self._slowest = max(self._slowest, result.wall_s)
            self._sums["schedules"] += 1
            for name in ("notifications", "evacuations", "kills", "takeovers"):
                self._sums[name] += getattr(result, name)
            self._sums["violations"] += len(result.violations)
            if result.violations:
                self.failing.append(result.seed)
                print(f"seed {result.seed}: {result.violations[0]}", flush=True)
                if fail_fast:
                    return

    def print(self, wall_s: float) -> None:
        """Print the sums."""
        for name, number in self._sums.items():
            print(f"{number:8d} {name}")
        print(f"{self._simulated_s / 3600:8.1f} hours simulated")
        for kind, number in sorted(self._kinds.items()):
            print(f"{number:8d} schedules with {kind}")
        done = max(1, self._sums["schedules"])
        print(
            f"{wall_s:8.1f} s, {1000 * self._wall_s / done:.0f} ms per schedule, the slowest "
            f"{1000 * self._slowest:.0f} ms"
        )
        if self.failing:
            print(f"failing: {' '.join(map(str, self.failing[:30]))}")
            print(f"again: python -m tests.schedules --seed {self.failing[0]}")
