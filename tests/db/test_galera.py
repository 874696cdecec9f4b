# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What Galera tells a client, provoked on a MariaDB that is in no cluster; see tests/galera too."""

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.db.engine import Database, retry
from hacore.errors import DatabaseUnavailable


@pytest.fixture
def mariadb(db: Database) -> Database:
    if db.bind.dialect.name not in ("mysql", "mariadb"):
        pytest.skip("of MariaDB")
    return db


def test_reads_wait_for_the_other_nodes_where_that_is_asked_for(
    mariadb: Database, conf: cfg.ConfigOpts
) -> None:
    conf.set_override("mysql_wsrep_sync_wait", 1, group="database")
    waiting = Database(conf.database)
    for database, expected in ((mariadb, 0), (waiting, 1)):
        with database.read() as session:
            assert session.scalar(sa.text("SELECT @@wsrep_sync_wait")) == expected
    waiting.dispose()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1047, "WSREP has not yet prepared node for application use"),
        (1180, 'Got error 6 "No such device or address" during COMMIT'),
    ],
)
def test_a_node_that_is_in_no_cluster_is_a_database_that_is_away(
    mariadb: Database, number: int, text: str
) -> None:
    with pytest.raises(DatabaseUnavailable), mariadb.read() as session:
        _signal(session, number, text)
    with mariadb.read() as session:  # and once it is back, it is used again
        assert session.scalar(sa.text("SELECT 1")) == 1


@pytest.mark.parametrize(
    "text", ["Deadlock found when trying to get lock", "Deadlock: wsrep aborted transaction"]
)
def test_a_transaction_that_lost_is_done_again(mariadb: Database, text: str) -> None:
    done: list[int] = []

    @retry
    def write() -> None:
        done.append(1)
        with mariadb.write() as session:
            if len(done) < 3:
                _signal(session, 1213, text)

    write()
    assert len(done) == 3


def _signal(session: sa.orm.Session, number: int, text: str) -> None:
    """Have the server raise an error with this number."""
    statement = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = :text"
    session.execute(sa.text(statement), {"text": text})
