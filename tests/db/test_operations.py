# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Operations: who works on them, and which recovery of their host goes first."""

import concurrent.futures
import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from hacore.db import (
    claims,
    hosts,
    interventions,
    leases,
    notifications,
    operation_claims,
    operations,
    purge,
    recoveries,
    returns,
    services,
)
from hacore.db.engine import Database
from hacore.db.models import Host, Notification, Operation, OperationEntry
from hacore.errors import Conflict, InUse, LeaseLost, OnMaintenance
from hacore.states import (
    NotificationStatus,
    NotificationType,
    OperationStatus,
    OperationType,
)
from tests import factories
from tests.db import services_of

LEASE_S = 60
STOPPED = {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}


def begun(db: Database, host: Host) -> str:
    row = operations.create(db, host.uuid, OperationType.RETURN, "alice", None, {})
    return str(row.uuid)


def taken(db: Database, owner: str = "a", lease_s: float = LEASE_S) -> Any:
    claim = operation_claims.claim(db, owner, lease_s)
    assert claim is not None
    return claim


def recovery(db: Database, owner: str = "r") -> claims.Claim:
    claim = claims.claim(db, owner, LEASE_S, 86400)
    assert claim is not None
    return claim


def read(db: Database, uuid: str) -> Operation:
    return operations.read(db, uuid).operation


def locks(db: Database, host: Host) -> int:
    with db.read() as session:
        return session.scalars(sa.select(Host.locks).where(Host.uuid == host.uuid)).one()


def test_it_is_claimed_once_and_taken_over_with_a_new_number(db: Database) -> None:
    uuid = begun(db, factories.host(db))
    old = taken(db, lease_s=-1)
    assert (old.uuid, old.number, old.host_name, old.by) == (uuid, 1, "compute1", "alice")
    new = taken(db, "b")
    assert (new.uuid, new.number) == (uuid, 2)
    assert operation_claims.claim(db, "c", LEASE_S) is None
    for write in (
        lambda: operation_claims.finish(db, old, OperationStatus.FINISHED, "late"),
        lambda: operation_claims.wait(db, old, "late", 1),
        lambda: operation_claims.release(db, old, "late"),
        lambda: returns.about_to(db, old, returns.ENABLED),
        lambda: leases.record(db, Operation, old, "Step"),
    ):
        with pytest.raises(LeaseLost, match=f"Claim 1 of operation {uuid} was taken over"):
            write()
    operation_claims.finish(db, new, OperationStatus.FINISHED, "done")
    assert (read(db, uuid).status, read(db, uuid).message) == ("finished", "done")


def test_each_claim_writes_its_host(db: Database) -> None:
    """Galera certifies writes, not locks: of two nodes one must lose."""
    host = factories.host(db)
    begun(db, host)
    before = locks(db, host)
    taken(db)
    assert locks(db, host) == before + 1
    factories.notification(db, host)
    recovery(db)
    assert locks(db, host) == before + 2


def test_one_that_waits_has_no_claim_and_is_due_later(db: Database) -> None:
    uuid = begun(db, factories.host(db))
    operation_claims.wait(db, taken(db), "not heard", 3600)
    assert (read(db, uuid).status, read(db, uuid).lease_until) == ("waiting", None)
    assert operation_claims.claim(db, "b", LEASE_S) is None
    with db.write() as session:
        session.execute(sa.update(Operation).values(retry_at=db.now(session)))
    assert taken(db, "b").number == 2


def test_leases_are_renewed_for_those_that_are_held(db: Database) -> None:
    begun(db, factories.host(db))
    claim = taken(db)
    mine = leases.renew(db, Operation, "a", {claim.uuid}, LEASE_S)
    assert mine == {(claim.uuid, claim.number)}
    assert leases.renew(db, Operation, "b", {claim.uuid}, LEASE_S) == frozenset()


