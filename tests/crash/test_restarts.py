# Licensed under the Apache License, Version 2.0; see LICENSE.
"""MariaDB and RabbitMQ go away and come back under load, and nothing is lost or done twice.

They are the test's own servers, stopped in order or killed, several times in a round.
"""

import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.crash.conftest import Deploy
from tests.crash.sandbox import Sandbox
from tests.crash.story import Story, rounds
from tests.e2e.deployment import Deployment, Servers
from tests.e2e.reporting import Figures
from tests.servers import MariaDB, RabbitMQ
from tests.services import skip_unless_required

ROUNDS = rounds(2)


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[MariaDB]:
    skip_unless_required("programs of MariaDB")
    made = MariaDB(tmp_path / "mariadb")
    yield made
    made.stop()


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[RabbitMQ]:
    skip_unless_required("programs of RabbitMQ")
    made = RabbitMQ(tmp_path / "rabbitmq")
    yield made
    made.close()


@dataclasses.dataclass(frozen=True)
class Outage:
    """What one of the servers goes through."""

    server: MariaDB | RabbitMQ
    after_s: float
    killed: bool  #: rather than stopped in order
    for_s: float  #: and as long as it takes to start

    def __str__(self) -> str:
        return f"{type(self.server).__name__} {'killed' if self.killed else 'stopped'}"

    def happen(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        time.sleep(self.after_s)  # the random moment
        if self.killed:
            self.server.kill()
        else:
            self.server.stop()
        try:
            meanwhile()
            time.sleep(self.for_s)
        finally:
            self.server.start()


@pytest.mark.timeout(180 + 180 * ROUNDS)
def test_restarts_of_the_servers(
    mariadb: MariaDB, rabbitmq: RabbitMQ, deploy: Deploy, sandbox: Sandbox, figures: Figures
) -> None:
    deployment = deploy(Servers(mariadb.url, rabbitmq.url))
    story = Story(deployment, sandbox, dead=3, crashed=3)

    def outage(chance: random.Random, server: MariaDB | RabbitMQ) -> Outage:
        made = Outage(
            server, chance.uniform(0.0, 2.0), chance.random() < 0.5, chance.uniform(0.0, 4.0)
        )
        story.counts[str(made)] += 1
        return made

    def restart(chance: random.Random) -> None:
        broker = [outage(chance, rabbitmq) for _ in range(chance.randint(0, 1))]
        database = [outage(chance, mariadb) for _ in range(chance.randint(1, 3))]
        with ThreadPoolExecutor(1) as pool:
            brokers = [pool.submit(each.happen) for each in broker]
            for each in database:
                each.happen(lambda: _check_unavailable(deployment))
            for future in brokers:
                future.result()

    story.tell(ROUNDS, restart, figures)


def _check_unavailable(deployment: Deployment) -> None:
    """Both APIs say that they cannot answer now, and when to ask again."""
    for api in deployment.apis.values():
        answer = requests.get(
            f"{api.url}/v1/notifications", headers={"X-Auth-Token": "admin:admin"}, timeout=30
        )
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
