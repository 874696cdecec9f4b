# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures of the tests on Galera: a cluster, haproxy, and Nova simulated.

.ci/long runs them; without HACORE_REQUIRE_SERVICES=1 they are skipped, see tests/services.py.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.sandbox import Sandbox
from tests.e2e.deployment import Deployment, Options, Servers
from tests.e2e.reporting import DEPLOYMENT, Figures, attach_logs, print_figures
from tests.galera.cluster import Cluster, missing_programs
from tests.galera.haproxy import HAProxy
from tests.services import skip_unless_required

DYING = [f"compute{number}" for number in range(1, 13)]
SPARE = [f"compute{number}" for number in range(13, 25)]

Deploy = Callable[..., Deployment]
_OPTIONS: Options = {
    "DEFAULT": {
        "auth_strategy": "noauth2",
        "verify_interval": 0.2,
        "max_concurrent_recoveries": 2,  # so that no engine does everything
    }
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from attach_logs(item))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    print_figures(terminalreporter, config)


@pytest.fixture(scope="package")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Takes half a minute to start: one for all tests."""
    skip_unless_required("Galera, mariadb-backup, haproxy and RabbitMQ")
    if missing := missing_programs():
        pytest.fail(f"install {', '.join(missing)}")
    made = Cluster(tmp_path_factory.mktemp("galera") / "cluster")
    yield made
    made.close()


@pytest.fixture
def cluster(nodes: Cluster) -> Cluster:
    """The same with all nodes in it, whatever the test before did to them."""
    nodes.mend()
    return nodes


@pytest.fixture
def haproxy(cluster: Cluster, tmp_path: Path) -> Iterator[HAProxy]:
    made = HAProxy(tmp_path / "haproxy", cluster)
    yield made
    made.close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, len(DYING) + len(SPARE))
    yield made
    made.close()


@pytest.fixture
def deploy(
    cluster: Cluster, sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Deploy]:
    """Deploys an API and an engine for each of the servers, which it uses."""
    with contextlib.ExitStack() as stack:

        def start(servers: list[str], *, engines: bool = True, **database: Any) -> Deployment:
            made = Deployment(
                tmp_path / "hacore",
                sandbox.login,
                {**_OPTIONS, "database": database},
                servers=Servers(database=servers[0]),
            )
            request.node.stash[DEPLOYMENT] = made
            stack.callback(made.close)
            stack.callback(cluster.mend)  # the daemons end in order, and the database is dropped
            for number, server in enumerate(servers, 1):
                made.start_api(f"api{number}", server=server)
                if engines:
                    made.start_engine(f"engine{number}", server=server)
            for name in made.apis:
                made.wait_for_api(name)
            for engine in made.engines.values():
                engine.wait_until_it_says("is ready", 60)
            return made

        yield start


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(request)
