# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A rolling restart, and the first half of an upgrade, while twenty hosts die."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from hacore.db import schema
from hacore.db.engine import Database
from hacore.states import LIVE
from tests import later_version
from tests.crash.balancer import Balancer
from tests.crash.sandbox import Sandbox
from tests.e2e.checks import DEAD
from tests.e2e.clients import Hacore, notification
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.reporting import Figures
from tests.scaleout.conftest import APIS, CAPACITY, DYING, ENGINES, SPARE, wait_for_uwsgi

ROUNDS = 2  # before the database is expanded, and after it
_END_S = 120.0


class Rack:
    """Hosts that die one after the other, and reports of it to whichever API answers."""

    def __init__(self, deployment: Deployment, sandbox: Sandbox) -> None:
        self.counts: Counter[str] = Counter()
        self.instances = {host: sandbox.boot(CAPACITY, host) for host in DYING}
        self.accepted: list[str] = []
        self._deployment = deployment
        self._sandbox = sandbox
        self._balancer = Balancer([api.url for api in deployment.apis.values()], self.counts)
        client = Hacore(deployment.url, "admin:admin")
        client.make_segment([*DYING, *SPARE])
        client.close()

    def die(self, host: str, first: int) -> None:
        """The host dies and is reported, until there is an answer.

        :param first: number of the API that is asked first.
        """
        self._sandbox.kill(host)
        body = notification("COMPUTE_HOST", host, DEAD)
        answer = self._balancer.ask("POST", "/notifications", body, first)
        if answer.status_code == 409:  # an earlier try was accepted; `recoveries` looks for it
            self.counts["accepted, but the answer was lost"] += 1
            return
        assert answer.status_code == 202, answer.text
        self.accepted.append(answer.json()["notification"]["notification_uuid"])

    def recoveries(self) -> list[dict[str, Any]]:
        return self._deployment.read(
            "SELECT n.uuid, n.status, n.owner, n.attempt, n.failures, h.name AS host "
            "FROM notifications n JOIN hosts h ON h.uuid = n.source_host_uuid"
        )

    def under_way(self) -> list[dict[str, Any]]:
        return [row for row in self.recoveries() if row["status"] == "running"]

    def wait_until_ended(self) -> None:
        def ended() -> bool:
            for engine in self._deployment.engines.values():
                assert engine.is_running(), f"{engine.name} has ended:\n{engine.text()[-2000:]}"
            return not any(row["status"] in LIVE for row in self.recoveries())

        wait_for("all recoveries to end", ended, _END_S)


class Restarts:
    """Each daemon in its turn, in order, and what it interrupted."""

    def __init__(self, deployment: Deployment, rack: Rack) -> None:
        self.told: list[str] = []
        self.interrupted = 0
        self._deployment = deployment
        self._rack = rack

    def one(self, names: Iterable[str], meanwhile: Callable[[str], None]) -> str:
        """Restart that of `names` which holds the most; its name.

        :param meanwhile: is done while it is away, with its name.
        """
        owned = Counter(row["owner"] for row in self._rack.under_way())
        held = {name: owned[self._owner(name)] for name in names}
        name = max(held, key=lambda each: held[each])
        daemon = self._daemon(name)
        began = time.monotonic()
        assert daemon.end() == 0, daemon.text()[-2000:]
        ended = time.monotonic()
        meanwhile(name)
        if name in APIS:
            self._deployment.start_api(name, under="uwsgi")
            wait_for_uwsgi(self._deployment, name)
        else:
            self._deployment.start_engine(name).wait_until_it_says("is ready", 60)
        self.told.append(
            f"{name} {owned.total()} under way, {held[name]} its own, "
            f"ended in {ended - began:.1f} s, ready in {time.monotonic() - ended:.1f} s"
        )
        self.interrupted += held[name]
        return name

    def _daemon(self, name: str) -> Any:
        engines = self._deployment.engines
        return engines[name] if name in engines else self._deployment.apis[name].daemon

    def _owner(self, name: str) -> str | None:
        """What it calls itself in the claims; None for an API."""
        found = re.search(r"engine (\S+) is ready", self._daemon(name).text())
        return found[1] if found else None


