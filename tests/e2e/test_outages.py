# Licensed under the Apache License, Version 2.0; see LICENSE.
"""In the middle of a recovery something goes away: nothing is lost and nothing done twice.

MariaDB and RabbitMQ are hacore's own, Nova's API and Keystone are the real ones.
benchmarks/outages.py does the same with 50 instances.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.checks import DEAD, HOST_STEPS, check_all_moved, check_steps
from tests.e2e.clients import seconds
from tests.e2e.ministack import Ministack
from tests.e2e.outages import (
    Outage,
    WithoutMariaDB,
    WithoutRabbitMQ,
    World,
    deployed,
    own_servers,
    wait_until_moved,
    without_keystone,
    without_nova_api,
)
from tests.e2e.reporting import DEPLOYMENT, Figures

pytestmark = pytest.mark.e2e

INSTANCES = 8
PATIENCE_S = 240.0

HOSTS = ("compute1", "compute2")


@pytest.fixture(scope="module")
def instances(ministack: Ministack) -> dict[str, list[str]]:
    """Of the hosts that will die; nothing is evacuated from one to the other."""
    ministack.reset()
    made = {host: ministack.boot(INSTANCES, host) for host in HOSTS}
    ministack.keep_in_reserve(*HOSTS)
    ministack.slow_down(1, *ministack.hosts)
    return made


@pytest.fixture(scope="module")
def world_of_all(ministack: Ministack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests, few evacuations at a time: some are to come in the second outage."""
    folder: Path = tmp_path_factory.mktemp("outages")
    options = {
        "claim_poll_interval": 1,
        "host_failure_recovery_threads": 2,
        "process_unfinished_notifications_interval": 5,
    }
    with (
        own_servers(folder) as servers,
        deployed(ministack, servers, folder / "hacore", 1, **options) as world,
    ):
        yield world


@pytest.fixture
def world(world_of_all: World, request: pytest.FixtureRequest) -> World:
    request.node.stash[DEPLOYMENT] = world_of_all.deployment
    return world_of_all


def check_recovery(
    world: World, host: str, instances: list[str], figures: Figures, *outages: Outage
) -> None:
    """One outage when a quarter is evacuated, the other one when the half is.

    Nova may fail an evacuation meanwhile, and then it takes another attempt: services of
    the cloud that have to check a token refuse each other while Keystone is away.
    """
    hacore = world.hacore
    world.real.kill(host)
    uuid = hacore.notify("COMPUTE_HOST", host, DEAD)

    for share, outage in zip((0.25, 0.5), outages, strict=True):
        counts = wait_until_moved(hacore, uuid, share)
        endured = outage.endure(world, uuid)
        figures.add(f"with {dict(counts)} {outage}: {endured}")
    shown, failed = hacore.follow(uuid, PATIENCE_S)

    attempts = len(failed) + 1
    check_all_moved(world.real, hacore, shown, instances, host, attempts=attempts)
    check_steps(shown, *HOST_STEPS)
    for message in failed:
        figures.add(f"for a while error: {message}")
    figures.add(f"{seconds(shown):.1f} s in all")


def test_its_database_and_its_broker_go_away(
    world: World, instances: dict[str, list[str]], figures: Figures
) -> None:
    moved = instances["compute1"]
    check_recovery(world, "compute1", moved, figures, WithoutMariaDB(), WithoutRabbitMQ())


def test_nova_and_keystone_go_away(
    world: World, instances: dict[str, list[str]], figures: Figures
) -> None:
    away = without_nova_api(world.real), without_keystone(world.real)
    check_recovery(world, "compute2", instances["compute2"], figures, *away)
