# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore depends on goes away in the middle of a recovery, and comes back.

MariaDB and RabbitMQ are servers of hacore's own; Nova's API and Keystone are the
cloud's, and are back when an outage is over, whatever came of it.
"""

import abc
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.e2e.checks import DEAD
from tests.e2e.clients import Hacore, notification
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment, Servers
from tests.e2e.ministack import Ministack
from tests.servers import MariaDB, RabbitMQ

_LOOK_S = 0.5
_START_S = 60.0
#: A report that calls for nothing: what it comes to shows that API and engine work.
_STARTED = {"process_name": "nova-compute", "event": "STARTED"}


@dataclasses.dataclass(frozen=True)
class World:
    """A cloud, hacore on it, and the servers that are hacore's alone."""

    real: Ministack
    mariadb: MariaDB
    rabbitmq: RabbitMQ
    deployment: Deployment
    hacore: Hacore


@contextlib.contextmanager
def own_servers(folder: Path) -> Iterator[tuple[MariaDB, RabbitMQ]]:
    """Both until the block ends."""
    with contextlib.ExitStack() as stack:
        mariadb = MariaDB(folder / "mariadb")
        stack.callback(mariadb.stop)
        rabbitmq = RabbitMQ(folder / "rabbitmq")
        stack.callback(rabbitmq.close)
        yield mariadb, rabbitmq


@contextlib.contextmanager
def deployed(
    real: Ministack, servers: tuple[MariaDB, RabbitMQ], folder: Path, engines: int, **options: Any
) -> Iterator[World]:
    """hacore until the block ends: an API with two processes, and `engines` that are ready.

    :param options: of [DEFAULT].
    """
    mariadb, rabbitmq = servers
    real.session.invalidate()  # a token that lasts: with Keystone away there is no other
    with contextlib.ExitStack() as stack:
        deployment = Deployment(
            folder,
            real.login("instanceha"),
            {"DEFAULT": {"auth_strategy": "keystone", **options}},
            servers=Servers(mariadb.url, rabbitmq.url),
        )
        stack.callback(deployment.close)
        deployment.start_api(under="gunicorn")
        for number in range(1, engines + 1):
            deployment.start_engine(f"engine{number}")
        deployment.wait_for_api()
        for engine in deployment.engines.values():
            engine.wait_until_it_says("is ready", _START_S)
        hacore = Hacore(deployment.url, real.session.get_token())
        stack.callback(hacore.close)
        hacore.make_segment(real.hosts)
        yield World(real, mariadb, rabbitmq, deployment, hacore)


def wait_until_moved(
    hacore: Hacore, uuid: str, share: float = 0.5, timeout_s: float = 120
) -> Counter[str]:
    """Moves by status, once `share` of them have succeeded; fails if nothing is left to do."""

    def moved() -> Counter[str] | None:
        counts = Counter(move["status"] for move in hacore.moves(uuid))
        return counts if counts and counts["succeeded"] >= counts.total() * share else None

    counts = wait_for(f"{share:.0%} of the instances to be evacuated", moved, timeout_s, 0.1)
    assert counts["succeeded"] < counts.total(), counts
    return counts


# -------------------------------------------------------------------- outages


@dataclasses.dataclass(frozen=True)
class Endured:
    """An outage that is over.

    :ivar lasted_s: until what was away answered again.
    :ivar answers: of hacore's API meanwhile, by status.
    :ivar slowest_s: of them.
    """

    lasted_s: float
    answers: Counter[int]
    slowest_s: float

    def __str__(self) -> str:
        answers = ", ".join(f"{count} x {status}" for status, count in self.answers.items())
        return (
            f"away for {self.lasted_s:.1f} s; the API answered {answers}, "
            f"the slowest after {self.slowest_s:.2f} s"
        )


class Outage(abc.ABC):
    """Something is away for `lasts_s`, and for as long as it takes to start."""

    lasts_s: float

    @abc.abstractmethod
    def stop(self, world: World) -> None:
        """Returns when it is away."""

    @abc.abstractmethod
    def start(self, world: World) -> None:
        """Returns when it answers."""

    @abc.abstractmethod
    def look(self, world: World, uuid: str) -> list[requests.Response]:
        """Ask hacore's API while it is away; fails for an answer that must not be.

        :param uuid: of the notification whose recovery is under way.
        """

    def __str__(self) -> str:
        return type(self).__name__

    def endure(self, world: World, uuid: str) -> Endured:
        answers: list[requests.Response] = []
        self.stop(world)
        began = time.monotonic()
        try:
            while not answers or time.monotonic() - began < self.lasts_s:
                answers += self.look(world, uuid)
                time.sleep(_LOOK_S)
        finally:
            self.start(world)
        return Endured(
            time.monotonic() - began,
            Counter(answer.status_code for answer in answers),
            max(answer.elapsed.total_seconds() for answer in answers),
        )


class WithoutMariaDB(Outage):
    """The API refuses and says when to come back."""

    lasts_s = 20.0

    def stop(self, world: World) -> None:
        world.mariadb.stop()

    def start(self, world: World) -> None:
        world.mariadb.start()

    def look(self, world: World, uuid: str) -> list[requests.Response]:
        answers = [
            world.hacore.ask("GET", f"/notifications/{uuid}"),
            world.hacore.ask(
                "POST", "/notifications", notification("COMPUTE_HOST", "compute2", DEAD)
            ),
        ]
        for answer in answers:
            _check_503(answer)
        return answers


class WithoutRabbitMQ(Outage):
    """Restarted.  Meanwhile reports are accepted, and the engine finds them by itself."""

    lasts_s = 0.0

    def stop(self, world: World) -> None:
        world.rabbitmq.stop()

    def start(self, world: World) -> None:
        world.rabbitmq.start()

    def look(self, world: World, uuid: str) -> list[requests.Response]:
        answer = world.hacore.ask(
            "POST", "/notifications", notification("PROCESS", "compute2", _STARTED)
        )
        assert answer.status_code == 202, answer.text
        reported = answer.json()["notification"]["notification_uuid"]
        ended = world.hacore.wait_until_ended(reported, 30)
        assert ended["status"] == "finished", ended
        return [answer]


class WithoutService(Outage):
    """A service of the cloud is away: the recovery waits for it, and the API tells so.

    :param name: by which ministack calls it.
    :param url: of something that it answers without a token.
    """

    lasts_s = 10.0

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._url = url

    def __str__(self) -> str:
        return f"{super().__str__()} {self._name}"

    def stop(self, world: World) -> None:
        world.real.run("stop-service", self._name)

    def start(self, world: World) -> None:
        world.real.run("start-service", self._name)
        wait_for(f"{self._name} to answer", self._answers, _START_S)

    def _answers(self) -> bool:
        try:
            return requests.get(self._url, timeout=_START_S).status_code < 500
        except requests.ConnectionError:
            return False

    def look(self, world: World, uuid: str) -> list[requests.Response]:
        answer = world.hacore.ask("GET", f"/notifications/{uuid}")
        if self._name == "keystone" and answer.status_code == 503:
            _check_503(answer)  # this process of the API has not asked for this token before
        else:
            assert answer.status_code == 200, answer.text
            row = answer.json()["notification"]
            assert row["status"] in ("running", "finished"), row
        return [answer]


def without_nova_api(real: Ministack) -> Outage:
    return WithoutService("nova-api", real.nova.client.get_endpoint())


def without_keystone(real: Ministack) -> Outage:
    return WithoutService("keystone", real.admin["OS_AUTH_URL"])


def _check_503(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["serviceUnavailable"]["message"].endswith("Try again later.")
