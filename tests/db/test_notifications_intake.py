# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Intake: who is refused, and that of two equal notifications one is accepted."""

import datetime
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.db import hosts, notifications, segments
from hacore.db.engine import Database
from hacore.db.models import Host, Notification
from hacore.errors import Conflict, Duplicate, Invalid, OnMaintenance
from hacore.states import ENDED, LIVE, NotificationStatus, NotificationType

WINDOW_S = 180
GENERATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
STOPPED = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
PROCESS = {"event": "STOPPED", "process_name": "nova-compute"}
INSTANCE = "b9837317-a5b8-44f4-93b4-45500c562bb8"


@pytest.fixture
def host(db: Database) -> Host:
    segment = segments.create(
        db, {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
    )
    values = {"name": "h1", "type": "COMPUTE", "control_attributes": "SSH"}
    return hosts.create(db, segment.uuid, values)


def take_in(db: Database, **values: Any) -> Notification:
    report = {
        "type": NotificationType.COMPUTE_HOST,
        "hostname": "h1",
        "generated_time": GENERATED,
        "payload": STOPPED,
        **values,
    }
    return notifications.create(
        db,
        notifications.Report(**report),
        request_id="req-1",
        duplicate_window_s=WINDOW_S,
    )


def change(db: Database, uuid: str, **values: Any) -> None:
    with db.write() as session:
        session.execute(sa.update(Notification).where(Notification.uuid == uuid).values(**values))


def vm(instance_uuid: str = INSTANCE) -> dict[str, Any]:
    payload = {
        "event": "LIFECYCLE",
        "instance_uuid": instance_uuid,
        "vir_domain_event": "STOPPED_FAILED",
    }
    return {"type": NotificationType.VM, "payload": payload}


def test_what_is_stored(db: Database, host: Host) -> None:
    made = take_in(db)

    found = notifications.get(db, made.uuid)

    assert found.status == NotificationStatus.NEW
    assert found.generated_time == GENERATED
    assert found.payload == STOPPED
    assert (found.source_host_uuid, found.segment_uuid) == (host.uuid, host.segment_uuid)
    assert (found.request_id, found.claim_number, found.owner) == ("req-1", 0, None)
    assert abs((found.created_at - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("values", "subject"),
    [
        ({}, "host:{host}"),
        ({"type": NotificationType.PROCESS, "payload": PROCESS}, "process:{host}"),
        (vm(), f"instance:{INSTANCE}"),
        (vm(INSTANCE.upper()), f"instance:{INSTANCE}"),
        (vm(INSTANCE.replace("-", "")), f"instance:{INSTANCE}"),
    ],
)
def test_the_subject(db: Database, host: Host, values: dict[str, Any], subject: str) -> None:
    assert take_in(db, **values).subject == subject.format(host=host.uuid)


def test_an_unknown_host_is_refused(db: Database, host: Host) -> None:
    with pytest.raises(Invalid, match="hostname"):
        take_in(db, hostname="h2")
    with pytest.raises(Invalid, match="hostname"):
        take_in(db, hostname="H1")
    hosts.delete(db, host.segment_uuid, host.uuid)
    with pytest.raises(Invalid, match="hostname"):
        take_in(db)


def test_a_disabled_segment_accepts(db: Database, host: Host) -> None:
    segments.update(db, host.segment_uuid, {"enabled": False})

    assert take_in(db).status == NotificationStatus.NEW


@pytest.mark.parametrize("status", list(NotificationStatus))
def test_only_what_has_not_ended_has_duplicates(
    db: Database, host: Host, status: NotificationStatus
) -> None:
    first = take_in(db)
    change(db, first.uuid, status=status)

    if status in LIVE:
        with pytest.raises(Duplicate, match=first.uuid):
            take_in(db)
    else:
        assert status in ENDED
        take_in(db)


def test_the_window_is_by_the_clock_of_the_database(db: Database, host: Host) -> None:
    first = take_in(db)
    years = datetime.timedelta(days=3650)
    for generated in (GENERATED, GENERATED - years, GENERATED + years):
        with pytest.raises(Duplicate):
            take_in(db, generated_time=generated)

    with db.read() as session:
        now = db.now(session)
    change(db, first.uuid, created_at=now - datetime.timedelta(seconds=WINDOW_S - 10))
    with pytest.raises(Duplicate):
        take_in(db)
    change(db, first.uuid, created_at=now - datetime.timedelta(seconds=WINDOW_S + 1))
    take_in(db)


def test_what_differs_is_no_duplicate(db: Database, host: Host) -> None:
    hosts.create(
        db, host.segment_uuid, {"name": "h2", "type": "COMPUTE", "control_attributes": "SSH"}
    )
    take_in(db, payload={**STOPPED, "event": "STARTED"})
    take_in(db)
    take_in(db, hostname="h2")
    take_in(db, payload={"event": "STOPPED"})
    take_in(db, type=NotificationType.PROCESS, payload=PROCESS)
    take_in(db, **vm())
    take_in(db, **vm(INSTANCE.upper()))
    take_in(db, **vm(), hostname="h2")

    with pytest.raises(Duplicate):  # the order of keys says nothing
        take_in(db, payload=dict(reversed(STOPPED.items())))


@pytest.mark.parametrize(
    ("setter", "comes", "accepted"),
    [
        (NotificationType.PROCESS, NotificationType.COMPUTE_HOST, True),
        (NotificationType.PROCESS, NotificationType.PROCESS, False),
        (NotificationType.PROCESS, NotificationType.VM, False),
        (NotificationType.COMPUTE_HOST, NotificationType.COMPUTE_HOST, False),
        (None, NotificationType.COMPUTE_HOST, False),
    ],
)
def test_maintenance(
    db: Database,
    host: Host,
    setter: NotificationType | None,
    comes: NotificationType,
    accepted: bool,
) -> None:
    payloads = {
        NotificationType.PROCESS: PROCESS,
        NotificationType.COMPUTE_HOST: STOPPED,
        NotificationType.VM: vm()["payload"],
    }
    by = None
    if setter is not None:
        by = take_in(db, type=setter, payload=payloads[setter]).uuid
        change(db, by, status=NotificationStatus.FINISHED)
    with db.write() as session:
        session.execute(sa.update(Host).values(on_maintenance=True, maintenance_by=by))

    if accepted:
        take_in(db, type=comes, payload=payloads[comes])
    else:
        with pytest.raises(OnMaintenance, match="h1"):
            take_in(db, type=comes, payload=payloads[comes])


def locks(db: Database) -> int:
    with db.read() as session:
        return session.scalars(sa.select(Host.locks).where(Host.name == "h1")).one()


def test_what_decides_under_the_lock_of_a_host_writes_the_host(db: Database, host: Host) -> None:
    """Galera certifies writes, not locks: of two nodes that decide at once, one must lose."""
    assert locks(db) == 0
    segments.update(db, host.segment_uuid, {"enabled": False})
    assert locks(db) == 1
    take_in(db)
    assert locks(db) == 2
    with pytest.raises(Duplicate):
        take_in(db)
    assert locks(db) == 2, "what is refused changes nothing"


@pytest.fixture
def second(conf: cfg.ConfigOpts, db: Database) -> Iterator[Database]:
    """The same database, as another process has it: with connections of its own."""
    other = Database(conf.database)
    yield other
    other.dispose()


def test_of_equal_ones_at_the_same_instant_one_is_accepted(
    db: Database, second: Database, host: Host
) -> None:
    threads, rounds = 8, 10
    barrier = threading.Barrier(threads)

    def post(number: int, round_: int) -> str | None:
        barrier.wait()
        try:
            payload = {"event": "STOPPED", "process_name": f"p{round_}"}
            made = take_in((db, second)[number % 2], type=NotificationType.PROCESS, payload=payload)
        except Duplicate:
            return None
        return made.uuid

    with ThreadPoolExecutor(threads) as pool:
        for round_ in range(rounds):
            answers = list(pool.map(post, range(threads), [round_] * threads))
            assert sum(answer is not None for answer in answers) == 1

    with db.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Notification)) == rounds


