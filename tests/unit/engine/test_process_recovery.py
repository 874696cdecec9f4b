# Licensed under the Apache License, Version 2.0; see LICENSE.
"""nova-compute dies: rules 5 of the recovery."""

import pytest

from hacore.states import NotificationStatus as Status
from tests.world import World


def reported(world: World, event: str = "STOPPED", process: str = "nova-compute") -> str:
    """A process monitor reports; returns the notification."""
    return world.notify(type="PROCESS", payload={"event": event, "process_name": process})


def test_the_service_is_disabled_and_the_host_on_maintenance(world: World) -> None:
    uuid = reported(world)
    world.engine()
    ended = world.recover(uuid, limit_s=30)
    assert ended.status == Status.FINISHED
    assert ended.message == "nova-compute on compute1 is disabled in Nova."
    service = world.service()
    assert (service.disabled, service.disabled_reason) == (
        True,
        "Masakari detected process failed.",
    )
    host = world.registered()
    assert (host.on_maintenance, host.maintenance_by) == (True, uuid)
    assert (host.disabled_by, host.disabled_reason) == (uuid, "Masakari detected process failed.")


def test_a_service_that_is_disabled_already_is_a_success(world: World) -> None:
    world.service().disabled = True
    uuid = reported(world)
    world.engine()
    assert world.recover(uuid, limit_s=30).status == Status.FINISHED
    assert world.calls("PUT", "/os-services/{id}") == 0


@pytest.mark.parametrize(
    ("event", "process", "status", "says"),
    [
        ("STARTED", "nova-compute", Status.FINISHED, "nothing to do"),
        ("STOPPED", "sshd", Status.FINISHED, "No recovery is defined for process sshd"),
        ("PAUSED", "nova-compute", Status.IGNORED, "No recovery is defined for process event"),
    ],
)
def test_other_reports(world: World, event: str, process: str, status: Status, says: str) -> None:
    uuid = reported(world, event, process)
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == status
    assert says in (ended.message or "")
    assert not world.service().disabled
    assert not world.registered().on_maintenance


def test_a_host_that_nova_does_not_know(world: World) -> None:
    uuid = world.notify(
        "elsewhere", type="PROCESS", payload={"event": "STOPPED", "process_name": "nova-compute"}
    )
    world.engine()
    ended = world.recover(uuid)
    assert ended.status == Status.FAILED
    assert "Nova has no nova-compute service on host elsewhere" in (ended.message or "")


def test_a_process_alarm_does_not_wait_for_the_hosts_recovery(world: World) -> None:
    world.boot(1)
    host = world.notify()  # Nova sees the host as up: this one waits for minutes
    uuid = reported(world)
    world.engine()
    world.recover(uuid, limit_s=30)
    assert world.notification(host).status == Status.RUNNING


def test_a_host_that_dies_after_its_nova_compute_is_recovered_for_good(world: World) -> None:
    world.boot(3)
    world.engine()
    world.recover(reported(world))
    world.kill()
    uuid = world.notify()
    assert world.recover(uuid).status == Status.FINISHED
    assert world.registered().maintenance_by == uuid, "no further host failure is accepted"
