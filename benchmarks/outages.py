# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host dies on real Nova and something else goes wrong half-way: what becomes of it.

    python -m benchmarks.outages [--instances 50] [--only NAME ...]

Needs ministack (tools/ministack/ministack up); MariaDB and RabbitMQ are servers of its
own.  hacore runs as two engines and an API with two processes, with nothing tuned unless
the row says so.  The cloud is reset before each row, and Nova sees the host as down before
the failure is reported.

Promised is in each row: every instance active on another host and unlocked, evacuated
once by Nova's own records (those that Nova failed are done again), one succeeded move for
each, and the notification `finished`.
The seconds are from the acceptance of the notification to that, by hacore's own times.
The exit status is 1 when a row is not as promised.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from tests.e2e.checks import DEAD, check_all_moved
from tests.e2e.clients import notification, seconds
from tests.e2e.ministack import Ministack
from tests.e2e.outages import (
    Outage,
    WithoutMariaDB,
    WithoutRabbitMQ,
    World,
    deployed,
    own_servers,
    wait_until_moved,
    without_keystone,
    without_nova_api,
)
from tests.servers import MariaDB, RabbitMQ

HOST, OTHER_HOST = "compute1", "compute2"
#: A recovery that failed is tried again after two minutes, twice.
PATIENCE_S = 600.0
SHORT_LEASE_S = 10
#: RestartSec of etc/systemd/hacore-engine.service.
RESTART_S = 5


@dataclasses.dataclass
class Row:
    """What became of a row of the table.

    :ivar seconds: of each notification, see above.
    """

    outcome: str
    broken: str | None
    seconds: list[float]
    remarks: list[str]


