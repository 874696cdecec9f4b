# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The row that the mass-failure limits lock: who has it and is frozen, and a crowd at it.

    python -m benchmarks.limits_lock [--database mysql]

On the sandbox with RabbitMQ; without --database on MariaDB and PostgreSQL.  Heartbeats are as
Nova has them by default.

frozen: of two engines, the one that recovers the first host stops itself, as by SIGSTOP, in the
    transaction of the limits, with their row locked; a second host is reported.  How long each
    wait of the other engine for the row lasts, and seconds from its first question until it has
    passed.  Then the first goes on.  Demanded: no wait is longer than
    2.5 s, it passes before a lease of 60 s is over, and each instance is evacuated once.
crowd: three engines, a segment of 24 hosts of which 13 die: the recoveries of 12 are held; the
    13th comes back, and one look lifts all the holds.  Seconds from the first that is lifted until
    the last has passed the limits, by the database's clock; how many waits were given up.
    Demanded: all are lifted within one look, and pass.

Exit status 1 if a demand is missed.
"""

import argparse
import contextlib
import datetime
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cloud import AS_BY_DEFAULT, MEDIUM, Hacore, Sandbox, hacore, sandbox
from hacore.db.limits import LOCK_S
from tests import databases
from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.deployment import Servers

KINDS = ("mysql", "postgresql")
INTERVAL_S = 10
LEASE_S = 60.0
HELD, OTHERS = 12, 12
PATIENCE_S = 300.0
_ROOT = Path(__file__).parents[1]
_LEARNED = {"nova": {"report_interval": None}}
_SMALL = 0.5  #: seconds that a wait may last longer than what it is limited to
_WAIT = re.compile(r"^asked at (\S+), (had|gave up) the row after (\S+) s$", re.MULTILINE)


def _utc(time_: datetime.datetime) -> float:
    return time_.replace(tzinfo=datetime.UTC).timestamp()


@contextlib.contextmanager
def _cloud(
    kind: str, hosts: int, engines: int, **groups: dict[str, Any]
) -> Iterator[tuple[Sandbox, Hacore]]:
    names = [f"compute{number}" for number in range(1, hosts + 1)]
    with (
        sandbox((*MEDIUM, *AS_BY_DEFAULT), hosts, 2) as cloud,
        hacore(
            *(cloud.login, names, engines),
            groups={**_LEARNED, **groups},
            servers=Servers(database=databases.SERVERS[kind]),
        ) as made,
    ):
        yield cloud, made


def _wait_until_ended(made: Hacore) -> Counter[str]:
    wait_for("the end of all recoveries", lambda: made.unended() == 0, PATIENCE_S)
    return Counter(row["status"] for row in made.call("GET", "/notifications")["notifications"])


# --------------------------------------------------------------------- frozen


def frozen(kind: str) -> bool:
    """Freeze one; whether it is as demanded."""
    with tempfile.TemporaryDirectory() as folder, _cloud(kind, 8, engines=0) as (cloud, made):
        file = Path(folder) / "frozen"
        env = {"PYTHONPATH": str(_ROOT), "FROZEN_FILE": str(file)}
        for name in ("engine0", "engine1"):
            made.deployment.start_engine(name, env=env, main="benchmarks.frozen_engine")
        engines = made.deployment.engines
        for engine in engines.values():
            engine.wait_until_it_says("is ready", 60)
        time.sleep(4 * INTERVAL_S)
        dead = ["compute1", "compute2"]
        cloud.kill(dead)
        made.wait_until_silent(len(dead))
        made.notify("COMPUTE_HOST", dead[0])
        pid = wait_for("a frozen engine", lambda: _stopped(file), 60, 0.01)
        frozen_at = time.time()
        uuid = made.notify("COMPUTE_HOST", dead[1])
        try:
            passed_at = wait_for("the other to pass", lambda: _passed_at(made, uuid), LEASE_S, 0.05)
        finally:
            os.kill(pid, signal.SIGCONT)
        (other,) = (each for each in engines.values() if f"{uuid}: new -> running" in each.text())
        waits = wait_for("its questions in the log", lambda: _waits(other, frozen_at), 10, 0.05)
        statuses = _wait_until_ended(made)
        moved = Counter(
            row["server"] for row in cloud.control("GET", "/evacuations")["evacuations"]
        )
        left = cloud.left_on(dead)
    longest_s = max(seconds for _, _, seconds in waits)
    print(
        f"{kind}, frozen: "
        f"{', '.join(f'{how} the row after {seconds:.2f} s' for _, how, seconds in waits)}; "
        f"passed {passed_at - waits[0][0]:.1f} s after the first question, "
        f"{passed_at - frozen_at:.1f} s after the freeze; in the end {dict(statuses)}, each "
        f"instance evacuated {sorted(set(moved.values()))} time(s), {left} left",
        flush=True,
    )
    is_met = statuses == {"finished": 2} and set(moved.values()) == {1} and not left
    return is_met and longest_s <= LOCK_S + _SMALL


def _stopped(file: Path) -> int | None:
    """The process that has stopped itself."""
    if not file.exists() or not (text := file.read_text()):
        return None
    stat = Path(f"/proc/{text}/stat").read_text()
    return int(text) if stat.rpartition(")")[2].split()[0] == "T" else None


def _passed_at(made: Hacore, uuid: str) -> float | None:
    rows = made.deployment.read(f"SELECT passed_at AS at FROM notifications WHERE uuid = '{uuid}'")
    return _utc(rows[0]["at"]) if rows[0]["at"] else None


def _waits(engine: Daemon, since: float) -> list[tuple[float, str, float]]:
    """When it asked, what came of it, after how many seconds; those that took time."""
    found = [(float(at), how, float(after)) for at, how, after in _WAIT.findall(engine.text())]
    later = [each for each in found if each[0] >= since]
    return [each for each in later if each[2] > 0.05] or later[:1]


# ---------------------------------------------------------------------- crowd


def crowd(kind: str) -> bool:
    """Lift 12 at once; whether it is as demanded."""
    # as many at once must not be what holds them
    with _cloud(kind, HELD + OTHERS, 3, mass_failure={"burst_hosts": 50}) as (cloud, made):
        time.sleep(4 * INTERVAL_S)
        dead = [f"compute{number}" for number in range(1, HELD + 2)]
        cloud.kill(dead)
        made.wait_until_silent(len(dead))
        made.notify_dead(dead[:HELD])
        wait_for("the holds", lambda: _held(made) == HELD, PATIENCE_S)
        cloud.control("POST", f"/hosts/{dead[HELD]}/revive")
        wait_for("the end of the holds", lambda: _held(made) == 0, PATIENCE_S, 0.5)
        statuses = _wait_until_ended(made)
        lifted = [
            _utc(row["at"])
            for row in made.deployment.read(
                "SELECT created_at AS at FROM recovery_events WHERE message LIKE 'Goes on: %'"
            )
        ]
        passed = [
            _utc(row["at"])
            for row in made.deployment.read("SELECT passed_at AS at FROM notifications")
        ]
        ended = [
            _utc(row["at"])
            for row in made.deployment.read("SELECT updated_at AS at FROM notifications")
        ]
        busy = sum(engine.text().count("mass-failure limits: Timed out") for engine in made.engines)
        owners = made.deployment.read("SELECT COUNT(*) AS n FROM notifications GROUP BY owner")
    print(
        f"{kind}, crowd: {len(lifted)} lifted within {max(lifted) - min(lifted):.2f} s; the first "
        f"passed {min(passed) - min(lifted):.2f} s after the first was lifted, the last "
        f"{max(passed) - min(lifted):.2f} s; {busy} waits given up; all ended after "
        f"{max(ended) - min(lifted):.1f} s ({dict(statuses)}; by engine "
        f"{sorted(row['n'] for row in owners)})",
        flush=True,
    )
    is_one_look = max(lifted) - min(lifted) < INTERVAL_S / 2
    return statuses == {"finished": HELD} and len(lifted) == HELD and is_one_look


def _held(made: Hacore) -> int:
    (row,) = made.deployment.read(
        "SELECT COUNT(*) AS n FROM notifications WHERE held_rule = 'majority'"
    )
    return int(row["n"])


def main() -> None:
    """Run on the databases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=KINDS, action="append")
    options = parser.parse_args()
    kinds = options.database or KINDS
    results = [measure(kind) for kind in kinds for measure in (frozen, crowd)]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
