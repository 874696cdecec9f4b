# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a real Masakari 22.0.0 left behind is taken over; see tests/masakari.

Source and target are databases of the kind that is asked for; see tests/conftest.py.
"""

import datetime
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hacore.db import notifications, segments
from hacore.db.engine import Database
from hacore.db.models import Host, Move, Notification, Segment
from hacore.db.paging import Page, Sort
from hacore.errors import ConfigError
from hacore.masakari import importing
from hacore.masakari.importing import Count, Report
from hacore.masakari.source import reading
from tests import databases, factories, masakari

#: Of tests/masakari/masakari.sql.
SEGMENT, HOST = "rack", "compute1"
PAGE = Page(limit=100, order=(Sort("created_at", descending=False),))
COUNTS = (Count(3), Count(4), Count(6), Count(8, left_out=5))


@pytest.fixture
def source(database_url: str, tmp_path: Path) -> Iterator[str]:
    """Masakari's database; on a server, with its tables as they are in SQLite."""
    file = sa.create_engine(f"sqlite:///{masakari.database(tmp_path)}", poolclass=sa.NullPool)
    kind = sa.make_url(database_url).get_backend_name()
    if kind == "sqlite":
        yield str(file.url)
        return
    server, name = databases.SERVERS[kind], databases.name()
    url = databases.create(server, name)
    try:
        copy(file, sa.create_engine(url, poolclass=sa.NullPool))
        yield url
    finally:
        databases.drop(server, name)


def copy(file: sa.Engine, server: sa.Engine) -> None:
    """Make the tables of `file` on a server, with their rows."""
    metadata = sa.MetaData()
    sa.event.listen(metadata, "column_reflect", _generic)
    metadata.reflect(file)
    metadata.create_all(server)
    with file.connect() as old, server.begin() as new:
        for table in metadata.sorted_tables:
            if found := old.execute(sa.select(table)).mappings().all():
                new.execute(sa.insert(table), [dict(row) for row in found])


def _generic(_inspector: Any, _table: sa.Table, column: Any) -> None:
    column["type"] = column["type"].as_generic()


Change = Callable[..., None]


@pytest.fixture
def change(source: str) -> Change:
    """Execute a statement on Masakari's database."""

    def execute(statement: str, **values: Any) -> None:
        with sa.create_engine(source, poolclass=sa.NullPool).begin() as connection:
            connection.execute(sa.text(statement), values)

    return execute


def take(db: Database, source: str, **how: bool) -> Report:
    with reading(source) as opened:
        return importing.run(db, opened, **how)


def counts(report: Report) -> tuple[Count, ...]:
    return (report.segments, report.hosts, report.notifications, report.vmoves)


def rows(db: Database, model: Any) -> list[Any]:
    with db.read() as session:
        return list(session.scalars(sa.select(model).order_by(model.id)))


def there(source: str, table: str) -> list[dict[str, Any]]:
    """The rows of Masakari's, its times with a zone."""
    with sa.create_engine(source, poolclass=sa.NullPool).connect() as connection:
        found = sa.Table(table, sa.MetaData(), autoload_with=connection)
        return [
            {
                name: value.replace(tzinfo=datetime.UTC)
                if isinstance(value, datetime.datetime)
                else value
                for name, value in row.items()
            }
            for row in connection.execute(sa.select(found).order_by(found.c.id)).mappings()
        ]


def assert_alike(ours: list[Any], theirs: list[dict[str, Any]], **names: str) -> None:
    """Every column of theirs is in ours, by the same name or the one in `names`."""
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        marks = {"deleted", "deleted_at"} - set(mine.__table__.c.keys())
        for name in other.keys() - {"id", "payload", "deleted"} - marks:
            assert getattr(mine, names.get(name, name)) == other[name], name


