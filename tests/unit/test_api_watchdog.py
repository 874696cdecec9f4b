# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The API's own health check asks the API itself, and survives whatever answers."""

import socket
import threading
from collections.abc import Callable

import pytest
from oslo_config import cfg

from hacore.api.service import Api
from hacore.clock import SystemClock


class Rounds(SystemClock):
    """Lets the watchdog look so many times."""

    def __init__(self, left: int) -> None:
        self.left = left

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.left -= 1
        return self.left < 0


def serve(answer: bytes, times: int, address: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
    """Answer `times` connections with `answer`; the port, and what ends it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, 0), family=family)

    def run() -> None:
        for _ in range(times):
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def end() -> None:
        thread.join(10)
        server.close()

    return server.getsockname()[1], end


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_it_asks_no_proxy(
    conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    port, end = serve(b"HTTP/1.1 503 Disabled\r\nContent-Length: 0\r\n\r\n", 2, address)
    conf.set_override("listen", address, group="api")
    conf.set_override("port", port, group="api")
    told: list[str] = []
    Api(conf, Rounds(2), told.append)._feed_watchdog()
    end()
    assert told == ["WATCHDOG=1"] * 2


def test_an_answer_that_is_not_http_does_not_end_it(conf: cfg.ConfigOpts) -> None:
    port, end = serve(b"What?\r\n", 2)
    conf.set_override("port", port, group="api")
    told: list[str] = []
    clock = Rounds(2)
    Api(conf, clock, told.append)._feed_watchdog()
    end()
    assert (told, clock.left) == ([], -1)