def test_a_recovery_takes_the_claim_away_in_its_own_claim(db: Database) -> None:
    host = factories.host(db)
    uuid = begun(db, host)
    claim = taken(db)
    row = factories.notification(db, host)
    assert recovery(db).uuid == row.uuid
    paused = read(db, uuid)
    assert (paused.status, paused.claim_number) == ("paused", claim.number + 1)
    assert paused.message == (
        f"A failure of compute1 was reported (notification {row.uuid}); its recovery goes first."
    )
    with pytest.raises(LeaseLost):
        operation_claims.finish(db, claim, OperationStatus.FINISHED, "late")
    assert operation_claims.claim(db, "b", LEASE_S) is None


def test_none_is_claimed_while_a_recovery_of_the_host_is_to_come(db: Database) -> None:
    host = factories.host(db)
    uuid = begun(db, host)
    factories.notification(db, host)
    assert operation_claims.claim(db, "a", LEASE_S) is None
    assert read(db, uuid).status == "new"


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        (NotificationType.COMPUTE_HOST, {"event": "STARTED"}),
        (NotificationType.PROCESS, {"event": "STOPPED", "process_name": "sshd"}),
        (NotificationType.VM, {"event": "LIFECYCLE", "instance_uuid": "i"}),
    ],
)
def test_other_reports_pause_nothing(
    db: Database, type_: NotificationType, payload: dict[str, str]
) -> None:
    host = factories.host(db)
    uuid = begun(db, host)
    taken(db)
    factories.notification(db, host, type=type_, payload=payload)
    claims.finish(db, recovery(db), NotificationStatus.FINISHED, "nothing")
    assert read(db, uuid).status == "running"


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (NotificationStatus.IGNORED, "waiting"),
        (NotificationStatus.FINISHED, "failed"),
        (NotificationStatus.FAILED, "failed"),
        (NotificationStatus.ERROR, "paused"),
    ],
)
def test_how_the_recovery_ends_decides(db: Database, status: NotificationStatus, then: str) -> None:
    host = factories.host(db)
    uuid = begun(db, host)
    factories.notification(db, host)
    claims.finish(db, recovery(db), status, "x", retry_after_s=60)
    assert read(db, uuid).status == then
    if then == "waiting":
        assert taken(db).uuid == uuid


def test_the_first_evacuate_call_ends_it(db: Database) -> None:
    host = factories.host(db)
    uuid = begun(db, host)
    row = factories.notification(db, host)
    recoveries.take_over(db, recovery(db))
    assert read(db, uuid).status == "failed"
    assert f"the recovery took over (notification {row.uuid})" in (read(db, uuid).message or "")


def test_an_abandoned_recovery_ends_it(db: Database) -> None:
    host = factories.host(db)
    uuid = begun(db, host)
    row = factories.notification(db, host)
    claims.release(db, recovery(db), "stop")
    interventions.abandon(db, row.uuid, "alice", "by hand")
    assert read(db, uuid).status == "failed"


def report(db: Database, host: Host) -> Notification:
    now = datetime.datetime.now(datetime.UTC)
    made = notifications.Report(NotificationType.COMPUTE_HOST, host.name, now, STOPPED)
    return notifications.create(db, made, request_id=None, duplicate_window_s=180)


def test_a_host_on_maintenance_is_reported_only_while_it_is_brought_back(db: Database) -> None:
    host = factories.host(db, on_maintenance=True)
    with pytest.raises(OnMaintenance):
        report(db, host)
    begun(db, host)
    assert report(db, host).type == NotificationType.COMPUTE_HOST


def test_of_many_requests_one_is_accepted(db: Database) -> None:
    host = factories.host(db)

    def ask(_number: int) -> bool:
        try:
            begun(db, host)
        except Conflict:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(16))) == 1


def test_a_recovery_and_an_operation_are_never_both_at_work(db: Database) -> None:
    """Engines claim at the same time, as fast as they can."""
    made = [factories.host(db, f"compute{number}") for number in range(12)]
    for host in made:
        begun(db, host)
        factories.notification(db, host)

    def engine(number: int) -> None:
        for _ in range(12):
            if number % 2:
                claims.claim(db, f"r{number}", LEASE_S, 86400)
            else:
                operation_claims.claim(db, f"o{number}", LEASE_S)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(engine, range(6)))
    with db.read() as session:
        working = sa.select(Notification.source_host_uuid).where(Notification.status == "running")
        both = sa.select(sa.func.count(Operation.id)).where(
            Operation.status == "running", Operation.host_uuid.in_(working)
        )
        assert session.scalar(both) == 0
        assert len(session.scalars(working).all()) == 12