def test_everything_is_here_as_it_was_there(db: Database, source: str) -> None:
    report = take(db, source)
    assert report.done
    assert (report.refused, report.differing) == ([], [])
    assert counts(report) == COUNTS
    assert_alike(rows(db, Segment), there(source, "failover_segments"))
    assert_alike(rows(db, Host), there(source, "hosts"), failover_segment_id="segment_uuid")
    assert_alike(
        rows(db, Notification),
        there(source, "notifications"),
        notification_uuid="uuid",
        failover_segment_uuid="segment_uuid",
    )
    assert [row.payload["event"] for row in rows(db, Notification)] == [
        *("LIFECYCLE", "LIFECYCLE", "STOPPED", "STOPPED", "STOPPED", "STOPPED")
    ]


def test_of_an_instance_that_was_tried_again_the_last_move_is_here(
    db: Database, source: str
) -> None:
    take(db, source)
    failed = rows(db, Notification)[-1]
    assert failed.status == "failed"
    theirs = [row for row in there(source, "vmoves") if row["notification_uuid"] == failed.uuid]
    assert len(theirs) == 10
    ours = [row for row in rows(db, Move) if row.notification_uuid == failed.uuid]
    assert_alike(ours, theirs[5:])
    assert [row.position for row in ours] == [0, 1, 2, 3, 4]


def test_deleted_ones_are_not_shown_and_their_names_are_free(db: Database, source: str) -> None:
    take(db, source)
    shown = segments.list_(db, {}, PAGE)
    assert [segment.name for segment in shown] == [SEGMENT, "with a spare"]
    factories.segment(db, name="given up")
    factories.host(db, "compute3", segment_uuid=shown[0].uuid)
    for row in (*rows(db, Segment), *rows(db, Host)):
        assert row.deleted in (0, row.id)


def test_the_engine_has_nothing_to_do_with_history(db: Database, source: str) -> None:
    take(db, source)
    segment = segments.list_(db, {}, PAGE)[0]
    segments.update(db, segment.uuid, {"description": "not under recovery"})


def test_importing_again_changes_nothing(db: Database, source: str) -> None:
    take(db, source)
    before = [row.uuid for model in (Segment, Host, Notification, Move) for row in rows(db, model)]
    report = take(db, source)
    assert report.done
    assert report.differing == []
    assert counts(report) == (
        *(Count(present=3), Count(present=4), Count(present=6)),
        Count(present=8, left_out=5),
    )
    after = [row.uuid for model in (Segment, Host, Notification, Move) for row in rows(db, model)]
    assert after == before


def test_what_has_changed_since_stays_and_is_told(
    db: Database, source: str, change: Change
) -> None:
    take(db, source)
    segment = segments.list_(db, {"name": SEGMENT}, PAGE)[0]
    segments.update(db, segment.uuid, {"name": "row"})
    change("UPDATE hosts SET on_maintenance = :no WHERE name = 'compute2'", no=False)
    change("UPDATE hosts SET name = 'compute9' WHERE name = 'compute4'")
    report = take(db, source)
    hosts = {host.name: host for host in rows(db, Host)}
    assert report.differing == [
        f"Segment 'row' ({segment.uuid}) already exists with another name; not changed.",
        f"Host 'compute2' ({hosts['compute2'].uuid}) already exists with another "
        "on_maintenance; not changed.",
        f"Host 'compute4' ({hosts['compute4'].uuid}) already exists with another name; not "
        "changed.",
    ]
    assert hosts["compute2"].on_maintenance is True


def test_a_dry_run_tells_and_writes_nothing(db: Database, source: str) -> None:
    report = take(db, source, dry_run=True)
    assert not report.done
    assert counts(report) == COUNTS
    assert rows(db, Segment) == []


def test_what_came_later_is_added(db: Database, source: str, change: Change) -> None:
    take(db, source)
    change(
        "INSERT INTO notifications (created_at, deleted, id, notification_uuid, generated_time, "
        "source_host_uuid, type, payload, status) SELECT created_at, 0, 1000, "
        "'11111111-1111-1111-1111-111111111111', generated_time, source_host_uuid, type, payload, "
        "status FROM notifications WHERE id = 3"
    )
    assert take(db, source).notifications == Count(1, present=6)
    # from before Masakari wrote down the segment: that of the host
    newest = rows(db, Notification)[-1]
    assert newest.segment_uuid == rows(db, Host)[2].segment_uuid


