# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An engine holds a token before there is anything to recover."""

import logging
import threading
from collections.abc import Iterator

import pytest

from hacore.engine.token_refresh import refresh_token
from hacore.nova import Nova
from hacore_sandbox.cloud import Cloud
from tests.simulation import Simulation
from tests.unit.conftest import MakeNova

#: Beyond what the simulated clock is ahead of the machine's.
_LONG_S = 4e9


@pytest.fixture
def engine(make_nova: MakeNova) -> Iterator[tuple[Nova, Cloud, Simulation]]:
    """It has been started, and there is nothing to do."""
    nova, cloud, _, clock = make_nova()
    clock.spawn("engine", refresh_token, nova, clock, threading.Event())
    yield nova, cloud, clock
    clock.close()


def test_no_recovery_waits_for_a_login(engine: tuple[Nova, Cloud, Simulation]) -> None:
    nova, cloud, clock = engine
    clock.run(lambda: clock.monotonic() > 600)
    cloud.faults.put({"unavailable": {"identity": 60}}, cloud.now)
    begun = clock.monotonic()
    assert nova.service("compute1") is not None
    assert clock.monotonic() < begun + 1


def test_a_login_that_works_no_more_is_told_of_once_and_tried_again(
    engine: tuple[Nova, Cloud, Simulation], caplog: pytest.LogCaptureFixture
) -> None:
    _, cloud, clock = engine
    cloud.faults.put({"clock_ahead_s": -_LONG_S}, cloud.now)  # each token is about to expire
    with caplog.at_level(logging.INFO, "hacore.engine.token_refresh"):
        clock.at(90, lambda: cloud.faults.put({"unavailable": {"identity": 240}}, cloud.now))
        clock.run(lambda: clock.monotonic() > 600)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert caplog.messages[0].startswith("Failed to log in to Keystone: ")