def test_its_host_is_in_use(db: Database) -> None:
    host = factories.host(db)
    begun(db, host)
    for change in (
        lambda: hosts.update(db, host.segment_uuid, host.uuid, {"type": "x"}),
        lambda: hosts.delete(db, host.segment_uuid, host.uuid),
        lambda: hosts.refuse_in_use(db, host.segment_uuid, host.uuid),
    ):
        with pytest.raises(InUse, match=r"while operation .* \(return\) of it has not ended"):
            change()
    operation_claims.finish(db, taken(db), OperationStatus.FAILED, "x")
    hosts.delete(db, host.segment_uuid, host.uuid)


@pytest.mark.parametrize("binary", ["hacore-engine", "hacore-api"])
def test_refused_while_an_older_version_lives(db: Database, binary: str) -> None:
    host = factories.host(db)
    services_of.engine(db, "0.1.0", binary=binary)
    with pytest.raises(Conflict, match=f"do not know operations: {binary} 0.1.0 on controller1"):
        begun(db, host)
    services_of.engine(db, "0.1.0", binary=binary, alive_s=-1)
    begun(db, host)


def test_what_is_claimed_is_listed_with_its_engine(db: Database) -> None:
    uuid = begun(db, factories.host(db))
    services_of.engine(db, "0.2.0")
    taken(db, "controller1:1:abc")
    (process,) = services.list_(db)
    assert [(one.uuid, one.type, one.host) for one in process.claims] == [
        (uuid, "return", "compute1")
    ]


def test_old_ones_are_purged_with_their_history_and_their_hosts(db: Database) -> None:
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=40)
    host = factories.host(db, deleted=1, deleted_at=long_ago)
    other = factories.host(db, "compute2")
    with db.write() as session:
        session.execute(sa.update(Host).where(Host.uuid == host.uuid).values(deleted=0))
    begun(db, host)
    operation_claims.finish(db, taken(db), OperationStatus.FAILED, "x")
    kept = begun(db, other)
    with db.write() as session:
        deleted = {"deleted": Host.id, "deleted_at": long_ago}
        session.execute(sa.update(Host).where(Host.uuid == host.uuid).values(deleted))
    assert purge.purge(db, 30)["hosts"] == 0
    with db.write() as session:
        session.execute(sa.update(Operation).values(updated_at=long_ago))
    counted = purge.purge(db, 30, dry_run=True)
    assert (counted["operations"], counted["operation_events"], counted["hosts"]) == (1, 3, 1)
    assert purge.purge(db, 30) == counted
    with db.read() as session:
        assert session.scalars(sa.select(Operation.uuid)).all() == [kept]
        left = session.scalars(sa.select(OperationEntry.operation_uuid)).all()
        assert set(left) == {kept}


def test_what_a_return_ends_with_is_one_transaction(db: Database) -> None:
    host = factories.host(db, reserved=True)
    row = factories.notification(db, host)
    claim = recovery(db)
    recoveries.begin_maintenance(db, claim)
    recoveries.about_to_disable(db, claim, "it died")
    recoveries.keep_maintenance(db, claim)
    claims.finish(db, claim, NotificationStatus.FINISHED, "done")
    begun(db, host)
    operation = taken(db)
    assert returns.disabled(db, operation) == returns.Disabled(row.uuid, "it died")
    returns.about_to(db, operation, returns.FORCED_UP)
    assert returns.did(db, operation) == {returns.FORCED_UP}
    said = returns.end(db, operation, enabled=True)
    assert said == "compute1 is off maintenance and is reserved again."
    now = hosts.get(db, host.segment_uuid, host.uuid)
    assert (now.on_maintenance, now.reserved, now.disabled_by) == (False, True, None)
    assert returns.did(db, operation) == {returns.ENDED}
    assert interventions.leftovers(db, row.uuid) == []
