# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who works on which notification."""

import concurrent.futures
import datetime
import sqlite3
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from hacore.db import claims, leases
from hacore.db.engine import Database
from hacore.db.models import HistoryEntry, Notification, Service
from hacore.errors import LeaseLost
from hacore.states import NotificationStatus as Status
from tests import factories

LEASE_S = 60
DAY_S = 86400


def claim(db: Database, owner: str = "a", lease_s: float = LEASE_S) -> claims.Claim | None:
    return claims.claim(db, owner, lease_s, DAY_S)


def read(db: Database, known: str) -> Notification:
    with db.read() as session:
        return session.scalars(sa.select(Notification).where(Notification.uuid == known)).one()


def test_nothing_is_due_in_an_empty_database(db: Database) -> None:
    assert claim(db) is None


def test_a_new_notification_is_claimed_once(db: Database) -> None:
    host = factories.host(db)
    notification = factories.notification(db, host, request_id="req-1")
    claimed = claim(db)
    assert claimed is not None
    assert (claimed.uuid, claimed.number, claimed.owner) == (notification.uuid, 1, "a")
    assert (claimed.host_name, claimed.request_id) == ("compute1", "req-1")
    assert read(db, notification.uuid).status == Status.RUNNING
    assert claim(db, "b") is None


def test_a_lease_that_ended_is_taken_over_and_the_old_owner_is_fenced(db: Database) -> None:
    factories.notification(db, factories.host(db))
    old = claim(db, "a", lease_s=-1)
    new = claim(db, "b")
    assert old is not None
    assert new is not None
    assert (new.uuid, new.number) == (old.uuid, 2)
    with pytest.raises(LeaseLost):
        claims.finish(db, old, Status.FINISHED, "late")
    with pytest.raises(LeaseLost):
        claims.release(db, old, "late")
    claims.finish(db, new, Status.FINISHED, "done")
    assert read(db, new.uuid).status == Status.FINISHED
    assert read(db, new.uuid).message == "done"


def test_the_age_of_the_oldest_due(db: Database) -> None:
    """From the moment when it fell due: accepted, to be tried again, or left by its engine."""
    assert claims.oldest_due_s(db) == 0
    with db.read() as session:
        hour_ago = db.now(session) - datetime.timedelta(hours=1)
    factories.notification(db, factories.host(db), created_at=hour_ago)
    factories.notification(db, factories.host(db, "compute2"))
    assert claims.oldest_due_s(db) == pytest.approx(3600, abs=60)
    claimed = claim(db, lease_s=-600)
    assert claims.oldest_due_s(db) == pytest.approx(600, abs=60)
    again = claim(db)
    assert claimed is not None
    assert again is not None
    assert again.uuid == claimed.uuid
    claims.finish(db, again, Status.ERROR, "x", failed=True, retry_after_s=-1200)
    assert claims.oldest_due_s(db) == pytest.approx(1200, abs=60)


def test_a_claim_of_the_same_owner_is_fenced_by_its_own_later_one(db: Database) -> None:
    factories.notification(db, factories.host(db))
    old, new = claim(db, "a", lease_s=-1), claim(db, "a")
    assert old is not None
    assert new is not None
    with pytest.raises(LeaseLost):
        claims.finish(db, old, Status.FINISHED, "late")


def test_one_claim_per_subject_and_the_next_when_it_has_ended(db: Database) -> None:
    host = factories.host(db)
    first, second = (factories.notification(db, host) for _ in range(2))
    claimed = claim(db)
    assert claimed is not None
    assert claimed.uuid == first.uuid
    assert claim(db, "b") is None
    claims.finish(db, claimed, Status.FINISHED, "done")
    following = claim(db, "b")
    assert following is not None
    assert following.uuid == second.uuid


def test_a_claim_writes_every_row_that_it_locked(db: Database) -> None:
    """Galera certifies writes, not locks: of two nodes that take two rows, one must lose."""
    host = factories.host(db)
    first, second = (factories.notification(db, host) for _ in range(2))
    factories.notification(db, factories.host(db, "compute2"))
    assert claim(db) is not None
    with db.read() as session:
        locks = session.execute(sa.select(Notification.id, Notification.locks)).all()
    assert {row.id for row in locks if row.locks == 1} == {first.id, second.id}
    assert len(locks) == 3


