# Licensed under the Apache License, Version 2.0; see LICENSE.
"""40 of 1,000 hosts with devices fall silent together: behind a switch, or without power.

    python -m benchmarks.mass_failure_fenced [--hosts 1000] [--silent 40] [--engines 2]

On the sandbox, with heartbeats as Nova has them by default, its BMCs and its fence agent, MariaDB
and RabbitMQ; 25 segments, and the silent hosts spread over them.  They are reported when they fall
silent, all at once.

switch: the hosts live, and their devices say on.  Demanded: no order is sent, and no instance
    evacuated, for ten minutes.
power: the hosts are off, and their devices say so.  Demanded: no order is sent, and all are
    recovered, held by nobody.

Prints for each how the recoveries ended or what holds them, the orders, the instances that are
left on the hosts, the seconds to the first and to the last end, and the load of the machine.
Exit status 1 if a demand is missed.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.cloud import AS_BY_DEFAULT, LARGE, Hacore, Sandbox, hacore, sandbox
from benchmarks.mass_failure import follow, holds
from tests.crash.fenced import DEVICES
from tests.e2e.ministack import ROOT

KIND = (*LARGE, *AS_BY_DEFAULT)
INTERVAL_S = 10
SEGMENTS, EACH = 25, 2
WATCHED_S = 600.0


def orders(cloud: Sandbox) -> int:
    """How many orders all BMCs have got."""
    return sum(len(bmc["orders"]) for bmc in cloud.control("GET", "/bmcs")["bmcs"])


def run(options: argparse.Namespace, *, power: bool) -> bool:
    """Let it happen, print what came of it; whether that is as demanded."""
    names = [f"compute{number}" for number in range(1, options.hosts + 1)]
    silent = names[: options.silent]
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox(KIND, options.hosts, EACH) as cloud,
        hacore(
            *(cloud.login, names, options.engines),
            groups=_groups(Path(folder), cloud),
            segments=SEGMENTS,
            env={"PYTHONPATH": str(ROOT)},
            main="tests.crash.engine",
        ) as made,
    ):
        time.sleep(4 * INTERVAL_S)  # the hosts are known by then
        if power:
            for host in silent:
                cloud.control("POST", f"/hosts/{host}/power", {"power": "off"})
        else:
            cloud.die(silent)
        made.notify_dead(silent)
        ends = follow(made, len(silent)) if power else _watch(made)
        rules, _ = holds(made)
        statuses = Counter(
            row["status"] for row in made.call("GET", "/notifications?limit=1000")["notifications"]
        )
        sent, left = orders(cloud), cloud.left_on(silent)
    seconds = f"; first end after {ends[0]:.1f} s, last {ends[-1]:.1f} s" if ends else ""
    load = "load {:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
    print(
        f"{'power' if power else 'switch'}: {options.silent} of {options.hosts}: {dict(statuses)}, "
        f"held {dict(rules)}; {sent} orders, {left} instances left{seconds}; {load}",
        flush=True,
    )
    if sent:
        return False
    if power:
        return statuses == {"finished": len(silent)} and not rules and not left
    return left == EACH * len(silent) and not statuses["finished"]


def _groups(folder: Path, cloud: Sandbox) -> dict[str, dict[str, Any]]:
    file = folder / "fencing.ini"
    file.touch(mode=0o600)
    file.write_text(DEVICES.format(port=cloud.url.rpartition(":")[2]))
    return {"nova": {"report_interval": None}, "fencing": {"devices_file": file}}


def _watch(made: Hacore) -> list[float]:
    """Let time pass; no recovery has an end yet, and none is looked for."""
    time.sleep(WATCHED_S)
    assert made.engines[0].is_running()
    return []


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--silent", type=int, default=40)
    parser.add_argument("--engines", type=int, default=2)
    options = parser.parse_args()
    results = [run(options, power=power) for power in (False, True)]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
