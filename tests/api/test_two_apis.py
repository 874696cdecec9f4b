# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Two API processes on one database: each of many equal notifications is accepted once."""

import collections
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from wsgiref.types import WSGIApplication

import pytest
import requests
import sqlalchemy as sa
from oslo_config import cfg

from hacore.api.app import make_app
from hacore.db.engine import Database
from hacore.db.models import Host

from .conftest import Client, Computes, report

CLIENTS = 8
FAILURES = 100


@pytest.fixture
def urls(
    conf: cfg.ConfigOpts,
    app: WSGIApplication,
    nova: Computes,
    serve: Callable[[WSGIApplication], str],
) -> Iterator[list[str]]:
    second = Database(conf.database)
    yield [serve(app), serve(make_app(conf, second, nova, lambda: None))]
    second.dispose()


def test_each_failure_is_accepted_once(client: Client, urls: list[str]) -> None:
    client.host(client.segment())
    # every failure is reported twice, by two monitors that saw it at the same time
    pairs = [(number, number) for number in range(FAILURES)]
    dice = random.Random(1)
    dice.shuffle(pairs)
    work = iter(list(itertools.chain.from_iterable(pairs)))
    lock = threading.Lock()
    sessions = threading.local()

    def post(client_number: int) -> list[tuple[int, int]]:
        answers = []
        sessions.http = requests.Session()
        while True:
            with lock:
                number = next(work, None)
            if number is None:
                sessions.http.close()
                return answers
            payload = {"event": "STOPPED", "process_name": f"p{number}"}
            answer = sessions.http.post(
                f"{urls[client_number % 2]}/v1/notifications",
                json={"notification": report(type="PROCESS", payload=payload)},
                timeout=60,
            )
            answers.append((number, answer.status_code))

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = collections.Counter(itertools.chain.from_iterable(pool.map(post, range(CLIENTS))))

    assert answers == {(number, status): 1 for number in range(FAILURES) for status in (202, 409)}
    assert len(client.get("/v1/notifications").json["notifications"]) == FAILURES


def test_a_host_that_is_locked_holds_up_its_own_reports_and_nothing_else(
    conf: cfg.ConfigOpts, client: Client, urls: list[str]
) -> None:
    """A transaction as an API leaves it that loses its power while it accepts a report."""
    holder = Database(conf.database, patient=True)  # the server lets it be silent
    if holder.bind.dialect.name == "sqlite":
        pytest.skip("SQLite locks everything, and notices the death of a process")
    client.host(client.segment())
    lock = sa.select(Host).with_for_update()

    def post(_number: int) -> requests.Response:
        body = {"notification": report()}
        return requests.post(f"{urls[0]}/v1/notifications", json=body, timeout=60)

    with ThreadPoolExecutor(CLIENTS) as pool:
        with holder.write() as session:
            session.scalars(lock).one()
            answers = [pool.submit(post, number) for number in range(CLIENTS)]
            for answer in answers:
                assert answer.result().status_code == 503
                assert int(answer.result().headers["Retry-After"]) > 0
            assert requests.get(f"{urls[0]}/v1/segments", timeout=60).status_code == 200
        assert post(0).status_code == 202
    holder.dispose()
