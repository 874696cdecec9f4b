# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A node that is behind decides on what it does not know yet: the other node's decision holds.

Seconds behind, not the moment that two healthy nodes are: so no try is a matter of luck.
"""

import datetime
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.db import claims, hosts, leases, notifications, reserved, schema, segments
from hacore.db.engine import Database, retry
from hacore.db.models import HistoryEntry, Host, Notification, Segment
from hacore.errors import (
    DatabaseUnavailable,
    Duplicate,
    HacoreError,
    InUse,
    Invalid,
    LeaseLost,
    SegmentNotFound,
)
from hacore.states import NotificationType
from tests import databases, factories
from tests.galera.cluster import Cluster

T = TypeVar("T")

_DAY_S = 86400
_HOST = {"name": "h2", "type": "COMPUTE", "control_attributes": "SSH"}


class Nodes:
    """The same database at two nodes, of which one can be held up."""

    def __init__(self, here: Database, there: Database) -> None:
        self.here = here
        self.there = there
        with there.bind.begin() as connection:
            connection.execute(sa.text("CREATE TABLE ballast (number INT, text CHAR(200))"))
            connection.execute(
                sa.text("INSERT INTO ballast SELECT seq, REPEAT('x', 200) FROM seq_1_to_4000")
            )
        self.meet()

    def meet(self) -> None:
        """Return when both have applied what the other one has committed."""
        for db in (self.here, self.there):
            wait_for_node(db)

    def hold_up_here(self) -> None:
        """The node here has to apply what takes it seconds, before all that is committed there.

        For it has to look through a table without a key for each of its rows, the last one first.
        """
        self.meet()
        with self.there.bind.begin() as connection:
            connection.execute(
                sa.text("UPDATE ballast SET number = number + 1 ORDER BY number DESC")
            )

    def is_behind(self) -> bool:
        """Whether that has not been applied here."""
        counts = []
        for db in (self.here, self.there):
            with db.bind.connect() as connection:
                counts.append(connection.scalar(sa.text("SELECT SUM(number) FROM ballast")))
        return counts[0] != counts[1]


def wait_for_node(db: Database) -> None:
    with db.bind.connect() as connection:
        connection.execute(sa.text("SET SESSION wsrep_sync_wait = 1"))
        connection.execute(sa.text("SELECT 1"))
        connection.execute(sa.text("SET SESSION wsrep_sync_wait = 0"))


@pytest.fixture
def nodes_of_database(cluster: Cluster, conf: cfg.ConfigOpts) -> Iterator[Nodes]:
    name = databases.name()
    databases.create(cluster.nodes[0].url, name)
    made = []
    for node in cluster.nodes[:2]:
        conf.set_override("connection", f"{node.url}/{name}", group="database")
        made.append(Database(conf.database))
    schema.sync(made[0])
    wait_for_node(made[1])
    nodes = Nodes(*made)
    yield nodes
    nodes.meet()
    for each in made:
        each.dispose()
    databases.drop(cluster.nodes[0].url, name)


def assert_refused(nodes: Nodes, call: Callable[[], object]) -> None:
    answer = ask_behind(nodes, call)
    assert isinstance(answer, HacoreError), answer


def ask_behind(nodes: Nodes, call: Callable[[], T]) -> T | HacoreError:
    """What a call of the node that is behind returns or raises; it may also come to no end."""
    assert nodes.is_behind()
    try:
        return call()
    except (DatabaseUnavailable, Duplicate, InUse, Invalid, LeaseLost, SegmentNotFound) as exc:
        return exc


def test_a_transaction_that_lost_at_commit_is_done_again(nodes_of_database: Nodes) -> None:
    here, there = nodes_of_database.here, nodes_of_database.there
    segment = factories.segment(here, description="")
    nodes_of_database.meet()
    done: list[str] = []

    @retry
    def add(db: Database, text: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        done.append(text)
        with db.write() as session:
            row = session.scalars(sa.select(Segment).where(Segment.uuid == segment.uuid)).one()
            row.description = f"{row.description}{text}"
            session.flush()
            meanwhile()

    def other_node_writes() -> None:
        if done == ["a"]:
            add(there, "b")
            wait_for_node(here)  # it has broken off the transaction there

    add(here, "a", other_node_writes)
    assert done == ["a", "b", "a"]
    assert segments.get(here, segment.uuid).description == "ba"


def report(db: Database, host: Host) -> Notification:
    failure = notifications.Report(
        NotificationType.COMPUTE_HOST,
        host.name,
        datetime.datetime.now(datetime.UTC),
        factories.STOPPED,
    )
    return notifications.create(db, failure, request_id=None, duplicate_window_s=180)


def test_an_equal_report(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    host = factories.host(nodes.here)
    nodes.hold_up_here()
    report(nodes.there, host)
    assert_refused(nodes, lambda: report(nodes.here, host))
    nodes.meet()
    with nodes.here.read() as session:
        assert len(session.scalars(sa.select(Notification)).all()) == 1


def test_a_report_of_a_host_that_is_gone(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    host = factories.host(nodes.here)
    nodes.hold_up_here()
    hosts.delete(nodes.there, host.segment_uuid, host.uuid)
    assert_refused(nodes, lambda: report(nodes.here, host))


def test_a_change_of_a_segment_under_recovery(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    host = factories.host(nodes.here)
    nodes.hold_up_here()
    report(nodes.there, host)
    assert_refused(nodes, lambda: segments.update(nodes.here, host.segment_uuid, {"name": "x"}))


def test_a_host_comes_into_a_segment_that_is_gone(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    segment = factories.segment(nodes.here)
    nodes.hold_up_here()
    segments.delete(nodes.there, segment.uuid)
    assert_refused(nodes, lambda: hosts.create(nodes.here, segment.uuid, _HOST))


def test_another_notification_of_a_subject(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    host = factories.host(nodes.here)
    instance = {"instance_uuid": str(uuid.uuid4())}
    first, second = (
        factories.notification(nodes.here, host, type="VM", payload=instance) for _ in range(2)
    )
    nodes.hold_up_here()
    take = retry(claims._take)
    assert take(nodes.there, first.id, first.subject, "there", 60)
    taken = ask_behind(nodes, lambda: take(nodes.here, second.id, second.subject, "here", 60))
    assert taken is None or isinstance(taken, DatabaseUnavailable)


def test_an_engine_whose_claim_was_taken_over(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    factories.notification(nodes.here, factories.host(nodes.here))
    old = claims.claim(nodes.here, "here", -1, _DAY_S)
    assert old is not None
    nodes.hold_up_here()
    assert claims.claim(nodes.there, "there", 60, _DAY_S)
    assert_refused(
        nodes, lambda: leases.record(nodes.here, Notification, old, "step", message="late")
    )
    nodes.meet()
    with nodes.here.read() as session:
        assert "late" not in session.scalars(sa.select(HistoryEntry.message)).all()


def test_a_reserved_host_that_is_taken(nodes_of_database: Nodes) -> None:
    nodes = nodes_of_database
    segment = factories.segment(nodes.here)
    dead = [factories.host(nodes.here, f"h{n}", segment_uuid=segment.uuid) for n in range(2)]
    factories.host(nodes.here, "spare", segment_uuid=segment.uuid, reserved=True)
    for host in dead:
        factories.notification(nodes.here, host)
    held = [claims.claim(nodes.here, "engine", 60, _DAY_S) for _ in dead]
    nodes.hold_up_here()
    assert reserved.take(nodes.there, held[0], ()) == "spare"
    taken = ask_behind(nodes, lambda: reserved.take(nodes.here, held[1], ()))
    assert taken is None or isinstance(taken, DatabaseUnavailable)