def test_what_is_written_under_a_claim_writes_the_notification(db: Database) -> None:
    """As above: a takeover at another node, and what the old owner writes here, exclude another."""
    notification = factories.notification(db, factories.host(db))
    claimed = claim(db)
    assert claimed is not None
    before = read(db, notification.uuid).locks
    leases.record(db, Notification, claimed, "step", message="done")
    assert read(db, notification.uuid).locks == before + 1


def test_host_failures_go_first_and_processes_are_not_held_up(db: Database) -> None:
    host = factories.host(db)
    process = factories.notification(
        db, host, type="PROCESS", payload={"event": "STOPPED", "process_name": "nova-compute"}
    )
    failure = factories.notification(db, host)
    claimed = [claim(db), claim(db)]
    assert [c.uuid for c in claimed if c] == [failure.uuid, process.uuid]


def test_an_instance_waits_while_its_host_is_to_be_recovered(db: Database) -> None:
    host = factories.host(db)
    payload = {"instance_uuid": "11111111-2222-3333-4444-555555555555"}
    vm = factories.notification(db, host, type="VM", payload=payload)
    failure = factories.notification(db, host)
    claimed = claim(db)
    assert claimed is not None
    assert claimed.uuid == failure.uuid
    assert claim(db) is None
    claims.finish(db, claimed, Status.ERROR, "x", failed=True, retry_after_s=100)
    assert claim(db) is None, "the host recovery waits for its retry"
    with db.write() as session:
        session.execute(sa.update(Notification).values(retry_at=db.now(session)))
    again = claim(db)
    assert again is not None
    claims.finish(db, again, Status.FINISHED, "done")
    after = claim(db)
    assert after is not None
    assert after.uuid == vm.uuid


def test_instances_of_one_host_side_by_side(db: Database) -> None:
    host = factories.host(db)
    for number in range(3):
        factories.notification(db, host, type="VM", payload={"instance_uuid": f"i{number}"})
    assert len({c.uuid for c in (claim(db), claim(db), claim(db)) if c}) == 3


def test_an_error_is_due_when_its_time_has_come_and_a_failure_is_not(db: Database) -> None:
    notification = factories.notification(db, factories.host(db))
    for number, ending in ((1, Status.ERROR), (2, Status.FAILED)):
        claimed = claim(db)
        assert claimed is not None
        assert (claimed.number, claimed.failed_attempts) == (number, number - 1)
        retry_after_s = 0 if ending == Status.ERROR else None
        claims.finish(db, claimed, ending, "no", failed=True, retry_after_s=retry_after_s)
    assert claim(db) is None
    row = read(db, notification.uuid)
    assert (row.status, row.message, row.failed_attempts) == (Status.FAILED, "no", 2)


def test_an_error_is_not_due_before_its_time(db: Database) -> None:
    factories.notification(db, factories.host(db))
    claimed = claim(db)
    assert claimed is not None
    claims.finish(db, claimed, Status.ERROR, "no", failed=True, retry_after_s=1000)
    assert claim(db) is None


def test_renewing_keeps_what_is_worked_on_and_nothing_else(db: Database) -> None:
    for name in ("compute1", "compute2"):
        factories.notification(db, factories.host(db, name))
    worked_on, left = claim(db, "a"), claim(db, "a")
    assert worked_on is not None
    assert left is not None
    with db.write() as session:
        session.execute(sa.update(Notification).values(lease_until=db.now(session)))
    held = leases.renew(db, Notification, "a", {worked_on.uuid}, LEASE_S)
    assert held == {(worked_on.uuid, worked_on.number)}
    taken = claim(db, "b")
    assert taken is not None
    assert taken.uuid == left.uuid
    assert leases.renew(db, Notification, "a", {worked_on.uuid, left.uuid}, LEASE_S) == held
    assert claim(db, "b") is None