def test_more_rows_than_are_taken_at_a_time(db: Database, source: str) -> None:
    engine = sa.create_engine(source, poolclass=sa.NullPool)
    table = sa.Table("notifications", sa.MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        row = dict(connection.execute(sa.select(table)).mappings().first() or {})
        more = [{**row, "id": 10 + n, "notification_uuid": str(uuid.uuid4())} for n in range(1200)]
        connection.execute(sa.insert(table), more)
    assert take(db, source).notifications == Count(1206)
    assert {row.uuid for row in rows(db, Notification)} >= {
        row["notification_uuid"] for row in more
    }


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "UPDATE failover_segments SET recovery_method = 'hope' WHERE id = 3",
            r"Segment 'given up' \(.*\): its recovery_method is 'hope', expected one of auto, "
            "reserved_host, auto_priority, rh_priority.",
        ),
        (
            "UPDATE failover_segments SET created_at = NULL WHERE id = 3",
            r"Segment 'given up' \(.*\): its created_at is empty.",
        ),
        (
            "UPDATE notifications SET source_host_uuid = 'gone' WHERE id = 1",
            "Notification .*: its host gone was refused or does not exist.",
        ),
        (
            "UPDATE notifications SET failover_segment_uuid = 'gone' WHERE id = 1",
            "Notification .*: its segment gone was refused or does not exist.",
        ),
        (
            "UPDATE notifications SET status = 'running' WHERE id = 1",
            "Notification .*: its status is running: wait until Masakari has ended it, or leave "
            "it out and report the failure to hacore.",
        ),
        (
            "UPDATE notifications SET status = 'lost' WHERE id = 1",
            "Notification .*: its status is 'lost', expected one of new, .*",
        ),
        (
            "UPDATE notifications SET type = 'RACK' WHERE id = 1",
            "Notification .*: its type is 'RACK', expected one of VM, PROCESS, COMPUTE_HOST.",
        ),
        (
            "UPDATE notifications SET payload = '[1]' WHERE id = 1",
            "Notification .*: its payload is not a JSON object.",
        ),
        (
            "UPDATE notifications SET payload = NULL WHERE id = 1",
            "Notification .*: its payload is not a JSON object.",
        ),
        (
            "UPDATE notifications SET payload = '{}' WHERE id = 1",
            "Notification .*: its payload names no instance.",
        ),
        (
            # written with bound parameters only: the backslash is another thing to MariaDB
            "UPDATE notifications SET payload = :nul WHERE id = 1",
            "Notification .*: its payload contains characters that not every database can store.",
        ),
        (
            "UPDATE vmoves SET status = 'lost' WHERE id = 1",
            "VM move .*: its status is 'lost', expected one of pending, .*",
        ),
        (
            "UPDATE vmoves SET type = 'migration' WHERE id = 1",
            "VM move .*: its type is 'migration', expected one of evacuation.",
        ),
    ],
)
def test_a_row_that_cannot_be_taken(
    db: Database, source: str, change: Change, statement: str, reason: str
) -> None:
    change(statement, **({"nul": '{"a": "\\u0000"}'} if ":nul" in statement else {}))
    report = take(db, source)
    (sentence,) = report.refused
    assert sum(count.refused for count in counts(report)) == 1
    assert re.fullmatch(reason, sentence)
    assert not report.done
    assert rows(db, Segment) == []

    rest = take(db, source, skip_refused=True)
    assert rest.done
    assert rest.refused == [sentence]
    lost = sum(count.imported for count in COUNTS) - sum(count.imported for count in counts(rest))
    assert lost == 1


