# Licensed under the Apache License, Version 2.0; see LICENSE.
"""nova-compute is restarted on 20 hosts, one by one, and monitors report each: who is shot?

    python -m benchmarks.rolling_restart [--hosts 20]

In simulated time: the sandbox's cloud and BMCs, and one engine, by Nova's default heartbeats
(10 s, 60 s).  Each nova-compute is missing for 90 s, or as long as a row says, and every 120 s it
is the next one's turn.  The host and its two instances run on meanwhile.  A monitor reports that
5 s after it stopped.

Prints one row for each way to do that: how many hosts were switched off, how many instances were
evacuated, how many of these ran twice because their host was on, and how the recoveries ended.
The sentences below the table are those of a host monitor's report.
"""

# ruff: noqa: E402 - the back end is selected before anything else is imported
from hacore import concurrency

concurrency.select([])

import argparse
import dataclasses
import tempfile
from collections import Counter
from pathlib import Path

from hacore.states import LIVE
from tests.scenarios import given
from tests.scenarios.stage import Stage
from tests.scenarios.steps import Director

START_S, EVERY_S, REPORT_S = 120.0, 120.0, 5.0
#: After the last one, for what is retried.
REST_S = 1800.0
EACH = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """A way to restart them.

    :ivar process: what the monitor reports is the process, and not its host.
    """

    name: str
    process: bool = False
    devices: bool = True
    missing_s: float = 90.0
    maintenance: bool = False
    paused: bool = False


ROWS = (
    Row("reported as COMPUTE_HOST"),
    Row("reported as PROCESS", process=True),
    Row("COMPUTE_HOST, missing for 25 s", missing_s=25),
    Row("COMPUTE_HOST, on maintenance before", maintenance=True),
    Row("COMPUTE_HOST, recoveries paused before", paused=True),
    Row("COMPUTE_HOST, no devices", devices=False),
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of it; `refused`: reports that the API has not accepted."""

    shot: int
    evacuated: int
    twice: int
    refused: int
    statuses: Counter[str]
    sentences: Counter[str]

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        refused = f"{self.refused} refused" if self.refused else ""
        ends = ", ".join(filter(None, [ends, refused]))
        return f"{self.shot:>5} {self.evacuated:>10} {self.twice:>6}  {ends}"


class Restarts:
    """One row, on a cloud of its own."""

    def __init__(self, row: Row, hosts: int, folder: Path) -> None:
        self._row = row
        self._hosts = [f"compute{number}" for number in range(1, hosts + 1)]
        instances = {f"vm-{host}": {"host": host, "count": EACH} for host in self._hosts}
        cloud = {"size": hosts, "report_interval_s": 10, "service_down_s": 60}
        self._stage: Stage = given.build(
            {
                "cloud": cloud,
                "watched": True,
                "conf": {"nova.report_interval": 10},
                "instances": instances,
                **({"devices": "compute*"} if row.devices else {}),
            },
            folder,
        )
        self._director = Director(self._stage, [])
        self._evacuated: set[str] = set()
        self._twice: set[str] = set()

    def run(self) -> Result:
        """Restart them all."""
        at, director, row = self._stage.clock.at, self._director, self._row
        at(0, lambda: director.start_engine("a"))
        if row.paused:
            at(START_S / 2, lambda: director.pause(None, None))
        for number, host in enumerate(self._hosts):
            self._plan(host, START_S + number * EVERY_S)
        end = START_S + len(self._hosts) * EVERY_S
        if row.paused:
            at(end, lambda: director.resume(None))
        end += REST_S
        at(end, lambda: None)  # time goes on until then
        try:
            self._stage.clock.run(lambda: self._over(end), end + 1)
            return self._result()
        finally:
            self._stage.close()

    def _plan(self, host: str, begin: float) -> None:
        at, director, row = self._stage.clock.at, self._director, self._row
        if row.maintenance:
            at(begin - 30, lambda: director.set_maintenance(host, "on"))
        at(begin, lambda: director.fall_silent(host))
        at(begin + REPORT_S, lambda: self._report(host))
        at(begin + row.missing_s, lambda: self._start(host))

    def _report(self, host: str) -> None:
        if self._row.process:
            self._director.notify_process("nova-compute", host, None)
        else:
            self._director.notify_host(host, None, None)

    def _start(self, host: str) -> None:
        if self._is_on(host):
            self._director.speak_again(host)

    def _is_on(self, host: str) -> bool:
        bmcs = self._stage.cloud.bmcs
        return bmcs.power(bmcs.get(host)) == "on"

    def _over(self, end: float) -> bool:
        self._director.catch_up()
        for migration in self._stage.cloud.state.migrations:
            if migration.migration_type == "evacuation" and migration.status == "done":
                self._evacuated.add(migration.server.uuid)
                if self._is_on(migration.source_compute):
                    self._twice.add(migration.server.uuid)
        return self._stage.clock.monotonic() >= end

    def _result(self) -> Result:
        stage = self._stage
        rows = [stage.notification(uuid) for uuid in self._director.notifications.values()]
        return Result(
            shot=sum(bool(bmc.orders) for bmc in stage.cloud.bmcs.all()),
            evacuated=len(self._evacuated),
            twice=len(self._twice),
            refused=len(self._hosts) - len(rows),
            statuses=Counter(
                "held" if row.held_rule else f"{row.status}{' (open)' * (row.status in LIVE)}"
                for row in rows
            ),
            sentences=Counter(
                (row.message or "").replace(name, "HOST")
                for name, row in zip(self._hosts, rows, strict=False)
            ),
        )


def main() -> None:
    """Run each row, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=20)
    options = parser.parse_args()
    print(f"{options.hosts} hosts with {EACH} instances each")
    print(f"{'':<40} {'shot':>5} {'evacuated':>10} {'twice':>6}  recoveries")
    sentences: Counter[str] = Counter()
    for number, row in enumerate(ROWS):
        with tempfile.TemporaryDirectory() as folder:
            result = Restarts(row, options.hosts, Path(folder)).run()
        print(f"{row.name:<40} {result}", flush=True)
        if number == 0:
            sentences = result.sentences
    print("\n".join(f"{count} x {sentence}" for sentence, count in sentences.items()))


if __name__ == "__main__":
    main()