def test_a_released_claim_is_due_at_once(db: Database) -> None:
    factories.notification(db, factories.host(db))
    claimed = claim(db, "a")
    assert claimed is not None
    claims.release(db, claimed, "stopping")
    again = claim(db, "b")
    assert again is not None
    assert again.number == 2


def test_an_old_notification_is_claimed_as_expired(db: Database) -> None:
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    factories.notification(db, factories.host(db), created_at=old)
    claimed = claim(db)
    assert claimed is not None
    assert claimed.expired


def test_every_transition_is_one_line_of_history(db: Database) -> None:
    factories.notification(db, factories.host(db))
    claimed = claim(db, "a", lease_s=-1)
    taken = claim(db, "b")
    assert claimed is not None
    assert taken is not None
    claims.finish(db, taken, Status.FINISHED, "done")
    with db.read() as session:
        messages = session.scalars(sa.select(HistoryEntry.message).order_by(HistoryEntry.id)).all()
    assert messages == [
        "Claimed by a (claim 1).",
        "Taken over by b (claim 2).",
        "finished: done",
    ]


def _steps(db: Database, work: Callable[[], object]) -> int:
    """How many instructions of SQLite's machine the work takes, in hundreds."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def set_handler(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 100)

    db.dispose()
    sa.event.listen(db.bind, "connect", set_handler)
    work()
    sa.event.remove(db.bind, "connect", set_handler)
    db.dispose()
    return steps


@pytest.mark.parametrize("waiting", ["new", "error", "blocked"])
def test_a_claim_costs_the_same_however_many_wait(db: Database, waiting: str) -> None:
    """benchmarks/claim_cost.py has milliseconds, of all three databases."""
    if db.bind.dialect.name != "sqlite":
        pytest.skip("counts the instructions of SQLite's machine")
    hosts = [factories.host(db, f"compute{number}") for number in range(2)]
    if waiting == "blocked":
        factories.notification(db, hosts[0])
        assert claim(db) is not None
    with db.read() as session:
        later = db.now(session) + datetime.timedelta(hours=1)
    known: dict[str, object] = {"error": {"status": Status.ERROR, "retry_at": later}}.get(
        waiting, {}
    )

    def wait(count: int) -> None:
        for _ in range(count):
            payload = {"instance_uuid": str(uuid.uuid4())}
            factories.notification(db, hosts[0], type="VM", payload=payload, **known)

    def take() -> None:
        taken = claim(db)
        assert (taken is None) == (waiting != "new")

    wait(20)
    few = _steps(db, take)
    wait(1000)
    many = _steps(db, take)
    # a row that is passed over costs a few instructions; before, each one cost hundreds
    assert many < few + {"new": 5, "error": 120, "blocked": 250}[waiting]


def test_many_engines_claim_each_subject_once(db: Database) -> None:
    hosts = [factories.host(db, f"compute{number}") for number in range(6)]
    for host in hosts:
        for _ in range(3):
            factories.notification(db, host)

    def drain(owner: str) -> list[str]:
        taken = []
        while (claimed := claim(db, owner)) is not None:
            taken.append(claimed.uuid)
        return taken

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        taken = [uuid for part in pool.map(drain, "abcdef") for uuid in part]
    # one per host: the others of a host wait for the first to end
    assert len(taken) == len(set(taken)) == len(hosts)


def test_an_engine_leaves_the_host_that_it_runs_on_to_one_elsewhere(db: Database) -> None:
    factories.notification(db, factories.host(db, "compute1"))

    def claimed() -> claims.Claim | None:
        return claims.claim(db, "compute1:1:a", 60, 86400, own_hosts=["compute1", "compute1.lan"])

    with db.write() as session:
        now = db.now(session)
        until = now + datetime.timedelta(seconds=60)
        for host in ("compute1", "compute2"):
            session.add(
                Service(
                    name=f"{host}:1:a", binary="hacore-engine", host=host, pid=1, version="0.2.0",
                    created_at=now, alive_until=until,
                )
            )  # fmt: skip
    assert claimed() is None
    with db.write() as session:
        elsewhere = sa.update(Service).where(Service.host == "compute2")
        session.execute(elsewhere.values(alive_until=now - datetime.timedelta(seconds=1)))
    assert claimed() is not None
