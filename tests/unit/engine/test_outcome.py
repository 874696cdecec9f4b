# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What follows from an attempt: another one, or the end."""

import pytest

from hacore.db import claims
from hacore.engine import outcome
from hacore.engine.outcome import Outcome
from hacore.states import NotificationStatus as Status
from tests.world import World

DAY_S = 86400


def end(world: World, uuid: str, reached: Outcome) -> str:
    """Claim the notification, let it end so, and return its status and message."""
    claim = claims.claim(world.db, "a", 60, DAY_S)
    assert claim is not None
    assert claim.uuid == uuid
    outcome.end(world.conf, world.db, claim, reached)
    row = world.notification(uuid)
    return f"{row.status}: {row.message}"


@pytest.fixture
def uuid(world: World) -> str:
    """A notification that is due again at once after an error."""
    world.conf.set_override("process_unfinished_notifications_interval", 0)
    world.conf.set_override("max_recovery_attempts", 2)
    return world.notify()


def test_an_error_is_retried_until_no_attempt_is_left(world: World, uuid: str) -> None:
    error = Outcome(Status.ERROR, "No host.")
    assert end(world, uuid, error) == "error: No host. Attempt 1 of 2 failed; retrying in 0 s."
    assert end(world, uuid, error) == "failed: No host. Given up after 2 attempts."
    assert claims.claim(world.db, "a", 60, DAY_S) is None


def test_an_error_that_does_not_count_uses_up_no_attempt(world: World, uuid: str) -> None:
    cleanup = Outcome(Status.ERROR, "Cleanup failed.", counts=False)
    for _ in range(3):
        assert end(world, uuid, cleanup) == "error: Cleanup failed. Retrying in 0 s."
    assert world.notification(uuid).failed_attempts == 0


@pytest.mark.parametrize("status", [Status.FINISHED, Status.IGNORED, Status.FAILED])
def test_what_is_no_error_ends_as_it_is(world: World, uuid: str, status: Status) -> None:
    assert end(world, uuid, Outcome(status, "Done.")) == f"{status}: Done."
    assert claims.claim(world.db, "a", 60, DAY_S) is None
