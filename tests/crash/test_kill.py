# Licensed under the Apache License, Version 2.0; see LICENSE.
"""kill -9 in a loop: what was accepted ends, nothing is lost, nothing is done twice.

HACORE_CRASH_ROUNDS: how many rounds (5).  HACORE_CRASH_SEED: the seed, printed at the
end; it repeats hosts, instances, whom and when, though not the moments to the microsecond.
"""

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from hacore.states import LIVE
from tests.crash.conftest import HOSTS
from tests.crash.sandbox import Sandbox
from tests.e2e.clients import Hacore, now
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.reporting import Figures

ROUNDS = int(os.environ.get("HACORE_CRASH_ROUNDS", "5"))
SEED = os.environ.get("HACORE_CRASH_SEED") or str(random.SystemRandom().randrange(10**6))

DEAD = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
CRASHED = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}


class Story:
    """One run: the schedule, and what came of it."""

    def __init__(
        self, deployment: Deployment, sandbox: Sandbox, hacore: Hacore, segment: str
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._deployment = deployment
        self._sandbox = sandbox
        self._hacore = hacore
        self._segment = segment
        self._seen: set[str] = set()

    def round(self, chance: random.Random) -> None:
        """Hosts die and an instance crashes, and meanwhile whoever should deal with it."""
        dead = chance.sample(HOSTS, chance.randint(1, 2))
        moving = [uuid for host in dead for uuid in self._sandbox.boot(chance.randint(3, 8), host)]
        other = chance.choice([host for host in HOSTS if host not in dead])
        (crashed,) = self._sandbox.boot(1, other)
        for host in dead:
            self._sandbox.kill(host)
        self._sandbox.crash(crashed)
        reports = [("COMPUTE_HOST", host, DEAD) for host in dead]
        reports.append(("VM", other, {**CRASHED, "instance_uuid": crashed}))
        with ThreadPoolExecutor(len(reports)) as pool:
            posts = [pool.submit(self._post, *report) for report in reports]
            self._kill_at_random(chance)
            accepted = {uuid for post in posts if (uuid := post.result())}
        self._deployment.wait_for_api()
        self._check_ended(accepted)
        self._check_instances(moving, crashed, dead)
        self._repair(dead)

    def _post(self, kind: str, host: str, payload: dict[str, str]) -> str | None:
        """Report until there is an answer; None: an earlier try had been accepted after all."""
        body = {"type": kind, "hostname": host, "generated_time": now(), "payload": payload}

        def answer() -> Any:
            # a connection of its own: the posts run side by side
            client = Hacore(self._deployment.url, "admin:admin")
            try:
                return client.ask("POST", "/notifications", {"notification": body}).json()
            except requests.ConnectionError:
                self.counts["posts without an answer"] += 1
                return None
            finally:
                client.close()

        told = wait_for("an answer to a post", answer, 60)
        if "notification" in told:
            uuid: str = told["notification"]["notification_uuid"]
            return uuid
        assert told["error"]["code"] == 409, told
        return None

    def _kill_at_random(self, chance: random.Random) -> None:
        for _ in range(chance.randint(1, 4)):
            name = chance.choice(["engine1", "engine1", "engine2", "engine2", "api"])
            only_the_worker = chance.random() < 0.3
            time.sleep(chance.uniform(0.0, 2.0))  # the random moment
            if name == "api":
                assert self._deployment.api is not None
                self._deployment.api.kill()
                self._deployment.start_api(gunicorn=False)
            elif only_the_worker and self._deployment.engines[name].kill_children():
                name += "'s worker"
            else:
                self._deployment.engines[name].kill()
                self._deployment.start_engine(name)
            self.counts[f"kills of {name}"] += 1

    def _check_ended(self, accepted: set[str]) -> None:
        def ended() -> Any:
            for engine in self._deployment.engines.values():
                assert engine.is_running(), f"{engine.name} has ended:\n{engine.text()[-2000:]}"
            rows = self._hacore.notifications()
            return rows if all(row["status"] not in LIVE for row in rows) else None

        rows = wait_for("all notifications to end", ended, 60)
        new = {
            row["notification_uuid"]: row
            for row in rows
            if row["notification_uuid"] not in self._seen
        }
        self._seen.update(new)
        assert accepted <= set(new)  # none lost
        wrong = [row for row in new.values() if row["status"] != "finished"]
        assert not wrong, wrong
        self.counts["notifications"] += len(new)
        for row in self._deployment.read("SELECT uuid, attempt, failures FROM notifications"):
            if row["uuid"] in new:
                self.counts["takeovers"] += row["attempt"] - 1 - row["failures"]
                self.counts["errors, tried again"] += row["failures"]

    def _check_instances(self, moving: list[str], crashed: str, dead: list[str]) -> None:
        servers = self._sandbox.servers()
        for uuid in [*moving, crashed]:
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

    def _repair(self, dead: list[str]) -> None:
        self._sandbox.repair(dead)
        hosts = self._hacore.hosts(self._segment)
        for name in dead:
            path = f"/segments/{self._segment}/hosts/{hosts[name]['uuid']}"
            answer = self._hacore.ask("PUT", path, {"host": {"on_maintenance": False}})
            assert answer.status_code == 200, answer.text


@pytest.mark.timeout(60 + 60 * ROUNDS)
def test_kill_9_in_a_loop(
    deployment: Deployment, sandbox: Sandbox, hacore: Hacore, figures: Figures
) -> None:
    story = Story(deployment, sandbox, hacore, hacore.make_segment(HOSTS))
    chance = random.Random(SEED)
    began = time.monotonic()
    done = 0
    try:
        for _ in range(ROUNDS):
            story.round(chance)
            done += 1
    finally:
        figures.add(
            f"HACORE_CRASH_SEED={SEED}: {done} of {ROUNDS} rounds in "
            f"{time.monotonic() - began:.0f} s: {dict(sorted(story.counts.items()))}"
        )
