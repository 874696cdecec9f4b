# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Pages: complete, in order, from any marker, and found by an index."""

import datetime
import itertools
import random
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from hacore.db import hosts, notifications, paging, segments
from hacore.db.engine import Database
from hacore.db.models import Host, Notification
from hacore.db.paging import Page, Sort
from hacore.errors import InvalidMarker

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ROWS = 60


@pytest.fixture
def host(db: Database) -> Host:
    segment = segments.create(
        db, {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
    )
    values = {"name": "h1", "type": "COMPUTE", "control_attributes": "SSH"}
    return hosts.create(db, segment.uuid, values)


def fill(db: Database, host: Host, rows: int) -> None:
    """Add notifications with many equal and missing values."""
    dice = random.Random(1)
    with db.write() as session:
        session.execute(
            sa.insert(Notification),
            [
                {
                    "uuid": str(uuid.uuid4()),
                    "created_at": START + datetime.timedelta(seconds=number // 7),
                    "updated_at": dice.choice([None, START, START + datetime.timedelta(1)]),
                    "type": dice.choice(["VM", "PROCESS"]),
                    "status": dice.choice(["new", "finished"]),
                    "generated_time": START + datetime.timedelta(minutes=dice.randrange(5)),
                    "payload": {"event": "x"},
                    "source_host_uuid": host.uuid,
                    "segment_uuid": host.segment_uuid,
                    "message": dice.choice([None, "a", "b", "é"]),
                    "subject": "x",
                    "attempt": 0,
                    "failures": 0,
                    "disabled_service": False,
                    "took_reserved": False,
                }
                for number in range(rows)
            ],
        )


def walk(db: Database, order: tuple[Sort, ...], limit: int, **filters: Any) -> list[Notification]:
    """All rows, page by page; the marker is an id and a uuid by turns."""
    found: list[Notification] = []
    marker = None
    for number in itertools.count():
        page = notifications.list_(db, filters, Page(limit, marker, order))
        found += page
        if len(page) < limit:
            return found
        marker = page[-1].uuid if number % 2 else str(page[-1].id)
    raise AssertionError


ORDERS = [
    (Sort("created_at", True),),
    (Sort("created_at", False),),
    (Sort("id", False),),
    (Sort("id", True), Sort("type", False)),
    (Sort("type", False), Sort("created_at", True)),
    (Sort("updated_at", True),),
    (Sort("updated_at", False), Sort("message", True)),
    (Sort("message", False), Sort("updated_at", True), Sort("status", False)),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(s.attribute for s in order))
def test_pages_make_up_the_list(db: Database, host: Host, order: tuple[Sort, ...]) -> None:
    fill(db, host, ROWS)
    whole = notifications.list_(db, {}, Page(1000, None, order))

    assert len(whole) == ROWS
    for limit in (1, 7, 60):
        assert [row.id for row in walk(db, order, limit)] == [row.id for row in whole]


def test_the_order_is_the_one_asked_for(db: Database, host: Host) -> None:
    fill(db, host, ROWS)

    order = (Sort("type", False), Sort("generated_time", True))
    rows = notifications.list_(db, {}, Page(1000, None, order))

    keys = [(row.type, -row.generated_time.timestamp(), row.id) for row in rows]
    assert keys == sorted(keys)


def test_filters_hold_on_every_page(db: Database, host: Host) -> None:
    fill(db, host, ROWS)
    order = (Sort("created_at", True),)

    some = walk(db, order, 7, type="VM", status="new")

    assert 0 < len(some) < ROWS
    assert {(row.type, row.status) for row in some} == {("VM", "new")}
    assert notifications.list_(db, {"type": "banana"}, Page(10)) == []


def test_the_time_filter_includes_its_moment(db: Database, host: Host) -> None:
    fill(db, host, ROWS)
    since = START + datetime.timedelta(minutes=3)

    times = [row.generated_time for row in notifications.list_(db, {}, Page(1000), since)]

    assert set(times) == {since, since + datetime.timedelta(minutes=1)}


@pytest.mark.parametrize(
    "marker", ["", "0", "banana", "99999999", str(2**31), str(2**64), "-1", "1.0", "٣", "1 "]
)
def test_odd_markers_are_refused(db: Database, host: Host, marker: str) -> None:
    fill(db, host, 3)

    with pytest.raises(InvalidMarker, match="marker"):
        notifications.list_(db, {}, Page(10, marker))


def test_nothing_is_asked_for_a_page_of_nothing(db: Database, host: Host) -> None:
    with counted(db) as statements:
        assert notifications.list_(db, {}, Page(0)) == []
    assert statements == []


class counted:  # noqa: N801 - reads as a function
    """The SELECT statements in a block."""

    def __init__(self, db: Database) -> None:
        self._engine = db.bind
        self.statements: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self.statements

    def __exit__(self, *_exc: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "FROM" in statement:
            self.statements.append(statement)


def test_a_page_is_one_query_and_one_for_the_marker(db: Database, host: Host) -> None:
    fill(db, host, ROWS)
    hosts.create(
        db, host.segment_uuid, {"name": "h2", "type": "COMPUTE", "control_attributes": "SSH"}
    )
    with counted(db) as statements:
        rows = notifications.list_(db, {}, Page(1000))
        assert len(statements) == 1
        statements.clear()
        notifications.list_(db, {}, Page(1000, str(rows[5].id)))
        assert len(statements) == 2
        statements.clear()
        listed = hosts.list_(db, host.segment_uuid, {}, Page(1000))
        assert [each.segment.name for each in listed] == ["rack", "rack"]
        assert len(statements) == 2  # the segment, its hosts


def test_the_last_page_is_found_by_the_index(db: Database, host: Host) -> None:
    fill(db, host, 3000)
    rows = notifications.list_(db, {}, Page(1000, None, (Sort("created_at", False),)))
    marker = rows[50].uuid  # 50 rows after it, in the default order
    with counted(db) as statements, db.read() as session:
        query = sa.select(Notification)
        assert len(paging.fetch(session, query, Notification, Page(1000, marker))) == 50
    kind = db.bind.dialect.name
    if kind != "sqlite":
        pytest.skip("the planners of the others choose by statistics")
    with db.bind.connect() as connection:
        terms = "created_at <= '2026-01-01' AND (created_at < '2026-01-01' OR (created_at = "
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT * FROM notifications WHERE {terms}'2026-01-01' AND "
            "id < 5)) ORDER BY created_at DESC, id DESC LIMIT 1000"
        ).all()
    assert "created_at <= " in statements[-1]
    assert [row[-1] for row in plan] == [
        "SEARCH notifications USING INDEX ix_notifications_created_at_id (created_at<?)"
    ]
