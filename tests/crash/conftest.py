# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures of the crash tests: two APIs, two engines, and Nova simulated."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.sandbox import Sandbox
from tests.crash.story import HOSTS
from tests.e2e.deployment import Deployment, Servers
from tests.e2e.reporting import DEPLOYMENT, Figures, attach_logs, print_figures
from tests.services import skip_unless_required

APIS = ("api1", "api2")
ENGINES = ("engine1", "engine2")
Deploy = Callable[[Servers], Deployment]

_OPTIONS = {
    "auth_strategy": "noauth2",
    "verify_interval": 0.2,
    "claim_lease": 3,
    "claim_poll_interval": 0.5,
    "process_unfinished_notifications_interval": 1,
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from attach_logs(item))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    print_figures(terminalreporter, config)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, len(HOSTS))
    yield made
    made.close()


@pytest.fixture
def deploy(sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deploy]:
    """Two APIs and two engines, whose leases are as short as they may be."""
    skip_unless_required("MariaDB and RabbitMQ")
    with contextlib.ExitStack() as stack:

        def start(servers: Servers) -> Deployment:
            made = Deployment(
                tmp_path / "hacore", sandbox.login, {"DEFAULT": _OPTIONS}, servers=servers
            )
            request.node.stash[DEPLOYMENT] = made
            stack.callback(made.close)
            for name in APIS:
                made.start_api(name)
            for name in ENGINES:
                made.start_engine(name)
            for name in APIS:
                made.wait_for_api(name)
            for engine in made.engines.values():
                engine.wait_until_it_says("is ready", 60)
            return made

        yield start


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(request)
