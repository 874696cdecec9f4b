# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What was switched off is read again: while it is evacuated, and until it is brought back."""

import pytest

from hacore import metrics, monitoring
from hacore.cmd.manage import watched
from hacore.db import gates, hosts, proofs
from hacore.states import Gate
from hacore.states import NotificationStatus as Status
from tests.devices import Devices
from tests.unit.engine.test_host_return import ask, died
from tests.world import World

_LONG_S = 400.0  #: longer than an engine leaves it alone


@pytest.fixture
def world(world: World) -> World:
    """Hosts have devices, and engines look now and then."""
    world.always_looks = True
    world.conf.set_override("report_interval", 10.0, "nova")
    world.devices = Devices(world.conf, world.cloud, "compute*")
    return world


@pytest.fixture
def fenced(world: World) -> World:
    """Compute1 has died, was switched off and recovered from."""
    died(world)
    return world


def later(world: World, seconds: float = _LONG_S) -> None:
    until = world.clock.monotonic() + seconds
    world.clock.run(lambda: world.clock.monotonic() > until)


def said(world: World) -> list[str]:
    """What doctor says of it."""
    found = watched.findings(world.conf, world.db, hosts.registered(world.db))
    return [each.detail for each in found if each.check == "power"]


def counted(world: World) -> float:
    return monitoring.readings(world.db)[metrics.SWITCHED_ON][""]


def test_one_that_is_on_is_named_until_it_is_off_or_brought_back(
    fenced: World, caplog: pytest.LogCaptureFixture
) -> None:
    later(fenced)
    assert (said(fenced), counted(fenced)) == ([], 0)
    fenced.cloud.bmcs.change("compute1", {"mode": "dead"})
    fenced.cloud.switch("compute1", True)
    later(fenced)
    assert said(fenced) == []  # nobody knows
    fenced.cloud.bmcs.change("compute1", {"mode": "normal"})
    later(fenced)
    (proof,) = proofs.of_host(fenced.db, fenced.registered().uuid)
    (sentence,) = said(fenced)
    assert sentence == (
        f"compute1, switched off by hacore at {proof.at:%Y-%m-%d %H:%M} UTC, is on: bring it back "
        "with 'hacore-manage host return compute1', or switch it off."
    )
    assert counted(fenced) == 1
    assert [each.message for each in caplog.records].count(f"host compute1: {sentence}") == 1
    assert "says that it is on." in (proof.void_reason or "")
    asked = gates.of(fenced.db, proof.notification_uuid or "")
    assert [each.message for each in asked if each.gate == Gate.POWER] == [sentence]
    fenced.cloud.switch("compute1", False)
    later(fenced)
    assert (said(fenced), counted(fenced)) == ([], 0)
    fenced.cloud.switch("compute1", True)
    later(fenced)
    assert len(said(fenced)) == 1
    ask(fenced)  # it is to be on
    assert (said(fenced), counted(fenced)) == ([], 0)


def test_an_engine_that_takes_over_reads_before_it_evacuates(world: World) -> None:
    """The proof is older than what the devices may be believed for."""
    servers = world.boot(3)
    world.conf.set_override("host_failure_recovery_threads", 1)
    world.faults(evacuations=[{"kind": "hang", "times": 1}])
    world.engine()
    world.clock.run(lambda: world.clock.monotonic() > 10)
    world.kill()
    notification = world.notify()
    world.clock.run(lambda: world.calls("POST", "/action") > 0)
    world.kill_engine()
    world.cloud.state.host("compute1").powered = True  # its nova-compute does not start
    world.clock.pass_time(60)
    world.engine("b")
    world.clock.run(lambda: world.notification(notification).held_rule == "proof")
    message = world.notification(notification).message or ""
    assert "Held (proof): compute1 was switched on again: bmc (" in message
    assert "abandon this recovery, and bring the host back" in message
    later(world, 180)
    assert world.notification(notification).status == Status.ERROR
    assert len(world.cloud.bmcs.get("compute1").orders) == 1  # hacore does not do it twice
    assert sum(world.server(server).host == "compute1" for server in servers) == 3
    world.faults(evacuations=[])
    world.cloud.switch("compute1", False)
    later(world)
    assert len(world.cloud.bmcs.get("compute1").orders) == 1
    assert sum(world.server(server).host == "compute1" for server in servers) < 3
