# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures of the tests on a real Nova.

They need ministack up (tools/ministack/ministack up), and its MariaDB and RabbitMQ;
see tests/services.py.
"""

import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as keystone_errors

from tests.e2e.clients import Hacore, OpenStack
from tests.e2e.deployment import Deployment, missing_servers
from tests.e2e.ministack import Ministack
from tests.e2e.reporting import DEPLOYMENT, Figures, attach_logs, print_figures
from tests.services import skip_unless_required


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from attach_logs(item))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    print_figures(terminalreporter, config)


@pytest.fixture(scope="session")
def ministack() -> Iterator[Ministack]:
    """A real OpenStack on this machine."""
    skip_unless_required("ministack, MariaDB and RabbitMQ")
    try:
        if missing := missing_servers():
            raise OSError(f"nothing listens at {', '.join(missing)}")
        made = Ministack()
    except (
        AssertionError,
        OSError,
        requests.RequestException,
        subprocess.SubprocessError,
        keystone_errors.ClientException,
    ) as exc:
        pytest.fail(f"no ministack: run tools/ministack/ministack up ({exc})")
    yield made
    made.reset()
    made.close()


@pytest.fixture
def real(ministack: Ministack) -> Ministack:
    """The same with every host up and enabled, and without instances."""
    ministack.reset()
    return ministack


@pytest.fixture
def openstack(real: Ministack) -> OpenStack:
    """The openstack command of the administrator."""
    return OpenStack(real.admin)


@pytest.fixture
def deploy(
    real: Ministack, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Deployment]]:
    """Deploys hacore on the real cloud, the API up; options of [DEFAULT] by name."""
    made: list[Deployment] = []

    def make(
        *, engine: bool = True, host_failure: Mapping[str, Any] | None = None, **options: Any
    ) -> Deployment:
        one = Deployment(
            tmp_path / "hacore",
            real.login("instanceha"),
            {
                "DEFAULT": {"auth_strategy": "keystone", **options},
                "host_failure": dict(host_failure or {}),
            },
            real.instance_ha_port(),
        )
        made.append(one)
        request.node.stash[DEPLOYMENT] = one
        one.start_api(under="gunicorn")
        if engine:
            one.start_engine()
        one.wait_for_api()
        if engine:
            one.engines["engine"].wait_until_it_says("is ready", 60)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def hacore_at(real: Ministack) -> Iterator[Callable[[Deployment], Hacore]]:
    """The REST API of a deployment, with the administrator's token."""
    made: list[Hacore] = []

    def make(deployment: Deployment) -> Hacore:
        made.append(Hacore(deployment.url, real.session.get_token()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(request)