class Stage:
    """The cloud, and the servers of hacore."""

    def __init__(self, real: Ministack, servers: tuple[MariaDB, RabbitMQ], count: int) -> None:
        self.real = real
        self.count = count
        self._servers = servers

    @contextlib.contextmanager
    def set_up(
        self, *hosts: str, engines: int = 2, **options: Any
    ) -> Iterator[tuple[World, dict[str, list[str]]]]:
        """hacore, and dead hosts with the instances that are on them."""
        self.real.reset()
        instances = {host: self.real.boot(self.count // len(hosts), host) for host in hosts}
        with (
            tempfile.TemporaryDirectory() as folder,
            deployed(
                self.real,
                self._servers,
                Path(folder),
                engines,
                **{"verify_interval": 1.0, **options},  # the default, which tests shorten
            ) as world,
        ):
            self.real.kill(*hosts)
            for host in hosts:
                self.real.run("wait-down", host)
            yield world, instances


def conclude(
    world: World, instances: dict[str, list[str]], uuids: dict[str, str], remarks: list[str]
) -> Row:
    """Wait for the end, and ask Nova and hacore what there is.

    :param instances: by the host that they were on.
    :param uuids: of the notifications, by host.
    """
    everybody = [uuid for of_host in instances.values() for uuid in of_host]
    rows, attempts = {}, {}
    for host, uuid in uuids.items():
        rows[host], failed = world.hacore.follow(uuid, PATIENCE_S)
        attempts[host] = len(failed) + 1
        remarks += [f"for a while error: {message}" for message in failed]
    broken = None
    try:
        for host, row in rows.items():
            check_all_moved(
                world.real,
                world.hacore,
                row,
                instances[host],
                *instances,
                attempts=attempts[host],
            )
    except AssertionError as exc:
        broken = str(exc)
    seen = world.real.see(*everybody)
    back = sum(
        each.vm_state == "active" and each.task_state is None and each.host not in instances
        for each in seen.values()
    )
    times = Counter(world.real.evacuated_times(everybody).values())
    once = "each evacuated once"
    if set(times) != {1}:
        once = ", ".join(f"{count} evacuated {number} times" for number, count in times.items())
    locked = sum(each.locked for each in seen.values())
    outcome = f"{back} of {len(everybody)} recovered, {once}, {locked or 'none'} locked"
    remarks += [f"{row['status']}: {row['message']}" for row in rows.values()]
    return Row(outcome, broken, [seconds(row) for row in rows.values()], remarks)


def _complaints(world: World) -> list[str]:
    """How often each engine warned of something, and of what first."""
    told = []
    for name, engine in world.deployment.engines.items():
        found = re.findall(r" (?:WARNING|ERROR) \S+ \[.*?\] (.*)", engine.text())
        if found:
            told.append(f"{name} warned {len(found)} times, first: {found[0][:120]}")
    return told


# ----------------------------------------------------------------------- rows


def undisturbed(stage: Stage) -> Row:
    with stage.set_up(HOST) as (world, instances):
        uuid = world.hacore.notify("COMPUTE_HOST", HOST, DEAD)
        return conclude(world, instances, {HOST: uuid}, _complaints(world))


def engine_killed(stage: Stage, **options: Any) -> Row:
    """kill -9 of the engine that has claimed it; the other one runs."""
    with stage.set_up(HOST, **options) as (world, instances):
        uuid = world.hacore.notify("COMPUTE_HOST", HOST, DEAD)
        left = wait_until_moved(world.hacore, uuid)
        engines = world.deployment.engines.values()
        (victim,) = (each for each in engines if f"notification {uuid}: new ->" in each.text())
        (heir,) = (each for each in engines if each is not victim)
        victim.kill()
        killed_at = time.monotonic()
        locked = sum(each.locked for each in world.real.see(*instances[HOST]).values())
        heir.wait_until_it_says(f"notification {uuid}: running -> running", 120)
        remark = (
            f"killed with {dict(left)}, {locked} locked; "
            f"taken over after {time.monotonic() - killed_at:.1f} s"
        )
        return conclude(world, instances, {HOST: uuid}, [remark])


def engine_killed_with_a_short_lease(stage: Stage) -> Row:
    return engine_killed(stage, claim_lease=SHORT_LEASE_S)


def engine_restarted(stage: Stage) -> Row:
    """kill -9 of the only engine, which systemd starts again; nothing is tuned."""
    with stage.set_up(HOST, engines=1) as (world, instances):
        uuid = world.hacore.notify("COMPUTE_HOST", HOST, DEAD)
        left = wait_until_moved(world.hacore, uuid)
        world.deployment.engines["engine1"].kill()
        killed_at = time.monotonic()
        time.sleep(RESTART_S)  # as systemd does
        world.deployment.start_engine("engine1").wait_until_it_says("Taken over by", 60)
        taken_s = time.monotonic() - killed_at
        remark = f"killed with {dict(left)}; taken over {taken_s:.1f} s after the kill"
        return conclude(world, instances, {HOST: uuid}, [remark])


def _endured(make: Callable[[Ministack], Outage]) -> Callable[[Stage], Row]:
    def row(stage: Stage) -> Row:
        with stage.set_up(HOST) as (world, instances):
            uuid = world.hacore.notify("COMPUTE_HOST", HOST, DEAD)
            left = wait_until_moved(world.hacore, uuid)
            try:
                remarks = [f"{dict(left)} when it went", str(make(stage.real).endure(world, uuid))]
                failed = None
            except AssertionError as exc:
                remarks, failed = [], str(exc)
            ended = conclude(world, instances, {HOST: uuid}, remarks)
            ended.remarks += _complaints(world)
            ended.broken = failed or ended.broken
            return ended

    return row


def reported_twice(stage: Stage) -> Row:
    """The same twice at the same instant, and once more half-way."""
    with stage.set_up(HOST) as (world, instances):
        body = notification("COMPUTE_HOST", HOST, DEAD)

        def post(_number: int) -> requests.Response:
            return world.hacore.ask("POST", "/notifications", body)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(post, range(2)))
        rows = world.hacore.notifications()
        uuid = rows[0]["notification_uuid"]
        wait_until_moved(world.hacore, uuid)
        answers.append(post(2))
        statuses = [answer.status_code for answer in answers]
        ended = conclude(world, instances, {HOST: uuid}, [f"answered {statuses}"])
        if sorted(statuses) != [202, 409, 409] or len(world.hacore.notifications()) != 1:
            ended.broken = f"answered {statuses}, {len(world.hacore.notifications())} rows"
        return ended


def no_engine(stage: Stage) -> Row:
    with stage.set_up(HOST, engines=0) as (world, instances):
        uuid = world.hacore.notify("COMPUTE_HOST", HOST, DEAD)
        status = world.hacore.notification(uuid)["status"]
        began = time.monotonic()
        engines = [world.deployment.start_engine(f"engine{number}") for number in (1, 2)]
        for engine in engines:
            engine.wait_until_it_says("is ready", 60)
        remark = (
            f"{status} until the engines were started, "
            f"which were ready after {time.monotonic() - began:.1f} s"
        )
        return conclude(world, instances, {HOST: uuid}, [remark])


def two_hosts(stage: Stage) -> Row:
    with stage.set_up(HOST, OTHER_HOST) as (world, instances):
        uuids = {host: world.hacore.notify("COMPUTE_HOST", host, DEAD) for host in instances}
        return conclude(world, instances, uuids, [])


ROWS: dict[str, tuple[str, Callable[[Stage], Row]]] = {
    "undisturbed": ("nothing else", undisturbed),
    "engine": ("engine killed half-way", engine_killed),
    "engine-short-lease": (
        f"the same, claim_lease={SHORT_LEASE_S}",
        engine_killed_with_a_short_lease,
    ),
    "engine-restarted": (
        f"the only engine killed, restarted after {RESTART_S} s",
        engine_restarted,
    ),
    "mariadb": ("MariaDB down 20 s", _endured(lambda _real: WithoutMariaDB())),
    "rabbitmq": ("RabbitMQ restarted", _endured(lambda _real: WithoutRabbitMQ())),
    "nova-api": ("nova-api down 10 s", _endured(without_nova_api)),
    "keystone": ("keystone down 10 s", _endured(without_keystone)),
    "twice": ("same notification twice", reported_twice),
    "no-engine": ("reported while no engine runs", no_engine),
    "two-hosts": ("two hosts at once", two_hosts),
}


def show(name: str, row: Row, undisturbed_s: float | None) -> None:
    """A line of the table, and below it what there is to say."""
    took = " and ".join(f"{each:.1f}" for each in row.seconds)
    verdict = "NOT AS PROMISED" if row.broken else "as promised"
    print(f"{ROWS[name][0]:<30} | {row.outcome} | {took} s | {verdict}")
    if undisturbed_s is not None and name != "undisturbed":
        print(f"    {max(row.seconds) - undisturbed_s:+.1f} s compared with nothing else")
    for remark in [*row.remarks, *([row.broken] if row.broken else [])]:
        print(f"    {remark}")
    sys.stdout.flush()


def main() -> None:
    """Go through the rows, and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    options = parser.parse_args()
    try:
        real = Ministack()
    except (AssertionError, OSError, requests.RequestException, subprocess.SubprocessError) as exc:
        sys.exit(f"ministack does not answer ({exc}); run: tools/ministack/ministack up")
    print(f"{options.instances} instances; a host dies, and:")
    undisturbed_s, broken = None, []
    with tempfile.TemporaryDirectory() as folder, own_servers(Path(folder)) as servers:
        stage = Stage(real, servers, options.instances)
        for name in options.only:
            row = ROWS[name][1](stage)
            if name == "undisturbed":
                undisturbed_s = max(row.seconds)
            show(name, row, undisturbed_s)
            if row.broken:
                broken.append(name)
    real.reset()
    real.close()
    if broken:
        sys.exit(f"not as promised: {', '.join(broken)}")


if __name__ == "__main__":
    main()
