# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The version that runs goes on while a later one has added to its schema."""

import datetime
import pathlib

import pytest
import sqlalchemy as sa

from hacore.db import hosts, schema, segments
from hacore.db.engine import Database
from hacore.db.models import Host, Notification, Service
from hacore.db.schema import OURS, History
from hacore.errors import ConfigError
from tests import factories, later_version
from tests.later_version import ADDED, ADDED_AFTERWARDS, REMOVED


@pytest.fixture
def later(tmp_path: pathlib.Path) -> History:
    return later_version.history(tmp_path / "migrations")


@pytest.fixture
def without_the_last(later: History) -> History:
    return History(later.folder, later.revisions[:-1])


def other_version_runs(db: Database, *, alive: bool) -> None:
    with db.write() as session:
        now = db.now(session)
        until = {
            "created_at": now,
            "alive_until": now.replace(year=now.year + (1 if alive else -1)),
        }
        session.add(
            Service(name="c1:7", binary="hacore-engine", host="c1", pid=7, version="0.0.1", **until)
        )


def test_a_later_version_adds_and_this_one_works(db: Database, without_the_last: History) -> None:
    segment = factories.segment(db)
    schema.sync(db, without_the_last, contract=False)

    assert schema.version(db) == ADDED
    schema.check(db)
    values = {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}
    host = hosts.create(db, segment.uuid, values)
    assert hosts.get(db, segment.uuid, host.uuid).control_attributes == "SSH"
    assert segments.get(db, segment.uuid).name == segment.name
    schema.sync(db)  # as the units and install scripts of this version may do again
    assert schema.version(db) == ADDED


def test_this_version_says_that_what_it_needs_is_gone(db: Database, later: History) -> None:
    schema.sync(db, later)
    assert schema.version(db) == ADDED_AFTERWARDS
    sentence = f"has schema {ADDED_AFTERWARDS} of a newer version of hacore"
    with pytest.raises(ConfigError, match=sentence):
        schema.check(db)
    with pytest.raises(ConfigError, match=sentence):
        schema.sync(db)


def test_a_later_version_works_before_and_after_removing(
    db: Database, without_the_last: History
) -> None:
    with pytest.raises(ConfigError, match=f"has schema .* needs {ADDED}; run"):
        schema.check(db, without_the_last)
    schema.sync(db, without_the_last, contract=False)
    schema.check(db, without_the_last)
    schema.sync(db, without_the_last)
    assert schema.version(db) == REMOVED
    schema.check(db, without_the_last)


def test_a_version_may_be_between_the_two(db: Database, later: History) -> None:
    """It knows of the first addition, not of what followed, which it can do without."""
    between = History(later.folder, later.revisions[: later.revisions.index(ADDED) + 1])
    schema.sync(db, later)
    schema.check(db, between)


def test_what_was_added_after_something_was_removed_waits_for_that(
    db: Database, later: History
) -> None:
    schema.sync(db, later, contract=False)
    assert schema.version(db) == ADDED
    with pytest.raises(ConfigError, match=f"needs {ADDED_AFTERWARDS}; run 'hacore-manage db sync'"):
        schema.check(db, later)


def test_nothing_is_removed_while_another_version_runs(db: Database, later: History) -> None:
    other_version_runs(db, alive=True)
    with pytest.raises(ConfigError) as told:
        schema.sync(db, later)
    assert str(told.value) == (
        f"Schema {REMOVED} removes what older versions of hacore may need; still running: "
        "hacore-engine 0.0.1 on c1. Upgrade or stop them first; until then run 'hacore-manage db "
        "sync --expand'."
    )
    assert schema.version(db) == ADDED
    with db.write() as session:
        session.execute(sa.delete(Service))
    other_version_runs(db, alive=False)
    schema.sync(db, later)
    assert schema.version(db) == ADDED_AFTERWARDS


def test_revisions_are_named_after_their_number_and_what_they_need() -> None:
    numbers = [revision.partition("_needs_")[0] for revision in OURS.revisions]
    needs = [revision.partition("_needs_")[2] or "0001" for revision in OURS.revisions]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert needs == sorted(needs)
    assert all(need <= number for need, number in zip(needs, numbers, strict=True))


