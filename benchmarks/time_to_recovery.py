# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host dies on a real Nova with Nova's own defaults: seconds until its instances are back.

    MINISTACK_REPORT_INTERVAL=10 MINISTACK_SERVICE_DOWN_TIME=60 tools/ministack/ministack up
    python -m benchmarks.time_to_recovery [--rounds 5] [--instances 20] [--only on off none]

With MariaDB and RabbitMQ, Debian's fence-agents and sushy-tools (the extra `test`).  hacore has
its own defaults.  Each round has a new hacore, which has learned Nova's report interval, and lets
nova-compute on one host die with kill -9, at another moment between two heartbeats; its monitor
reports that at once.  The cases take turns:

on:   the host has a device, Redfish, which says that it is on: it is switched off by fence_redfish;
off:  it has lost its power before, and its device says so;
none: it has no device.

Prints for each round the seconds from the last heartbeat and from the report to the first evacuate
call, by the access log of Nova's API; from there until the last instance was back, by hacore's
moves; the same from the report; and the load of the machine.  Then the medians.

Demanded of the medians, with a device: the first call within 45 s of the last heartbeat or 15 s of
the report, whichever is later; all back 12 s after it.  Exit status 1 if one is missed.  A busy
machine misses the second one by what Nova takes.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cloud import Hacore, hacore
from benchmarks.host_recovery import AccessLogs
from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.ministack import ROOT, Ministack
from tests.fencing import PASSWORD
from tests.fencing.conftest import Bmc, certificate
from tests.fencing.redfish_emulator import UUIDS
from tests.servers import free_port

HOST = "compute1"
CASES = ("on", "off", "none")
INTERVAL_S = 10.0
PATIENCE_S = 300.0
BEAT_S, REPORT_S, BACK_S = 45.0, 15.0, 12.0
_DEVICE = """\
[bmc]
hosts = {host}
agent = fence_redfish
ip = 127.0.0.1
ipport = {port}
systems_uri = /redfish/v1/Systems/{uuid}
identity = {uuid}
username = admin
password = {password}
"""


@dataclasses.dataclass(frozen=True)
class Result:
    """Of a round; the moments by time.time(), as all clocks are the machine's.

    :ivar beat_at: the last heartbeat, in whole seconds, as Nova shows it.
    :ivar back_at: when hacore has seen the last instance back.
    """

    beat_at: float
    reported_at: float
    first_at: float
    back_at: float

    @property
    def of_beat_s(self) -> float:
        """From the last heartbeat to the first evacuate call."""
        return self.first_at - self.beat_at

    @property
    def of_report_s(self) -> float:
        """From the report to the first evacuate call."""
        return self.first_at - self.reported_at

    @property
    def late_s(self) -> float:
        """From the later of the two aims to the first call."""
        return self.first_at - max(self.beat_at + BEAT_S, self.reported_at + REPORT_S)

    @property
    def back_s(self) -> float:
        """From the first call until all are back."""
        return self.back_at - self.first_at

    @property
    def total_s(self) -> float:
        """From the report until all are back."""
        return self.back_at - self.reported_at


def told(name: str, results: list[Result]) -> str:
    """Their medians, in a line."""

    def median(figure: str) -> float:
        return float(statistics.median(getattr(each, figure) for each in results))

    return (
        f"{name:<22} first call {median('of_beat_s'):5.1f} s after the last heartbeat, "
        f"{median('of_report_s'):5.1f} s after the report; all back {median('back_s'):4.1f} s "
        f"later, {median('total_s'):5.1f} s after the report"
    )


@contextlib.contextmanager
def redfish(folder: Path) -> Iterator[Bmc]:
    """A device, whose host is a file."""
    folder.mkdir()
    crt, key = certificate(folder, "bmc")
    bmc = Bmc(folder, free_port(), on="On", off="Off")
    bmc.reset()
    command = [sys.executable, "-m", "tests.fencing.redfish_emulator", str(folder), str(bmc.port)]
    daemon = Daemon("redfish", [*command, str(crt), str(key)], folder / "log", cwd=ROOT)
    try:
        daemon.wait_until_it_says("Running on", 60)
        yield bmc
    finally:
        daemon.kill()


