# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures of the crash tests: MariaDB and RabbitMQ of this machine, Nova simulated."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.sandbox import Sandbox
from tests.e2e.clients import Hacore
from tests.e2e.deployment import Deployment, missing_servers
from tests.e2e.reporting import DEPLOYMENT, Figures, attach_logs, print_figures
from tests.services import skip_unless_required

HOSTS = [f"compute{number}" for number in range(1, 9)]


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
def deployment(
    sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """An API and two engines, whose leases are as short as they may be."""
    skip_unless_required("MariaDB and RabbitMQ")
    if missing := missing_servers():
        pytest.fail(f"nothing listens at {', '.join(missing)}")
    default = {
        "auth_strategy": "noauth2",
        "verify_interval": 0.2,
        "claim_lease": 3,
        "claim_poll_interval": 0.5,
        "process_unfinished_notifications_interval": 1,
    }
    made = Deployment(tmp_path / "hacore", sandbox.login, {"DEFAULT": default})
    request.node.stash[DEPLOYMENT] = made
    made.start_api(gunicorn=False)
    for name in ("engine1", "engine2"):
        made.start_engine(name)
    made.wait_for_api()
    for engine in made.engines.values():
        engine.wait_until_it_says("is ready", 60)
    yield made
    made.close()


@pytest.fixture
def hacore(deployment: Deployment) -> Iterator[Hacore]:
    made = Hacore(deployment.url, "admin:admin")
    yield made
    made.close()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(request)