def test_0003_fills_in_what_recoveries_of_before_have_done(empty_db: Database) -> None:
    db = empty_db
    schema.sync(db, History(OURS.folder, OURS.revisions[:2]))
    with db.write() as session:
        _write_rows_of_0002(session.connection())
    schema.sync(db)
    with db.read() as session:
        facts = session.execute(
            sa.select(Host.name, Host.disabled_by, Host.disabled_at, Host.disabled_reason)
            .where(Host.deleted == 0)
            .order_by(Host.id)
        ).all()
        begun = session.execute(sa.select(Notification.uuid, Notification.begun)).all()
    later = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert [tuple(row) for row in facts] == [
        ("died", "n-again", later, None),
        ("lives", None, None, None),
        ("nova-compute-died", "n-process", later, None),
        ("off-maintenance", None, None, None),
        ("sshd-died", None, None, None),
        ("nothing", None, None, None),
    ]
    assert {uuid for uuid, had_begun in begun if not had_begun} == {"n-new"}


def _write_rows_of_0002(connection: sa.Connection) -> None:
    tables = sa.MetaData()
    tables.reflect(connection, only=("segments", "hosts", "notifications"))
    at, later = datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 2)  # noqa: DTZ001
    segment = {"recovery_method": "auto", "service_type": "compute", "enabled": True, "deleted": 0}
    connection.execute(
        tables.tables["segments"].insert(), {"uuid": "s", "name": "s", "created_at": at, **segment}
    )
    names = ("died", "lives", "nova-compute-died", "off-maintenance", "sshd-died", "nothing")
    maintenance_by = {
        "died": "n-again",
        "nova-compute-died": "n-process",
        "sshd-died": "n-sshd",
    }
    deleted = dict.fromkeys(names, 0) | {"deregistered": 7}
    connection.execute(
        tables.tables["hosts"].insert(),
        [
            {
                "uuid": f"h-{name}",
                "name": name,
                "type": "COMPUTE",
                "control_attributes": "SSH",
                "reserved": False,
                "on_maintenance": name in maintenance_by,
                "maintenance_by": maintenance_by.get(name),
                "segment_uuid": "s",
                "deleted": number,
                "created_at": at,
            }
            for name, number in deleted.items()
        ],
    )
    nova_compute, sshd = ({"process_name": name} for name in ("nova-compute", "sshd"))
    rows = [
        ("n-first", "COMPUTE_HOST", "died", "finished", True, {}),
        ("n-again", "COMPUTE_HOST", "died", "finished", True, {}),
        ("n-lives", "COMPUTE_HOST", "lives", "failed", False, {}),
        ("n-process", "PROCESS", "nova-compute-died", "finished", False, nova_compute),
        ("n-off", "PROCESS", "off-maintenance", "finished", False, nova_compute),
        ("n-sshd", "PROCESS", "sshd-died", "finished", False, sshd),
        ("n-deregistered", "COMPUTE_HOST", "deregistered", "finished", True, {}),
        ("n-new", "COMPUTE_HOST", "nothing", "new", False, {}),
    ]
    payload = sa.table(
        "notifications",
        *(
            sa.column(column.name, sa.JSON if column.name == "payload" else column.type)
            for column in tables.tables["notifications"].columns
        ),
    )
    connection.execute(
        payload.insert(),
        [
            {
                "uuid": uuid,
                "type": kind,
                "status": status,
                "generated_time": at,
                "payload": values,
                "source_host_uuid": f"h-{host}",
                "segment_uuid": "s",
                "subject": host,
                "attempt": 0 if status == "new" else 1,
                "failures": 0,
                "failed_attempt": 0,
                "disabled_service": disabled,
                "set_maintenance": False,
                "took_reserved": False,
                "created_at": at,
                "updated_at": at if uuid == "n-first" else later,
            }
            for uuid, kind, host, status, disabled, values in rows
        ],
    )
