# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``python -m tests.schedules``: run many schedules, or tell the story of one."""

from hacore import concurrency

concurrency.select()

# ruff: noqa: E402 - the back end is selected before anything else is imported
import argparse
import sys

from tests.schedules.draw import plan
from tests.schedules.many import run_many
from tests.schedules.run import Bench


def main() -> int:
    """Return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one and tell its story")
    parser.add_argument("--count", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=1, help="seed of the first one")
    parser.add_argument("--jobs", type=int, default=1, help="processes to run them in")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first violation")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return tell(arguments.seed)
    return run_many(arguments.first, arguments.count, arguments.jobs, arguments.fail_fast)


def tell(seed: int) -> int:
    """Run one schedule and print its story."""
    chosen = plan(seed)
    print(f"seed {seed}")
    for group, options in chosen.options.items():
        print(f"  [{group}] " + ", ".join(f"{key} {value}" for key, value in options.items()))
    print("  cloud: " + ", ".join(f"{key} {value}" for key, value in chosen.cloud.items()))
    for part in (*chosen.segments, *chosen.hosts, *chosen.instances, *chosen.engines):
        print(f"  {part}")
    result = Bench().run(chosen, tell=True)
    print("\n".join(result.story))
    for violation in result.violations:
        print(f"VIOLATION {violation}")
    print(
        f"{result.simulated_s:.0f} s simulated in {result.wall_s:.2f} s; "
        f"{len(result.violations)} violations"
    )
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
