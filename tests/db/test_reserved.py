# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reserved hosts in the database: who has them, and what was done to them."""

import concurrent.futures

import pytest
import sqlalchemy as sa

from hacore.db import claims, hosts, moves, recoveries, reserved
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.db.models import Host, Move
from hacore.db.reserved import Taken, Use
from hacore.errors import LeaseLost
from hacore.states import MoveStatus, NotificationStatus
from tests import factories


def claimed(db: Database, owner: str = "a", lease_s: float = 60) -> Claim:
    taken = claims.claim(db, owner, lease_s, expire_s=86400)
    assert taken is not None
    return taken


@pytest.fixture
def claim(db: Database) -> Claim:
    """A recovery of compute1; compute2 is reserved."""
    host = factories.host(db)
    factories.host(db, "compute2", segment_uuid=host.segment_uuid, reserved=True)
    factories.notification(db, host)
    return claimed(db)


def row(db: Database, name: str = "compute2") -> Host:
    with db.read() as session:
        return session.scalars(sa.select(Host).where(Host.name == name)).one()


def move(db: Database, claim: Claim, status: MoveStatus, dest_host: str | None = None) -> None:
    (made,) = moves.prepare(db, claim, [moves.Plan("i-1", "vm", "active", 1, 0)])
    with db.write() as session:
        session.execute(
            sa.update(Move).where(Move.id == made.id).values(status=status, dest_host=dest_host)
        )


def test_what_is_done_to_one_is_on_its_row(db: Database, claim: Claim) -> None:
    assert reserved.take(db, claim, []) == "compute2"
    (before,) = reserved.taken(db, claim)
    assert before == Taken("compute2", Use.UNUSED, None, frozenset())
    assert not before.touched
    for aggregate in (7, 3, 7):
        reserved.about_to_join(db, claim, "compute2", aggregate)
    reserved.about_to_enable(db, claim, "compute2", "spare")
    reserved.about_to_enable(db, claim, "compute2", "the reason of a later claim")
    (after,) = reserved.taken(db, claim)
    assert after == Taken("compute2", Use.UNUSED, "spare", frozenset({3, 7}))
    reserved.undone(db, claim, "compute2")
    assert reserved.taken(db, claim) == [before]


def test_one_without_a_reason_was_disabled_too(db: Database, claim: Claim) -> None:
    reserved.take(db, claim, [])
    reserved.about_to_enable(db, claim, "compute2", None)
    (host,) = reserved.taken(db, claim)
    assert (host.enabled_from, host.touched) == ("", True)


def test_it_stays_on_the_row_where_it_could_not_be_undone(db: Database, claim: Claim) -> None:
    reserved.take(db, claim, [])
    reserved.about_to_enable(db, claim, "compute2", "spare")
    assert reserved.give_back(db, claim, "compute2")
    host = row(db)
    assert (host.reserved, host.taken_by, host.enabled_from) == (True, None, "spare")


@pytest.mark.parametrize(
    ("status", "dest_host", "use"),
    [
        (MoveStatus.PENDING, None, Use.UNUSED),
        (MoveStatus.ONGOING, None, Use.UNDECIDED),
        (MoveStatus.SUCCEEDED, "compute3", Use.UNUSED),
        (MoveStatus.SUCCEEDED, "compute2", Use.USED),
        (MoveStatus.FAILED, "compute2", Use.USED),
    ],
)
def test_one_with_instances_is_in_service(
    db: Database, claim: Claim, status: MoveStatus, dest_host: str | None, use: Use
) -> None:
    reserved.take(db, claim, [])
    reserved.about_to_join(db, claim, "compute2", 3)
    move(db, claim, status, dest_host)
    assert reserved.taken(db, claim)[0].use is use
    assert reserved.give_back(db, claim, "compute2") is (use is Use.UNUSED)
    host = row(db)
    assert host.reserved is (use is Use.UNUSED)
    assert host.taken_by == (claim.uuid if use is Use.UNDECIDED else None)
    assert host.joined_aggregates == (None if use is Use.USED else [3])


def test_an_operator_who_reserves_it_again_takes_it_over(db: Database, claim: Claim) -> None:
    reserved.take(db, claim, [])
    reserved.about_to_enable(db, claim, "compute2", "spare")
    reserved.about_to_join(db, claim, "compute2", 3)
    claims.finish(db, claim, NotificationStatus.FINISHED, "done")
    host = row(db)
    hosts.update(db, host.segment_uuid, host.uuid, {"reserved": True})
    host = row(db)
    assert host.reserved
    assert (host.taken_by, host.enabled_from, host.joined_aggregates) == (None, None, None)


def test_an_engine_that_lost_its_claim_writes_nothing(db: Database, claim: Claim) -> None:
    reserved.take(db, claim, [])
    claims.release(db, claim, "the engine stops")
    later = claimed(db, "b")
    for write in (
        lambda: reserved.about_to_enable(db, claim, "compute2", "spare"),
        lambda: reserved.about_to_join(db, claim, "compute2", 3),
        lambda: reserved.undone(db, claim, "compute2"),
        lambda: reserved.give_back(db, claim, "compute2"),
        lambda: recoveries.about_to_disable(db, claim, "It failed."),
        lambda: recoveries.enabled_again(db, claim),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert reserved.taken(db, later) == [Taken("compute2", Use.UNUSED, None, frozenset())]
    assert row(db, "compute1").disabled_by is None


def test_what_hacore_disabled_is_on_the_row_of_the_host(db: Database, claim: Claim) -> None:
    recoveries.about_to_disable(db, claim, "It failed.")
    host = row(db, "compute1")
    assert (host.disabled_by, host.disabled_reason) == (claim.uuid, "It failed.")
    assert host.disabled_at is not None
    assert recoveries.disabled_service(db, claim)
    assert recoveries.changed_host(db, claim)
    recoveries.enabled_again(db, claim)
    host = row(db, "compute1")
    assert (host.disabled_by, host.disabled_at, host.disabled_reason) == (None, None, None)
    assert not recoveries.changed_host(db, claim)


def test_a_hand_over_is_known_from_a_new_attempt(db: Database, claim: Claim) -> None:
    assert not recoveries.was_handed_over(db, claim)
    claims.release(db, claim, "the engine stops")
    second = claimed(db, "b")
    assert recoveries.was_handed_over(db, second)
    claims.finish(db, second, NotificationStatus.ERROR, "It failed.", failed=True, retry_after_s=0)
    assert not recoveries.was_handed_over(db, claimed(db, "c"))


def test_many_recoveries_share_none(db: Database) -> None:
    segment = factories.segment(db)
    for number in range(6):
        host = factories.host(db, f"dead{number}", segment_uuid=segment.uuid)
        factories.notification(db, host)
    for number in range(4):
        factories.host(db, f"spare{number}", segment_uuid=segment.uuid, reserved=True)
    dead = [claimed(db) for _ in range(6)]

    def take_and_mark(claim: Claim) -> str | None:
        name = reserved.take(db, claim, [])
        if name is not None:
            reserved.about_to_enable(db, claim, name, claim.host_name)
            reserved.about_to_join(db, claim, name, 3)
        return name

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        names = [name for name in pool.map(take_and_mark, dead) if name is not None]
    assert sorted(names) == [f"spare{number}" for number in range(4)]
    for claim in dead:
        for host in reserved.taken(db, claim):
            assert host.enabled_from == claim.host_name
