# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What has happened since a notification came in, on every database."""

import time
from typing import Any

import pytest

from hacore.db import claims, leases, moves, since
from hacore.db.engine import Database
from hacore.db.models import Host, Notification
from hacore.states import MoveStatus, NotificationType, StepState
from hacore.states import NotificationStatus as Status
from tests import factories

INSTANCE = "b9837317-a5b8-44f4-93b4-45500c562bb8"
VM = {
    "type": NotificationType.VM,
    "payload": {
        "event": "LIFECYCLE",
        "vir_domain_event": "STOPPED_FAILED",
        "instance_uuid": INSTANCE,
    },
}


def accepted(db: Database, host: Host, **values: Any) -> str:
    time.sleep(0.005)  # SQLite's clock has milliseconds, and what comes later must be later
    return str(factories.notification(db, host, **values).uuid)


def claimed(db: Database, uuid: str) -> claims.Claim:
    time.sleep(0.005)
    while True:
        taken = claims.claim(db, "a", 60, 86400)
        assert taken is not None
        if taken.uuid == uuid:
            return taken
        claims.finish(db, taken, Status.FINISHED, "Out of the way.")


def restart(db: Database, claim: claims.Claim, *, done: bool = True) -> None:
    time.sleep(0.005)
    leases.record(db, Notification, claim, "StartInstanceTask", state=StepState.RUNNING)
    end = StepState.SUCCESS if done else StepState.FAILURE
    leases.record(db, Notification, claim, "StartInstanceTask", state=end)
    time.sleep(0.005)


def retried(db: Database, claim: claims.Claim) -> claims.Claim:
    claims.finish(db, claim, Status.ERROR, "It failed.", failed=True, retry_after_s=0)
    return claimed(db, claim.uuid)


def test_a_start_for_another_notification_that_began_later(db: Database) -> None:
    host = factories.host(db)
    old, new = accepted(db, host, **VM), accepted(db, host, **VM)
    first = claimed(db, old)
    # the older one waits while the newer one is recovered
    claims.finish(db, first, Status.ERROR, "It failed.", failed=True, retry_after_s=120)
    second = claimed(db, new)
    assert since.restarted_by(db, INSTANCE, first) is None
    restart(db, second)
    assert since.restarted_by(db, INSTANCE, first) == new
    assert since.restarted_by(db, "11111111-2222-3333-4444-555555555555", first) is None


def test_a_start_that_failed_or_was_before(db: Database) -> None:
    host = factories.host(db)
    first = claimed(db, accepted(db, host, **VM))
    restart(db, first)
    claims.finish(db, first, Status.FINISHED, "Restarted.")
    second = claimed(db, accepted(db, host, **VM))
    assert since.restarted_by(db, INSTANCE, second) is None
    restart(db, second, done=False)
    assert since.restarted_by(db, INSTANCE, retried(db, second)) is None


def test_a_start_of_an_earlier_attempt(db: Database) -> None:
    claim = claimed(db, accepted(db, factories.host(db), **VM))
    restart(db, claim)
    assert since.restarted_by(db, INSTANCE, retried(db, claim)) == claim.uuid


def test_what_ran_under_an_earlier_claim(db: Database) -> None:
    claim = claimed(db, accepted(db, factories.host(db), **VM))
    leases.record(db, Notification, claim, "StopInstanceTask", state=StepState.RUNNING)
    leases.record(db, Notification, claim, "StopInstanceTask", message="Stopping it.")
    assert not since.ran(db, claim)
    later = retried(db, claim)
    assert since.ran(db, later)
    assert since.noted(db, later, "Stopping it.")
    assert not since.noted(db, later, "Starting it.")


@pytest.mark.parametrize(
    ("status", "when", "counts"),
    [
        (MoveStatus.SUCCEEDED, "after", True),
        (MoveStatus.SUCCEEDED, "before", False),
        (MoveStatus.FAILED, "after", False),
        (None, "after", True),
    ],
)
def test_a_move_of_the_reported_host(
    db: Database, status: MoveStatus | None, when: str, counts: bool
) -> None:
    host, other = factories.host(db), factories.host(db, "compute2")
    recovery = claimed(db, accepted(db, host))
    plan = moves.Plan(INSTANCE, "vm1", "active", 1, 0)
    if when == "before":
        moves.end(
            db, recovery, moves.prepare(db, recovery, [plan])[0], MoveStatus.SUCCEEDED, step=None
        )
    alarm, elsewhere = accepted(db, host, **VM), accepted(db, other, **VM)
    if when == "after":
        (move,) = moves.prepare(db, recovery, [plan])
        if status is not None:
            moves.end(db, recovery, move, status, step=None)
    claims.finish(db, recovery, Status.FINISHED, "It is done.")
    claim = claimed(db, alarm)
    assert since.moved_by(db, INSTANCE, claim) == (recovery.uuid if counts else None)
    claims.finish(db, claim, Status.IGNORED, "It is looked at.")
    # the alarm of another host is no business of that recovery
    assert since.moved_by(db, INSTANCE, claimed(db, elsewhere)) is None


def test_a_later_start_of_the_host_or_the_process(db: Database) -> None:
    host = factories.host(db)
    stopped = {"event": "STOPPED", "process_name": "nova-compute"}
    started = {"event": "STARTED", "process_name": "nova-compute"}
    kind = NotificationType.PROCESS
    accepted(db, host, type=kind, payload=started)
    process = accepted(db, host, type=kind, payload=stopped)
    accepted(db, host, type=kind, payload={**started, "process_name": "libvirtd"})
    accepted(db, host, payload={"event": "STARTED", "host_status": "NORMAL"})
    claim = claimed(db, process)
    assert since.started_by(db, claim) is None
    later = accepted(db, host, type=kind, payload=started)
    assert since.started_by(db, claim) == later


def test_the_age_of_a_notification(db: Database) -> None:
    claim = claimed(db, accepted(db, factories.host(db), **VM))
    assert 0 < since.age_s(db, claim) < 60
