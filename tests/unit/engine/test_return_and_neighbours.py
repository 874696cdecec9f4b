# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host is brought back in a cloud whose catalogue has Neutron and Placement."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from hacore.db import schema
from hacore.db.engine import Database
from hacore.states import OperationStatus
from tests.simulation import Simulation
from tests.unit.engine.test_host_return import ask, died, ends, operation, revive, story
from tests.world import World

FINISHED, WAITING = OperationStatus.FINISHED, OperationStatus.WAITING


@pytest.fixture
def world(conf: cfg.ConfigOpts, tmp_path: Path) -> Iterator[World]:
    clock = Simulation()
    conf.set_override("connection", f"sqlite:///{tmp_path}/hacore.sqlite", group="database")
    conf.set_override("force_down", "always", "host_failure")
    db = Database(conf.database, clock=clock)
    schema.sync(db)
    world = World(conf, db, clock, neutron=True, placement=True)
    world.always_looks = True
    conf.set_override("report_interval", 5.0, "nova")
    died(world)
    yield world
    clock.close()
    db.dispose()


def agents(world: World, *, alive: bool) -> None:
    world.control("POST", "/hosts/compute1/agents", {"alive": alive})


def waits(world: World, uuid: str, begins: str) -> str:
    """Let the world go on until it waits for this; return why."""

    def message() -> str:
        row = operation(world, uuid)
        return (row.message or "") if row.status == WAITING else ""

    world.clock.run(lambda: message().startswith(begins))
    return message()


def test_it_waits_for_the_agents_of_neutron(world: World) -> None:
    agents(world, alive=False)
    revive(world)
    uuid = ask(world)
    assert waits(world, uuid, "Neutron") == (
        "Neutron does not hear its agents on compute1 (Metadata agent, Open vSwitch agent): start "
        "them."
    )
    assert world.service().disabled
    agents(world, alive=True)
    assert ends(world, uuid).status == FINISHED
    assert "Neutron hears its 2 agents on compute1." in story(world, uuid)


def test_it_waits_until_placement_has_room_on_it(world: World) -> None:
    host = world.cloud.state.host("compute1")
    revive(world)
    world.clock.run(lambda: host.barred)  # its nova-compute has started, and is disabled
    world.cloud._sync_traits = lambda _host: None  # type: ignore[method-assign]
    uuid = ask(world)
    assert waits(world, uuid, "Placement") == (
        "Placement keeps instances out of compute1 (trait COMPUTE_STATUS_DISABLED), though "
        "nova-compute is enabled; if that stays so, restart nova-compute on compute1."
    )
    assert world.registered().on_maintenance
    host.barred = False
    assert ends(world, uuid).status == FINISHED


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("v2.0/agents", "Neutron agents were not checked: Failed to list the Neutron agents"),
        ("/traits", "Placement was not checked: Failed to read the traits of resource provider"),
        ("os-hypervisors", "Placement was not checked: Failed to list the hypervisors"),
    ],
)
def test_who_may_not_ask_them_says_so_and_goes_on(world: World, path: str, said: str) -> None:
    revive(world)
    world.faults(calls=[{"method": "GET", "path": path, "status": 403}])
    ended = ends(world, ask(world))
    assert ended.status == FINISHED
    assert said in (ended.message or "")
    assert not world.service().disabled


def test_what_is_left_behind_in_placement_is_named(world: World) -> None:
    """One evacuated in the middle of a migration leaves its room; what comes and goes does not."""
    host = world.cloud.state.host("compute1")
    left, passing = str(uuid.uuid4()), str(uuid.uuid4())
    host.leftovers += [left, passing]
    revive(world)
    asked = ask(world)
    world.clock.run(lambda: not world.registered().on_maintenance)
    settles_from = world.clock.monotonic()
    world.clock.run(lambda: world.clock.monotonic() > settles_from + 10)
    host.leftovers.remove(passing)
    message = ends(world, asked).message or ""
    assert (
        f"Placement gives room on compute1 to what Nova does not list there: {left}; to see which "
        "of them an earlier migration left behind: nova-manage placement audit --verbose "
        f"--resource_provider {host.node_uuid}; with --delete it removes them"
    ) in message
    assert passing not in message


def test_neutron_is_unavailable_for_a_while(world: World) -> None:
    world.conf.set_override("retry_timeout", 5, "nova")
    revive(world)
    world.faults(calls=[{"method": "GET", "path": "v2.0/agents", "status": 503}])
    uuid = ask(world)
    waits(world, uuid, "Failed to list the Neutron agents of compute1")
    world.faults(calls=[])
    assert ends(world, uuid).status == FINISHED