def options(cloud: Ministack, bmc: Bmc, case: str) -> dict[str, Any]:
    """What hacore is deployed with."""
    groups: dict[str, dict[str, Any]] = {"nova": {"report_interval": None}}
    if case != "none":
        file = bmc.folder / "fencing.ini"
        file.touch(mode=0o600)
        file.write_text(_DEVICE.format(host=HOST, port=bmc.port, uuid=UUIDS[0], password=PASSWORD))
        groups["fencing"] = {"devices_file": file}
    return {
        "options": {"auth_strategy": "keystone", "verify_interval": None},
        "token": str(cloud.session.get_token()),
        "groups": groups,
        "env": {"REQUESTS_CA_BUNDLE": str(bmc.folder / "bmc.crt")},
    }


def beat_at(cloud: Ministack) -> float:
    """When Nova has heard the host last."""
    shown: str = cloud.service(HOST).updated_at
    return datetime.datetime.fromisoformat(f"{shown}+00:00").timestamp()


def wait_until_learned(made: Hacore) -> None:
    """Return when hacore knows the hosts and how often Nova hears them."""

    def learned() -> bool:
        rows = made.deployment.read("SELECT interval_s FROM watch")
        seconds = [row["interval_s"] for row in rows if row["interval_s"]]
        return any(abs(each - INTERVAL_S) < 0.1 * INTERVAL_S for each in seconds)

    wait_for("Nova's report interval", learned, 180)
    time.sleep(2 * INTERVAL_S)


def measure(cloud: Ministack, bmc: Bmc, case: str, phase: float, count: int) -> Result:
    """One round.

    :param phase: when the host dies, in parts of the interval after a heartbeat.
    """
    cloud.reset()
    bmc.reset()
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        hacore(cloud.login("instanceha"), cloud.hosts, **options(cloud, bmc, case)) as made,
    ):
        booting = pool.submit(cloud.boot, count, HOST)
        wait_until_learned(made)
        instances = booting.result()
        seen = beat_at(cloud)
        wait_for("a heartbeat", lambda: beat_at(cloud) != seen, 3 * INTERVAL_S, 0.1)
        time.sleep(phase * INTERVAL_S)
        log = AccessLogs(cloud)
        cloud.kill(HOST)
        if case == "off":
            bmc.switch(on=False)
        last_at, reported_at = beat_at(cloud), time.time()
        uuid = made.notify("COMPUTE_HOST", HOST)
        wait_for("the recovery's end", lambda: has_ended(made, uuid), PATIENCE_S, 1)
        back_at = last_back_at(made, instances)
        assert (case == "none") or not bmc.is_on()
        return Result(last_at, reported_at, log.requests().first_call_at or 0, back_at)


def has_ended(made: Hacore, uuid: str) -> bool:
    """Whether the recovery is finished; any other end ends the measurement."""
    row = made.call("GET", f"/notifications/{uuid}")["notification"]
    if row["status"] not in ("new", "running", "finished"):
        sys.exit(f"the recovery is {row['status']}: {row['message']}")
    return bool(row["status"] == "finished")


def last_back_at(made: Hacore, instances: list[str]) -> float:
    """When the last of these was back."""
    rows = made.deployment.read("SELECT instance_uuid, status, end_time FROM vmoves")
    states = {row["instance_uuid"]: row["status"] for row in rows}
    assert states == dict.fromkeys(instances, "succeeded"), states
    end: datetime.datetime = max(row["end_time"] for row in rows)
    return end.replace(tzinfo=datetime.UTC).timestamp()


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE")
    given = parser.parse_args()
    cloud = Ministack()
    results: dict[str, list[Result]] = {case: [] for case in given.only}
    try:
        with tempfile.TemporaryDirectory() as folder, redfish(Path(folder) / "bmc") as bmc:
            for number in range(given.rounds):
                phase = (number + 0.5) / given.rounds * 0.9  # 0.9: a kill takes its time
                for case in given.only:
                    one = measure(cloud, bmc, case, phase, given.instances)
                    results[case].append(one)
                    load = "load {:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
                    print(f"{told(f'{case}, round {number + 1}', [one])}; {load}", flush=True)
    finally:
        cloud.reset()
        cloud.close()
    for case, of_case in results.items():
        print(told(f"{case}, median of {given.rounds}", of_case))
    aimed = [of_case for case, of_case in results.items() if case != "none"]
    late_s = [statistics.median(each.late_s for each in of_case) for of_case in aimed]
    back_s = [statistics.median(each.back_s for each in of_case) for of_case in aimed]
    sys.exit(any(each > 0 for each in late_s) or any(each > BACK_S for each in back_s))


if __name__ == "__main__":
    main()