def test_intake_and_deletion_of_the_host_exclude_each_other(
    db: Database, second: Database, host: Host
) -> None:
    barrier = threading.Barrier(2)

    def report(name: str) -> bool:
        barrier.wait()
        try:
            take_in(db, hostname=name)
        except Invalid:
            return False
        return True

    def remove(segment_uuid: str) -> bool:
        barrier.wait()
        try:
            segments.delete(second, segment_uuid)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        for number in range(10):
            segment = segments.create(
                db, {"name": f"s{number}", "recovery_method": "auto", "service_type": "X"}
            )
            values = {"name": f"x{number}", "type": "X", "control_attributes": "y"}
            hosts.create(db, segment.uuid, values)
            reported = pool.submit(report, f"x{number}")
            removed = pool.submit(remove, segment.uuid)
            assert reported.result() != removed.result()


@pytest.mark.parametrize(
    ("kind", "payload", "counts"),
    [
        (NotificationType.COMPUTE_HOST, STOPPED, {**STOPPED, "event": "STARTED"}),
        (NotificationType.PROCESS, PROCESS, {**PROCESS, "event": "STARTED"}),
    ],
)
def test_what_has_started_in_between_stops_a_second_time(
    db: Database,
    host: Host,
    kind: NotificationType,
    payload: dict[str, Any],
    counts: dict[str, Any],
) -> None:
    take_in(db, type=kind, payload=payload)
    if kind is NotificationType.PROCESS:
        take_in(db, type=kind, payload={**counts, "process_name": "libvirtd"})
    with pytest.raises(Duplicate):
        take_in(db, type=kind, payload=payload)
    time.sleep(0.005)  # SQLite's clock has milliseconds
    take_in(db, type=kind, payload=counts)
    time.sleep(0.005)
    take_in(db, type=kind, payload=payload)
    with pytest.raises(Duplicate):  # and of this one it is one again
        take_in(db, type=kind, payload=payload)
