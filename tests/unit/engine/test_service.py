# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Engines as they run, with threads and a message bus of this process."""

import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.clock import SystemClock
from hacore.db import schema
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.engine.service import Engine
from hacore.states import NotificationType
from tests import factories
from tests.db import services_of
from tests.world import log_in

PATIENCE_S = 30
#: Nobody listens there: the recovery waits for Nova, for longer than any test.
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def db(bus: cfg.ConfigOpts, tmp_path: object) -> Iterator[Database]:
    log_in(bus, NOWHERE)
    bus.register_opt(cfg.IntOpt("graceful_shutdown_timeout", default=60))
    bus.set_override("connection", f"sqlite:///{tmp_path}/hacore.sqlite", group="database")
    bus.set_override("claim_poll_interval", 3600.0)
    database = Database(bus.database)
    schema.sync(database)
    yield database
    database.dispose()


@pytest.fixture
def start(bus: cfg.ConfigOpts, db: Database) -> Iterator[Callable[[], Engine]]:
    """Start an engine; all are stopped in the end."""
    engines: list[Engine] = []

    def make() -> Engine:
        engines.append(Engine(bus, SystemClock(), lambda _state: None))
        engines[-1].start()
        return engines[-1]

    yield make
    for engine in engines:
        engine.stop()


def until(holds: Callable[[], bool]) -> None:
    never = threading.Event()
    for _ in range(PATIENCE_S * 20):
        if holds():
            return
        never.wait(0.05)
    raise AssertionError(f"not so within {PATIENCE_S} s")


def attempt(db: Database) -> int:
    """How often the notification has been claimed."""
    with db.read() as session:
        return session.scalars(sa.select(Notification.claim_number)).one()


def test_an_engine_that_is_stopped_wakes_the_others(
    db: Database, start: Callable[[], Engine], caplog: pytest.LogCaptureFixture
) -> None:
    """Else they would come at their next poll, in an hour here."""
    caplog.set_level("INFO")
    factories.notification(
        db,
        factories.host(db),
        type=NotificationType.PROCESS,
        payload={"process_name": "nova-compute", "event": "STOPPED"},
    )
    first = start()
    until(lambda: attempt(db) == 1)
    start()
    until(lambda: caplog.text.count("Listening for wake-ups") == 2)
    threading.Event().wait(1)  # its first look, at its start, is over
    first.stop()
    until(lambda: attempt(db) == 2)


def test_an_engine_names_older_ones_at_its_start(
    db: Database, start: Callable[[], Engine], caplog: pytest.LogCaptureFixture
) -> None:
    services_of.engine(db, "0.1.0", "controller2", pid=7)
    start()
    assert (
        "Mass-failure limits, holds and pauses are not enforced until engine 0.1.0 on controller2 "
        "(process 7)"
    ) in caplog.text