def expand(deployment: Deployment, folder: Path, conf: cfg.ConfigOpts) -> None:
    """``hacore-manage db sync --expand`` of a later version."""
    conf.set_override("connection", deployment.database_url, group="database")
    database = Database(conf.database)
    schema.sync(database, later_version.history(folder), contract=False)
    assert schema.version(database) == later_version.ADDED
    database.dispose()


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_done_twice(
    deployment: Deployment,
    sandbox: Sandbox,
    conf: cfg.ConfigOpts,
    tmp_path: Path,
    figures: Figures,
) -> None:
    rack = Rack(deployment, sandbox)
    restarts = Restarts(deployment, rack)
    hosts = iter(DYING)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as reporters:
        reports: list[Future[None]] = []

        def one_dies(away: str | None = None) -> None:
            first = APIS.index(away) if away in APIS else len(reports)
            reports.append(reporters.submit(rack.die, next(hosts), first))

        for number in range(ROUNDS):
            for group in (APIS, ENGINES):
                left = set(group)
                while left:
                    one_dies()
                    wait_for("a recovery to be under way", rack.under_way, 60, 0.05)
                    left.remove(restarts.one(sorted(left), one_dies))
            if number == 0:
                expand(deployment, tmp_path / "later", conf)
        for report in reports:
            report.result()
    rack.wait_until_ended()
    took_s = time.monotonic() - began

    recoveries = rack.recoveries()
    reported = Counter(row["host"] for row in recoveries)
    assert reported == dict.fromkeys(DYING, 1)  # none lost, none doubled
    assert set(rack.accepted) <= {row["uuid"] for row in recoveries}
    assert {row["status"] for row in recoveries} == {"finished"}
    assert restarts.interrupted > 0  # else it shows nothing of engines
    assert rack.counts["POST without an answer"] > 0  # nor of APIs
    claimed_again = sum(row["attempt"] - 1 - row["failures"] for row in recoveries)
    check_instances(
        deployment, sandbox, [uuid for each in rack.instances.values() for uuid in each]
    )
    figures.add(
        f"{len(recoveries)} recoveries of {CAPACITY * len(DYING)} instances in {took_s:.0f} s, "
        f"{restarts.interrupted} interrupted, claimed again {claimed_again} times, "
        f"tried again after an error {sum(row['failures'] for row in recoveries)} times; "
        f"lost 0, doubled 0; {dict(sorted(rack.counts.items()))}\n    "
        + "\n    ".join(restarts.told)
    )


def check_instances(deployment: Deployment, sandbox: Sandbox, instances: list[str]) -> None:
    """Each runs on a host that lives, and Nova and hacore have one record of its move."""
    servers = sandbox.servers()
    for uuid in instances:
        server = servers[uuid]
        assert (server["vm_state"], server["task_state"]) == ("active", None), server
        assert server["host"] in SPARE, server
        assert not server["locked"], server
        assert server["guest_up"], server
    assert sandbox.evacuations() == dict.fromkeys(instances, 1)
    moves = deployment.read("SELECT instance_uuid, status, locked FROM vmoves")
    assert Counter(row["instance_uuid"] for row in moves) == dict.fromkeys(instances, 1)
    assert {(row["status"], bool(row["locked"])) for row in moves} == {("succeeded", False)}


def check_processes(deployment: Deployment) -> None:
    """Those that run, and none of those that were stopped; two in each uwsgi."""
    shown = json.loads(deployment.manage("service", "list", "-f", "json"))
    assert Counter(row["binary"] for row in shown) == {"hacore-engine": 3, "hacore-api": 4}
    assert all(row["alive"] for row in shown)
