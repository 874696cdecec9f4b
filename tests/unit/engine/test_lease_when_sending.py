# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The lease is asked for when a call is sent, and what an engine before has sent is waited for."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from oslo_config import cfg

from hacore import errors
from hacore.db import claims
from hacore.engine.queue import Queue
from hacore.nova import Nova
from hacore.states import NotificationStatus as Status
from hacore_sandbox.rest import Rest
from tests.simulation import Simulation
from tests.unit.conftest import MakeNova
from tests.world import SandboxAdapter, World, broken_off


def is_evacuate(request: Any) -> bool:
    return "evacuate" in str(request.body)


class LateCall(SandboxAdapter):
    """The connection of the first call of a kind breaks, and Nova carries it out 9 s later."""

    def __init__(self, rest: Rest, clock: Simulation, action: str) -> None:
        super().__init__(rest, clock)
        self._action = f'"{action}"'
        self.sent = self.arrived = False

    def send(self, request: Any, **options: Any) -> requests.Response:
        if not self.sent and self._action in str(request.body):
            self.sent = True
            self.deliver_late(request, 9, lambda _status: setattr(self, "arrived", True))
            raise broken_off()
        return super().send(request, **options)


@pytest.fixture
def late(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], LateCall]:
    """Make the first call of a kind, of any engine, a late one."""

    def make(action: str) -> LateCall:
        adapter = LateCall(world.rest, world.clock, action)
        monkeypatch.setattr(world, "http_of", lambda _name: adapter)
        return adapter

    return make


@pytest.mark.parametrize("ends", [World.stop_engine, World.kill_engine])
def test_an_engine_waits_for_what_the_one_before_has_sent(
    world: World, ends: Callable[[World, str], None], late: Callable[[str], LateCall]
) -> None:
    """Nova accepts a second evacuate while the first one runs, and both harm the instance."""
    world.conf.set_override("claim_lease", 3)  # shorter than a call may be on its way
    (server,) = world.boot(1)
    world.kill()
    uuid = world.notify()
    adapter = late("evacuate")
    world.engine("a")
    world.clock.run(lambda: adapter.sent)
    world.clock.run(lambda: world.moves(uuid)[server].called_at is not None)
    ends(world, "a")
    world.engine("b")
    assert world.recover(uuid).message == "1 evacuated, 0 skipped."
    records = [record.status for record in world.cloud.state.migrations]
    assert records == ["done"]


def test_a_recovery_that_is_given_up_waits_for_a_lock_that_is_on_its_way(
    world: World, late: Callable[[str], LateCall]
) -> None:
    """The engine is stopped while it locks, and nobody comes in time: all is cleaned up then."""
    (server,) = world.boot(1, states={"vm_state": "stopped"})
    world.kill()
    uuid = world.notify()
    adapter = late("lock")
    world.engine("a")
    world.clock.run(lambda: adapter.sent)
    world.stop_engine("a")
    world.conf.set_override("notifications_expired_interval", 1)
    world.clock.pass_time(2)
    world.engine("b")
    assert world.recover(uuid).status == Status.FAILED
    assert adapter.arrived
    assert world.server(server).locked_by is None


def test_a_reset_that_is_on_its_way_is_waited_for(
    world: World, late: Callable[[str], LateCall]
) -> None:
    """Nova resets the state of an instance in the middle of its evacuation too."""
    (server,) = world.boot(1, states={"vm_state": "paused"})
    world.kill()
    uuid = world.notify()
    adapter = late("os-resetState")
    world.engine("a")
    world.clock.run(lambda: adapter.sent)
    world.stop_engine("a")
    world.engine("b")
    assert world.recover(uuid).message == "1 evacuated, 0 skipped."
    world.clock.pass_time(20)
    assert world.server(server).vm_state == "stopped"
    assert adapter.arrived


def test_what_never_reached_nova_is_sent_again(world: World) -> None:
    (server,) = world.boot(1)
    world.kill()
    uuid = world.notify()
    world.faults(calls=[{"method": "POST", "path": "action", "body": "evacuate", "drop": "before"}])
    world.engine("a")
    world.clock.run(lambda: server in world.moves(uuid) and world.moves(uuid)[server].called_at)
    world.stop_engine("a")
    world.faults(calls=[])
    world.engine("b")
    assert world.recover(uuid).message == "1 evacuated, 0 skipped."
    assert [record.status for record in world.cloud.state.migrations] == ["done"]


class Guard:
    """A lease that is lost once a new token is asked for."""

    lost = False

    def check(self) -> None:
        if self.lost:
            raise errors.LeaseLost

    def wait(self, _seconds: float) -> None:
        self.check()


class Watched(SandboxAdapter):
    """Counts what is sent; tells of each new token."""

    def __init__(self, rest: Rest, clock: Simulation) -> None:
        super().__init__(rest, clock)
        self.evacuations = 0
        self.on_token: Callable[[], None] = lambda: None

    def send(self, request: Any, **options: Any) -> requests.Response:
        self.evacuations += is_evacuate(request)
        answer = super().send(request, **options)
        if request.url.endswith("/auth/tokens") and request.method == "POST":
            self.on_token()
        return answer


@pytest.fixture
def expired(make_nova: MakeNova, conf: cfg.ConfigOpts) -> tuple[Nova, Watched, str]:
    """A Nova whose token works no more though it does not know, and an instance to evacuate."""
    _, cloud, rest, clock = make_nova()
    adapter = Watched(rest, clock)
    nova = Nova(conf, clock=clock, http=adapter)
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    cloud.kill("compute1")
    nova.log_in()
    clock.pass_time(10)
    rest._identity.tokens.clear()
    return nova, adapter, server.uuid


def test_an_engine_that_lost_its_lease_while_it_logged_in_sends_nothing(
    expired: tuple[Nova, Watched, str],
) -> None:
    nova, adapter, uuid = expired
    guard = Guard()
    adapter.on_token = lambda: setattr(guard, "lost", True)
    with pytest.raises(errors.LeaseLost):
        nova.bound(guard, None).evacuate(uuid)
    assert adapter.evacuations == 1  # refused with 401
    guard.lost = False
    assert nova.evacuations_from("compute1") == []


def test_with_a_new_token_the_call_is_sent_again_and_noted_before(
    expired: tuple[Nova, Watched, str],
) -> None:
    nova, adapter, uuid = expired
    noted: list[int] = []
    nova.bound(Guard(), None).evacuate(
        uuid, about_to_call=lambda: noted.append(adapter.evacuations)
    )
    assert (adapter.evacuations, noted) == (2, [0, 1])
    assert len(nova.evacuations_from("compute1")) == 1


def test_a_read_is_not_repeated_either_once_the_lease_is_lost(
    expired: tuple[Nova, Watched, str],
) -> None:
    nova, adapter, uuid = expired
    guard = Guard()
    adapter.on_token = lambda: setattr(guard, "lost", True)
    with pytest.raises(errors.LeaseLost):
        nova.bound(guard, None).lock(uuid, "x")


def test_a_claim_for_which_no_thread_can_be_started_is_given_back(world: World) -> None:
    uuid = world.notify()

    def submit(*_arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    def work(_claim: object, _lease: object) -> None:
        """Nothing."""

    queue = Queue(world.conf, world.db, world.clock, "a", submit, work, work)
    assert not queue.claim_one()
    for _ in range(3):
        queue.renew()
    taken = claims.claim(world.db, "b", 60, 86400)
    assert taken is not None
    assert taken.uuid == uuid
    assert queue.stop(0)
    assert world.notification(uuid).status == Status.RUNNING
