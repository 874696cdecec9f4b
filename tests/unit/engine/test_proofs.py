# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Steps of an operator's own that fence, or evacuate by themselves: they meet the gate, too."""

from pathlib import Path

import pytest

from hacore.db import pauses, proofs
from hacore.states import NotificationStatus as Status
from hacore.states import ProofKind
from tests.unit.engine.test_flows import configure, install
from tests.world import World

FENCES = """
from taskflow.task import Task

class Fences(Task):
    default_provides = "fenced"

    def execute(self):
        return True
"""

EVACUATES = """
from taskflow.task import Task

class Evacuates(Task):
    def __init__(self, context, novaclient, **_kwargs):
        super().__init__(name="Evacuates")
        self.novaclient = novaclient

    def execute(self, host_name):
        for instance in self.novaclient.instances_on(host_name):
            self.novaclient.evacuate(instance.uuid)
"""
MAIN, POST = ["prepare_HA_enabled_instances_task"], ["evacuate_instances_task"]


def given(world: World, notification: str) -> list[proofs.Given]:
    host = world.registered()
    return proofs.standing(world.db, host.uuid, notification, 900)


@pytest.fixture
def step_that_fences(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, FENCES, "Fences")
    configure(world.conf, pre=["fences", "disable_compute_service_task"], main=MAIN, post=POST)


@pytest.fixture
def step_that_evacuates(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, EVACUATES, "Evacuates")
    configure(world.conf, main=["evacuates"])


@pytest.mark.usefixtures("step_that_fences")
def test_a_step_that_fences_is_a_proof(world: World) -> None:
    world.boot(2)
    world.kill()
    notification = world.notify()
    world.engine()
    assert world.recover(notification).status == Status.FINISHED
    (proof,) = given(world, notification)
    assert proof.kind is ProofKind.STEP
    assert "A step has proved that compute1 is off." in world.story(notification)
    assert world.service().forced_down


@pytest.mark.usefixtures("step_that_fences")
def test_a_step_that_lies_is_found_out_by_the_heartbeats(world: World) -> None:
    """The host lives, and is heard twice after the proof."""
    world.conf.set_override("host_failure_recovery_threads", 1)
    servers = world.boot(4)
    vars(world.cloud.settings)["spawn_s"] = 20.0
    notification = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    held = world.notification(notification)
    assert held.held_rule == "proof"
    assert "Nova hears compute1 again" in (held.message or "")
    assert given(world, notification) == []
    (proof,) = proofs.of_host(world.db, world.registered().uuid)
    assert proof.void_reason == "Nova hears compute1."
    assert any(world.server(server).host == "compute1" for server in servers)


@pytest.mark.usefixtures("step_that_evacuates")
@pytest.mark.parametrize(
    ("require_proof", "paused", "rule"), [("always", False, "proof"), ("never", True, "pause")]
)
def test_a_step_that_evacuates_by_itself_is_held(
    world: World, require_proof: str, paused: bool, rule: str
) -> None:
    world.conf.set_override("require_proof", require_proof, group="fencing")
    server, *_ = world.boot(1)
    world.kill()
    notification = world.notify()
    if paused:
        pauses.pause(world.db, pauses.ALL, "alice", "new switches", None)
    world.engine()
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    assert world.notification(notification).held_rule == rule
    assert world.server(server).host == "compute1"
    assert world.cloud.state.migrations == []


@pytest.mark.usefixtures("step_that_evacuates")
def test_a_step_that_evacuates_a_living_host_is_held(world: World) -> None:
    server, *_ = world.boot(1)
    notification = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(notification).held_rule is not None)
    assert "Nova hears compute1" in (world.notification(notification).message or "")
    assert world.server(server).host == "compute1"
    assert world.cloud.state.migrations == []
