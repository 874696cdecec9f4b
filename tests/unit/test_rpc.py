# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The wake-up arrives, and does no harm where it cannot."""

import threading
import time

import pytest
from oslo_config import cfg

from hacore.rpc import WakeListener, Waker

PATIENCE_S = 20


def test_a_wake_up_reaches_every_engine(bus: cfg.ConfigOpts) -> None:
    woken = [threading.Event(), threading.Event()]
    listeners = [WakeListener(bus, f"engine{n}", event.set) for n, event in enumerate(woken)]
    for listener in listeners:
        listener.start()
    waker = Waker(bus)
    deadline = time.monotonic() + PATIENCE_S
    while not all(event.is_set() for event in woken) and time.monotonic() < deadline:
        waker.wake()  # again: the first may come before an engine listens
        threading.Event().wait(0.05)
    assert all(event.is_set() for event in woken)
    waker.stop()
    for listener in listeners:
        listener.stop()


def test_without_a_broker_nothing_blocks_and_nothing_raises(
    bus: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    bus.set_override("transport_url", "rabbit://guest:guest@127.0.0.1:1/")
    waker = Waker(bus)
    waker.wake()
    deadline = time.monotonic() + PATIENCE_S
    while "Failed to notify engines over RPC" not in caplog.text and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    waker.stop()
    assert "the next poll picks it up" in caplog.text
