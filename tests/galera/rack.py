# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Hosts that die together, reports of it, and what must be true once they are recovered."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa

from hacore.states import LIVE
from tests.crash.balancer import Balancer
from tests.crash.sandbox import Sandbox
from tests.e2e.checks import DEAD
from tests.e2e.clients import Hacore, notification
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.galera.conftest import DYING, SPARE

_END_S = 180.0


class Rack:
    """All hosts in one segment.

    :param watched: a server that is there all the time; what has come of it is read there.
    """

    def __init__(self, deployment: Deployment, sandbox: Sandbox, watched: str) -> None:
        self.counts: Counter[str] = Counter()
        self.instances: dict[str, list[str]] = {}
        self._began = 0.0
        self._deployment = deployment
        self._sandbox = sandbox
        self._balancer = Balancer([api.url for api in deployment.apis.values()], self.counts)
        database = sa.make_url(deployment.database_url).database
        self._watched = sa.create_engine(
            sa.make_url(watched).set(database=database), poolclass=sa.NullPool
        )
        client = Hacore(deployment.url, "admin:admin")
        client.make_segment([*DYING, *SPARE])
        client.close()

    def fill(self, hosts: list[str], count: int) -> None:
        """So many instances on each."""
        for host in hosts:
            self.instances[host] = self._sandbox.boot(count, host)

    def die(self, host: str, first: int) -> None:
        """The host dies and is reported, until there is an answer.

        :param first: number of the API that is asked first.
        """
        self._began = self._began or time.monotonic()
        self._sandbox.kill(host)
        body = notification("COMPUTE_HOST", host, DEAD)
        answer = self._balancer.ask("POST", "/notifications", body, first)
        # refused: an equal one was accepted; `check` looks for it
        assert answer.status_code in (202, 409), answer.text
        self.counts[f"answered {answer.status_code}"] += 1

    def die_together(self, hosts: list[str]) -> None:
        """Each is reported to every API."""
        apis = range(len(self._deployment.apis))
        with ThreadPoolExecutor(len(hosts) * len(apis)) as pool:
            reports = [pool.submit(self.die, host, number) for host in hosts for number in apis]
            for report in reports:
                report.result()

    def read(self, statement: str) -> list[dict[str, Any]]:
        with self._watched.connect() as connection:
            # not what the node had a moment ago
            connection.execute(sa.text("SET SESSION wsrep_sync_wait = 1"))
            return [dict(row._mapping) for row in connection.execute(sa.text(statement))]

    def recoveries(self) -> list[dict[str, Any]]:
        return self.read(
            "SELECT n.uuid, n.status, n.owner, n.attempt, n.failures, h.name AS host "
            "FROM notifications n JOIN hosts h ON h.uuid = n.source_host_uuid"
        )

    def under_way(self) -> bool:
        """Whether recoveries run, and some of their instances have moved and others have not."""
        rows = self.read(
            "SELECT m.status FROM vmoves m JOIN notifications n ON n.uuid = m.notification_uuid "
            "WHERE n.status = 'running'"
        )
        moved = Counter(row["status"] for row in rows)
        return 0 < moved["succeeded"] < moved.total()

    def claimed_again(self) -> int:
        """How often an engine went on with what another one, or itself, had begun."""
        return sum(row["attempt"] - 1 - row["failures"] for row in self.recoveries())

    def wait_until_ended(self) -> float:
        """Seconds since the first host died."""

        def ended() -> bool:
            for engine in self._deployment.engines.values():
                assert engine.is_running(), f"{engine.name} has ended:\n{engine.text()[-2000:]}"
            return not any(row["status"] in LIVE for row in self.recoveries())

        wait_for("all recoveries to end", ended, _END_S)
        took_s = time.monotonic() - self._began
        self._began = 0.0
        return took_s

    def check(self, hosts: list[str]) -> None:
        """None lost, none doubled; each instance runs elsewhere and was evacuated once."""
        recoveries = self.recoveries()
        assert Counter(row["host"] for row in recoveries) == dict.fromkeys(hosts, 1)
        assert {row["status"] for row in recoveries} == {"finished"}, recoveries
        instances = [uuid for host in hosts for uuid in self.instances[host]]
        servers = self._sandbox.servers()
        for uuid in instances:
            server = servers[uuid]
            assert (server["vm_state"], server["task_state"]) == ("active", None), server
            assert server["host"] not in hosts, server
            assert not server["locked"], server
            assert server["guest_up"], server
        assert self._sandbox.evacuations() == dict.fromkeys(instances, 1)
        moves = self.read("SELECT instance_uuid, status, locked FROM vmoves")
        assert Counter(row["instance_uuid"] for row in moves) == dict.fromkeys(instances, 1)
        assert {(row["status"], row["locked"]) for row in moves} == {("succeeded", 0)}
