# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Rounds of failures and recoveries with disturbances, and what must be true after each.

HACORE_CRASH_ROUNDS: how many rounds.  HACORE_CRASH_SEED: the seed, printed at the end;
it repeats hosts, instances, whom and when, though not the moments to the microsecond.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hacore.states import LIVE
from tests.crash.balancer import Balancer
from tests.crash.sandbox import Sandbox
from tests.e2e.checks import DEAD
from tests.e2e.clients import Hacore, notification
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.reporting import Figures

HOSTS = [f"compute{number}" for number in range(1, 9)]
SEED = os.environ.get("HACORE_CRASH_SEED") or str(random.SystemRandom().randrange(10**6))

CRASHED = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}

Disturb = Callable[[random.Random], None]
_END_S = 180.0


def rounds(default: int) -> int:
    return int(os.environ.get("HACORE_CRASH_ROUNDS", default))


class Story:
    """One run: the schedule, and what came of it.

    :param dead: at most so many hosts die in a round, at least one.
    :param crashed: so many instances crash in a round, each on a host of its own.
    """

    def __init__(
        self, deployment: Deployment, sandbox: Sandbox, *, dead: int = 2, crashed: int = 1
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._deployment = deployment
        self._sandbox = sandbox
        self._dead = dead
        self._crashed = crashed
        self._balancer = Balancer([api.url for api in deployment.apis.values()], self.counts)
        client = Hacore(deployment.url, "admin:admin")
        self._segment = client.make_segment(HOSTS)
        self._hosts = {name: row["uuid"] for name, row in client.hosts(self._segment).items()}
        client.close()
        self._seen: set[str] = set()

    def tell(self, rounds: int, disturb: Disturb, figures: Figures) -> None:
        """So many rounds; the figures say how many were done."""
        chance = random.Random(SEED)
        began = time.monotonic()
        done = 0
        try:
            for _ in range(rounds):
                self._round(chance, disturb)
                done += 1
            self._check_records()
        finally:
            figures.add(
                f"HACORE_CRASH_SEED={SEED}: {done} of {rounds} rounds in "
                f"{time.monotonic() - began:.0f} s: {dict(sorted(self.counts.items()))}"
            )

    def _round(self, chance: random.Random, disturb: Disturb) -> None:
        """Hosts die and instances crash, and meanwhile whoever should deal with it."""
        dead = chance.sample(HOSTS, chance.randint(1, self._dead))
        moving = [uuid for host in dead for uuid in self._sandbox.boot(chance.randint(3, 8), host)]
        others = chance.sample([host for host in HOSTS if host not in dead], self._crashed)
        crashed = {self._sandbox.boot(1, host)[0]: host for host in others}
        for host in dead:
            self._sandbox.kill(host)
        for uuid in crashed:
            self._sandbox.crash(uuid)
        reports = [("COMPUTE_HOST", host, DEAD) for host in dead]
        # every host that is left has a monitor: some failures are reported twice
        reports += [report for report in reports if chance.random() < 0.5]
        reports += [
            ("VM", host, {**CRASHED, "instance_uuid": uuid}) for uuid, host in crashed.items()
        ]
        with ThreadPoolExecutor(len(reports)) as pool:
            posts = [
                pool.submit(self._post, *report, chance.uniform(0.0, 2.0), chance.randrange(2))
                for report in reports
            ]
            disturb(chance)
            accepted = {told for post in posts if (told := post.result())}
        self._check_ended(accepted, {(kind, self._hosts[host]) for kind, host, _ in reports})
        self._check_instances(moving, list(crashed), dead)
        self._repair(dead)

    def _post(
        self, kind: str, host: str, payload: dict[str, str], after_s: float, first: int
    ) -> str | None:
        """Report, until there is an answer; None: it has been accepted before."""
        body = notification(kind, host, payload)
        time.sleep(after_s)  # the random moment
        answer = self._balancer.ask("POST", "/notifications", body, first)
        if answer.status_code == 409:  # _check_ended looks for the one that was
            self.counts["refused: known already"] += 1
            return None
        assert answer.status_code == 202, answer.text
        self.counts["accepted"] += 1
        uuid: str = answer.json()["notification"]["notification_uuid"]
        return uuid

    def _check_ended(self, accepted: set[str], reported: set[tuple[str, str]]) -> None:
        def ended() -> Any:
            for engine in self._deployment.engines.values():
                assert engine.is_running(), f"{engine.name} has ended:\n{engine.text()[-2000:]}"
            answer = self._balancer.ask("GET", "/notifications?limit=100")  # the newest
            assert answer.status_code == 200, answer.text
            rows = answer.json()["notifications"]
            return rows if all(row["status"] not in LIVE for row in rows) else None

        rows = wait_for("all notifications to end", ended, _END_S, 0.5)
        new = {
            row["notification_uuid"]: row
            for row in rows
            if row["notification_uuid"] not in self._seen
        }
        self._seen.update(new)
        assert accepted <= set(new)
        taken = Counter((row["type"], row["source_host_uuid"]) for row in new.values())
        assert reported == set(taken)  # none lost and none made up
        assert all(count == 1 for (kind, _), count in taken.items() if kind == "COMPUTE_HOST")
        wrong = [row for row in new.values() if row["status"] != "finished"]
        assert not wrong, wrong
        self.counts["finished"] += len(new)
        self.counts["accepted, but the answer was lost"] += len(set(new) - accepted)
        for row in self._deployment.read("SELECT uuid, attempt, failures FROM notifications"):
            if row["uuid"] in new:
                assert row["failures"] == 0, row  # for Nova was there all the time
                self.counts["claimed again"] += row["attempt"] - 1

    def _check_instances(self, moving: list[str], crashed: list[str], dead: list[str]) -> None:
        servers = self._sandbox.servers()
        for uuid in [*moving, *crashed]:
            server = servers[uuid]
            assert (server["vm_state"], server["task_state"]) == ("active", None), server
            assert server["host"] not in dead, server
            assert not server["locked"], server
            assert server["guest_up"], server
        evacuations = self._sandbox.evacuations()
        assert {uuid: evacuations[uuid] for uuid in moving} == dict.fromkeys(moving, 1)
        moves = self._deployment.read("SELECT instance_uuid, status, locked FROM vmoves")
        mine = [row for row in moves if row["instance_uuid"] in moving]
        assert sorted(row["instance_uuid"] for row in mine) == sorted(moving)
        assert {(row["status"], row["locked"]) for row in mine} == {("succeeded", 0)}
        self.counts["instances evacuated"] += len(moving)
        self.counts["instances restarted"] += len(crashed)

    def _check_records(self) -> None:
        """Nova has one record of an evacuation for each instance of all rounds, and no other."""
        evacuations = self._sandbox.evacuations()
        assert set(evacuations.values()) <= {1}
        self.counts["Nova's records of evacuations"] = evacuations.total()
        assert evacuations.total() == self.counts["instances evacuated"]

    def _repair(self, dead: list[str]) -> None:
        self._sandbox.repair(dead)
        for name in dead:
            path = f"/segments/{self._segment}/hosts/{self._hosts[name]}"
            answer = self._balancer.ask("PUT", path, {"host": {"on_maintenance": False}})
            assert answer.status_code == 200, answer.text
