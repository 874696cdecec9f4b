# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Two APIs under uwsgi, three engines, quorum queues, MariaDB or PostgreSQL, Nova simulated."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.sandbox import Sandbox
from tests.databases import SERVERS
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment, Options, Servers
from tests.e2e.reporting import DEPLOYMENT, Figures, attach_logs, print_figures
from tests.servers import RabbitMQ
from tests.services import skip_unless_required

#: Instances that fit on a host.  Those that die are full, so none of them gets another's.
CAPACITY = 4
DYING = [f"compute{number}" for number in range(1, 21)]
#: As many again, and some more.
SPARE = [f"compute{number}" for number in range(21, 45)]

APIS = ("api1", "api2")
ENGINES = ("engine1", "engine2", "engine3")

#: What uwsgi says of each process.
_LOADED = "WSGI app 0 (mountpoint='') ready"
_OPTIONS: Options = {
    "DEFAULT": {"auth_strategy": "noauth2", "verify_interval": 0.2},
    "mass_failure": {"burst_hosts": 0},  # twenty hosts die at once
    "oslo_messaging_rabbit": {
        "rabbit_quorum_queue": "true",
        "rabbit_transient_quorum_queue": "true",
    },
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from attach_logs(item))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    print_figures(terminalreporter, config)


def wait_for_uwsgi(deployment: Deployment, name: str) -> None:
    """Return when both processes of an API are there.

    A uwsgi that is told to end while one of them is being loaded never ends.
    """
    deployment.wait_for_api(name)
    daemon = deployment.apis[name].daemon
    wait_for(f"both processes of {name}", lambda: daemon.text().count(_LOADED) == 2, 60)


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One of our own: quorum queues are durable, and would stay in the machine's."""
    skip_unless_required("MariaDB, PostgreSQL and RabbitMQ")
    made = RabbitMQ(tmp_path_factory.mktemp("broker") / "rabbitmq")
    yield made
    made.close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, len(DYING) + len(SPARE), f"host_capacity={CAPACITY}")
    yield made
    made.close()


@pytest.fixture(params=["mysql", "postgresql"])
def deployment(
    broker: RabbitMQ, sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    servers = Servers(SERVERS[request.param], broker.url)
    made = Deployment(tmp_path / "hacore", sandbox.login, _OPTIONS, servers=servers)
    request.node.stash[DEPLOYMENT] = made
    try:
        for name in APIS:
            made.start_api(name, under="uwsgi")
        for name in ENGINES:
            made.start_engine(name)
        for name in APIS:
            wait_for_uwsgi(made, name)
        for engine in made.engines.values():
            engine.wait_until_it_says("is ready", 60)
        yield made
    finally:
        made.close()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(request)
