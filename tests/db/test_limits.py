# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A peer that says no more: neither end of a database connection waits for ever.

No seconds are asserted: what waits for ever runs into the time limit of the test.
"""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.db import claims, hosts, limits
from hacore.db.engine import Database
from hacore.db.models import Host, Notification
from hacore.errors import DatabaseUnavailable
from tests import factories
from tests.db.proxy import Proxy

pytestmark = [pytest.mark.database, pytest.mark.timeout(60)]

LEASE_S = 60.0


@pytest.fixture
def on_a_server(database_url: str) -> None:
    """SQLite is a file: nothing could be silent."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has no connections")


@pytest.fixture
def proxy(on_a_server: None, database_url: str) -> Iterator[Proxy]:
    address = sa.make_url(database_url)
    assert address.host is not None
    assert address.port is not None
    with Proxy((address.host, address.port)) as between:
        yield between


@pytest.fixture
def afar(proxy: Proxy, conf: cfg.ConfigOpts, db: Database) -> Iterator[Database]:
    """The database, as a process on another machine has it."""
    url = sa.make_url(conf.database.connection).set(port=proxy.port)
    conf.set_override("connection", url.render_as_string(hide_password=False), group="database")
    database = Database(conf.database)
    yield database
    proxy.cut()  # whatever state its connections are in
    database.dispose()


@pytest.mark.usefixtures("on_a_server")
def test_a_wait_for_a_lock_ends_and_is_not_repeated(db: Database) -> None:
    segment = factories.segment(db)
    host = factories.host(db, segment_uuid=segment.uuid)
    waits = []

    def hears(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        waits.append(statement)

    with db.write() as session:
        session.scalars(sa.select(Host).where(Host.uuid == host.uuid).with_for_update()).one()
        sa.event.listen(db.bind, "before_cursor_execute", hears)
        with pytest.raises(DatabaseUnavailable, match=r"waiting for a lock of another"):
            hosts.update(db, segment.uuid, host.uuid, {"on_maintenance": True})
    assert sum("FOR UPDATE" in each and "hosts" in each for each in waits) == 1


def test_the_lock_of_a_machine_without_power_becomes_free(
    db: Database, afar: Database, proxy: Proxy
) -> None:
    found = factories.notification(db, factories.host(db))
    row = sa.select(Notification).where(Notification.uuid == found.uuid).with_for_update()

    def lose_power_and_come_back() -> None:
        with afar.write() as session:
            session.scalars(row).one()
            proxy.cut()
            claim = None
            while claim is None:  # a claim skips what is locked
                claim = claims.claim(db, "engine", LEASE_S, LEASE_S)
            assert claim.uuid == found.uuid
            session.scalars(row).one()

    with pytest.raises(DatabaseUnavailable):
        lose_power_and_come_back()


def test_a_server_that_is_silent_is_given_up_and_used_again(afar: Database, proxy: Proxy) -> None:
    with afar.read() as one, afar.read() as two:  # two connections in the pool
        assert [one.scalar(sa.text("SELECT 1")), two.scalar(sa.text("SELECT 1"))] == [1, 1]
    proxy.cut()
    with pytest.raises(DatabaseUnavailable), afar.read() as session:
        session.scalar(sa.text("SELECT 1"))
    proxy.mend()
    with afar.read() as session:
        assert session.scalar(sa.text("SELECT 1")) == 1


def test_a_server_that_is_silent_in_the_middle_of_a_transaction_is_given_up(
    afar: Database, proxy: Proxy
) -> None:
    def ask_twice() -> None:
        with afar.write() as session:
            assert session.scalar(sa.text("SELECT 1")) == 1
            proxy.cut()
            session.scalar(sa.text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        ask_twice()


def test_a_server_that_takes_no_connection_is_given_up(afar: Database, proxy: Proxy) -> None:
    proxy.cut()
    with pytest.raises(DatabaseUnavailable), afar.read() as session:
        session.scalar(sa.text("SELECT 1"))


def settings(db: Database) -> tuple[str, str]:
    """How long the server waits for a lock, and for the next statement of a transaction."""
    names = {
        "mysql": ("@@innodb_lock_wait_timeout", "@@idle_transaction_timeout"),
        "postgresql": (
            "current_setting('lock_timeout')",
            "current_setting('idle_in_transaction_session_timeout')",
        ),
    }[db.bind.dialect.name]
    with db.read() as session:
        lock, idle = session.execute(sa.text(f"SELECT {', '.join(names)}")).one()
    return str(lock), str(idle)


@pytest.mark.usefixtures("on_a_server")
def test_who_migrates_is_patient(conf: cfg.ConfigOpts, db: Database) -> None:
    unit = "s" if db.bind.dialect.name == "postgresql" else ""
    assert settings(db) == (f"{limits.LOCK_S}{unit}", f"{limits.IDLE_S}{unit}")
    patient = Database(conf.database, patient=True)
    assert settings(patient) in (("50", "0"), ("0", "0"))  # the servers' own defaults
    patient.dispose()


@pytest.mark.usefixtures("on_a_server")
def test_nothing_is_missing_on_servers_that_have_the_limits(db: Database) -> None:
    with db.bind.connect() as connection:
        assert limits.missing(connection) == ""


def test_an_operators_own_limit_goes_before(conf: cfg.ConfigOpts, db: Database) -> None:
    if db.bind.dialect.driver != "pymysql":
        pytest.skip("PyMySQL's option")
    own = f"{conf.database.connection}?read_timeout=1"
    conf.set_override("connection", own, group="database")
    impatient = Database(conf.database)
    with pytest.raises(DatabaseUnavailable), impatient.read() as session:
        session.scalar(sa.text("SELECT SLEEP(3)"))
    impatient.dispose()