def test_a_refused_host_takes_its_history_with_it(
    db: Database, source: str, change: Change
) -> None:
    taken = factories.host(db, "compute2")
    report = take(db, source, skip_refused=True)
    host = next(row for row in there(source, "hosts") if row["name"] == "compute2")
    assert report.refused[0] == (
        f"Host 'compute2' ({host['uuid']}): its name is already used by {taken.uuid}: rename "
        "one of them."
    )
    assert report.refused[1:] == [
        f"Notification {row['notification_uuid']}: its host {host['uuid']} was refused or does "
        "not exist."
        for row in there(source, "notifications")
        if row["source_host_uuid"] == host["uuid"]
    ]
    assert report.notifications == Count(2, refused=4)
    assert report.vmoves == Count(3, left_out=10)


def test_a_segment_of_the_same_name(db: Database, source: str) -> None:
    factories.segment(db, name=SEGMENT)
    report = take(db, source)
    assert not report.done
    assert "rename one of them" in report.refused[0]
    # its three hosts and their six notifications
    assert len(report.refused) == 1 + 3 + 6
    assert len(rows(db, Segment)) == 1


def test_deleted_notifications_and_moves_of_purged_ones_are_left_out(
    db: Database, source: str, change: Change
) -> None:
    change("UPDATE notifications SET deleted = id WHERE id = 1")
    change("DELETE FROM notifications WHERE id = 5")
    report = take(db, source)
    assert report.done
    assert report.notifications == Count(4, left_out=1)
    assert report.vmoves == Count(5, left_out=8)


# ---------------------------------------------------------------- the source


def test_the_source_is_not_writable(source: str) -> None:
    with reading(source) as opened:
        with pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.?only"):
            opened._connection.execute(sa.text("UPDATE hosts SET name = 'x'"))
        opened._connection.rollback()


def test_the_source_is_seen_as_it_was_at_one_moment(source: str, change: Change) -> None:
    if source.startswith("sqlite"):
        change("PRAGMA journal_mode=WAL")  # else the writer would have to wait
    with reading(source) as opened:
        assert len(list(opened.rows("hosts"))) == 4
        change("DELETE FROM vmoves")
        assert len(list(opened.rows("vmoves"))) == 13


def test_no_file_is_made(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"Failed to read .*: unable to open database file"),
        reading(f"sqlite:///{tmp_path}/no.sqlite"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_database(db: Database, database_url: str) -> None:
    with (
        pytest.raises(
            ConfigError, match=r"22\.0\.0: it has no table failover_segments; upgrade it"
        ),
        reading(database_url),
    ):
        pass


def test_an_older_masakari(source: str, change: Change) -> None:
    change("ALTER TABLE notifications DROP COLUMN message")
    with (
        pytest.raises(ConfigError, match=r"its table notifications has no column message; upgrade"),
        reading(source),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("masakari", "The URL of Masakari's database is not valid"),
        (
            "oracle://masakari:hunter2@db/x",
            r"Unsupported database oracle://masakari:\*\*\*@db/x",
        ),
        # as in a masakari.conf: the driver is ours
        ("mysql://masakari:hunter2@127.0.0.1:1/x", r"Failed to read .*masakari:\*\*\*@127.*onnect"),
        ("postgresql://masakari:hunter2@127.0.0.1:1/x", r"Failed to read .*\*\*\*@127.*refused"),
        ("mysql+nodriver://127.0.0.1:1/x", "Failed to read .*: Can't load plugin"),
    ],
)
def test_a_source_that_cannot_be_reached(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught, reading(url):
        pass
    assert "hunter2" not in str(caught.value)


def test_notifications_are_shown(db: Database, source: str) -> None:
    """By the functions that the API uses."""
    take(db, source)
    found = notifications.list_(db, {"type": "COMPUTE_HOST"}, PAGE)
    assert [row.status for row in found] == ["ignored", "finished", "failed"]
    _, history = notifications.get_with_history(db, found[1].uuid)
    assert history == []
