# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A sandbox under a clock that only a test moves."""

import datetime
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hacore.clock import SystemClock
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.rest import Rest
from hacore_sandbox.server import SandboxServer
from hacore_sandbox.settings import PRESETS, Settings
from hacore_sandbox.wire import Response


class VirtualClock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime.datetime:
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        return start + datetime.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.seconds += timeout_s
        return event.is_set()


class Bench:
    """A cloud, its REST layer, and short words for what tests do with them."""

    def __init__(self, settings: Settings, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.cloud = Cloud(self.clock, settings, seed)
        self.rest = Rest(self.cloud)
        self.tokens: dict[str, str] = {}

    def sleep(self, seconds: float) -> None:
        self.clock.seconds += seconds
        self.cloud.advance()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Response:
        """One request as it is, path with query."""
        path, _, query = path.partition("?")
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return self.rest.handle(method, path, query, {"host": "x:1", **(headers or {})}, data)

    def token(self, user: str = "hacore") -> str:
        if user not in self.tokens:
            identity = {
                "methods": ["password"],
                "password": {"user": {"name": user, "password": user}},
            }
            answer = self.ask("POST", "/identity/v3/auth/tokens", {"auth": {"identity": identity}})
            self.tokens[user] = answer.headers["X-Subject-Token"]
        return self.tokens[user]

    def nova(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = "hacore",
        version: str = "2.90",
    ) -> Response:
        """One call of the Compute API."""
        headers = {
            "x-auth-token": self.token(user),
            "openstack-api-version": f"compute {version}",
        }
        return self.ask(method, f"/compute/v2.1{path}", body, headers)

    def act(self, server: str, action: str, values: Any = None, **kwargs: Any) -> Response:
        return self.nova("POST", f"/servers/{server}/action", {action: values}, **kwargs)

    def control(self, method: str, path: str, body: Any = None) -> Response:
        return self.ask(method, f"/control/{path}", body)

    def servers(self, count: int, host: str = "compute1", **more: Any) -> list[str]:
        answer = self.control("POST", "servers", {"count": count, "hosts": [host], **more})
        assert answer.status == 201, answer.body
        ids: list[str] = answer.body["ids"]
        return ids

    def show(self, server: str, **kwargs: Any) -> dict[str, Any]:
        shown: dict[str, Any] = self.nova("GET", f"/servers/{server}", **kwargs).body["server"]
        return shown

    def states(self, server: str) -> tuple[str, str | None, int, str | None]:
        record = self.cloud.state.servers[server]
        return record.vm_state, record.task_state, record.power_state, record.host

    def migrations(self, query: str = "") -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.nova("GET", f"/os-migrations{query}").body["migrations"]
        return listed

    def kill(self, host: str = "compute1") -> None:
        """And wait until Nova has seen it."""
        assert self.control("POST", f"hosts/{host}/kill").status == 204
        self.sleep(self.cloud.settings.service_down_s + self.cloud.settings.report_interval_s)


@pytest.fixture
def bench() -> Bench:
    """Durations as in the real preset."""
    return Bench(PRESETS["real"])


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """A sandbox of real sockets and real time."""
    rest = Rest(Cloud(SystemClock(), PRESETS["instant"]))
    with SandboxServer(rest) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
