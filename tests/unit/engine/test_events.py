# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the engine tells on the message bus."""

from typing import Any

import pytest

from hacore import events
from hacore.states import NotificationStatus as Status
from tests.world import World

STARTED = {"event": "STARTED", "host_status": "NORMAL", "cluster_status": "ONLINE"}


def story(world: World) -> list[tuple[str, str]]:
    """Event types and statuses."""
    return [(event.type, data(event)["status"]) for event in world.told]


def data(event: events.Event) -> dict[str, Any]:
    fields: dict[str, Any] = event.payload["masakari_object.data"]
    return fields


def test_a_recovery_starts_and_ends(world: World) -> None:
    world.boot(2)
    world.kill()
    uuid = world.notify()
    world.engine()
    ended = world.recover(uuid)

    assert story(world) == [
        ("notification.process.start", "running"),
        ("notification.process.end", "finished"),
    ]
    start, end = map(data, world.told)
    assert set(end) == set(events.PAYLOADS["notification"].fields)
    assert set(start) == set(end) - {"message"}
    assert end["message"] == ended.message == "2 evacuated, 0 skipped."
    assert end["notification_uuid"] == uuid
    assert (end["id"], end["source_host_uuid"]) == (ended.id, ended.source_host_uuid)
    assert end["generated_time"] == "2026-01-01T00:00:00Z"
    assert start["fault"] is end["fault"] is None


def test_what_needs_no_recovery_ends_too(world: World) -> None:
    uuid = world.notify(payload=STARTED)
    world.engine()
    assert world.recover(uuid).status == Status.FINISHED
    assert story(world)[-1] == ("notification.process.end", "finished")


def test_each_attempt_starts_and_fails(world: World) -> None:
    uuid = world.notify(
        "elsewhere", type="PROCESS", payload={"event": "STOPPED", "process_name": "nova-compute"}
    )
    world.engine()
    assert world.recover(uuid).status == Status.FAILED

    start = ("notification.process.start", "running")
    again = ("notification.process.error", "error")
    assert story(world) == [start, again, start, again, start, (again[0], "failed")]
    last = data(world.told[-1])
    assert "Nova has no nova-compute service on host elsewhere" in last["message"]
    fault = last["fault"]["masakari_object.data"]
    assert set(fault) == set(events.NESTED["fault"].fields)
    assert (fault["exception"], fault["exception_message"]) == ("RecoveryFailed", last["message"])


@pytest.mark.parametrize("how", ["kill_engine", "stop_engine"])
def test_an_attempt_that_another_engine_continues_has_no_end(world: World, how: str) -> None:
    world.boot(20)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.at(2.0, lambda: getattr(world, how)("a"))
    world.clock.at(3.0, lambda: world.engine("b"))
    world.recover(uuid)

    start = ("notification.process.start", "running")
    assert story(world) == [start, start, ("notification.process.end", "finished")]
