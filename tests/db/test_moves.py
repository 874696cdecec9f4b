# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Moves are written under the claim, and keep what they must not forget."""

import pytest

from hacore.db import claims, leases, moves, recoveries, reserved
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.errors import LeaseLost
from hacore.states import MoveStatus
from tests import factories


def claimed(db: Database, owner: str = "a", lease_s: float = 60) -> Claim:
    claim = claims.claim(db, owner, lease_s, 1e9)
    assert claim is not None
    return claim


def plan(uuid: str, vm_state: str = "active") -> moves.Plan:
    return moves.Plan(uuid, f"vm-{uuid}", vm_state, 1, 0)


@pytest.fixture
def claim(db: Database) -> Claim:
    """A claim on a host failure."""
    factories.notification(db, factories.host(db))
    return claimed(db, lease_s=-1)


def test_preparing_again_adds_only_what_is_new_and_overwrites_nothing(
    db: Database, claim: Claim
) -> None:
    moves.prepare(db, claim, [plan("1"), plan("2", "stopped")])
    again = moves.prepare(db, claim, [plan("3"), plan("2", "error")])
    assert [(m.instance_uuid, m.vm_state, m.position) for m in again] == [
        ("1", "active", 0),
        ("2", "stopped", 1),
        ("3", "active", 2),
    ]


def test_every_write_is_refused_once_the_claim_is_taken_over(db: Database, claim: Claim) -> None:
    (move,) = moves.prepare(db, claim, [plan("1")])
    claimed(db, "b")
    writes = [
        lambda: moves.prepare(db, claim, [plan("2")]),
        lambda: moves.begin(db, claim, move),
        lambda: moves.end(db, claim, move, MoveStatus.SUCCEEDED, step="x", dest_host="y"),
        lambda: moves.unlocked(db, claim, move),
        lambda: leases.record(db, Notification, claim, "x", message="y"),
        lambda: recoveries.begin_maintenance(db, claim),
        lambda: recoveries.end_maintenance(db, claim),
        lambda: recoveries.keep_maintenance(db, claim),
        lambda: recoveries.about_to_disable(db, claim, "It failed."),
        lambda: reserved.take(db, claim, ()),
        lambda: reserved.give_back(db, claim, "compute2"),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    (row,) = moves.all_of(db, claim.uuid)
    assert (row.status, row.locked) == (MoveStatus.PENDING, False)


def test_the_verdict_is_written_with_its_times(db: Database, claim: Claim) -> None:
    (move,) = moves.prepare(db, claim, [plan("1")])
    move.locked, move.migration_before = True, 7
    moves.begin(db, claim, move)
    (row,) = moves.all_of(db, claim.uuid)
    assert (row.status, row.locked, row.migration_before) == (MoveStatus.ONGOING, True, 7)
    assert row.start_time is not None
    assert row.end_time is None
    moves.end(db, claim, move, MoveStatus.SUCCEEDED, step="x", dest_host="compute2")
    moves.unlocked(db, claim, move)
    (row,) = moves.all_of(db, claim.uuid)
    assert (row.status, row.dest_host, row.locked) == (MoveStatus.SUCCEEDED, "compute2", False)
    assert row.end_time is not None
    assert row.end_time >= row.start_time
