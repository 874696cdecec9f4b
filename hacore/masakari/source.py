# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The database of Masakari, read-only.

Invariant: nothing is written to it.  The transaction is read-only (a SQLite file is opened
read-only) and sees the rows as they were when it began.
"""

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from hacore.errors import ConfigError

Row = sa.RowMapping

_COMMON = frozenset({"id", "created_at", "updated_at", "deleted_at", "deleted"})
#: The tables of Masakari 22.0.0, and the columns that are read (masakari/db/sqlalchemy/models.py).
TABLES = {
    "failover_segments": _COMMON
    | {"uuid", "name", "service_type", "enabled", "description", "recovery_method"},
    "hosts": _COMMON
    | {"uuid", "name", "reserved", "type", "control_attributes", "on_maintenance"}
    | {"failover_segment_id"},
    "notifications": _COMMON
    | {"notification_uuid", "generated_time", "type", "payload", "status", "message"}
    | {"source_host_uuid", "failover_segment_uuid"},
    "vmoves": _COMMON
    | {"uuid", "notification_uuid", "instance_uuid", "instance_name", "source_host", "dest_host"}
    | {"start_time", "end_time", "type", "status", "message"},
}
#: Rows that are fetched at a time.
_FETCH = 1000
#: The driver that hacore installs, for a URL that names none.
_DRIVERS = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}


class Source:
    """An open database of Masakari; made by `reading`."""

    def __init__(self, connection: sa.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._tables = self._reflect()

    def rows(self, table: str, *order: str) -> Iterator[Row]:
        """Yield the rows of a table in the order of these columns; `id` if none are given."""
        columns = self._tables[table].c
        query = sa.select(*(columns[name] for name in sorted(TABLES[table])))
        query = query.order_by(*(columns[name] for name in order or ("id",)))
        with _translated(self._name):
            yield from self._connection.execute(
                query.execution_options(yield_per=_FETCH)
            ).mappings()

    def _reflect(self) -> dict[str, sa.Table]:
        metadata = sa.MetaData()
        event.listen(metadata, "column_reflect", _any_word)
        found = {}
        for name, columns in TABLES.items():
            try:
                table = sa.Table(name, metadata, autoload_with=self._connection, resolve_fks=False)
            except sa.exc.NoSuchTableError:
                raise _other(self._name, f"it has no table {name}") from None
            missing = sorted(columns - set(table.c.keys()))
            if missing:
                raise _other(self._name, f"its table {name} has no column {missing[0]}")
            found[name] = table
        return found


@contextlib.contextmanager
def reading(url: str) -> Iterator[Source]:
    """Open the database at `url` as it is at this moment.

    Raises ConfigError where that fails, or where it is not a database of Masakari 22.0.0.
    """
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigError(
            "The URL of Masakari's database is not valid; expected, for example, "
            "mysql+pymysql://masakari:secret@dbhost/masakari."
        ) from None
    name = address.render_as_string()
    begin = _BEGIN.get(address.get_backend_name())
    if begin is None:
        raise ConfigError(
            f"Unsupported database {name}; supported are {', '.join(sorted(_BEGIN))}."
        )
    with _translated(name):
        engine = sa.create_engine(_address(address), poolclass=sa.NullPool)
        connection = engine.connect()
    try:
        with _translated(name):
            begin(connection)
            source = Source(connection, name)
        yield source
    finally:
        connection.close()


def has_password(url: str) -> bool:
    """Whether the URL has a password; also one that is no URL may have one."""
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        return "@" in url
    return address.password is not None or "password" in address.query


def _address(address: sa.URL) -> sa.URL:
    if address.get_backend_name() == "sqlite" and address.database:
        # a file that does not exist would be created
        path = urllib.parse.quote(address.database)
        return address.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    return address.set(drivername=_DRIVERS.get(address.drivername, address.drivername))


def _begin_mysql(connection: sa.Connection) -> None:
    connection.execution_options(isolation_level="REPEATABLE READ")
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def _begin_postgresql(connection: sa.Connection) -> None:
    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")  # the driver begins one only for a statement that writes


_BEGIN: dict[str, Callable[[sa.Connection], None]] = {
    "mysql": _begin_mysql,
    "mariadb": _begin_mysql,
    "postgresql": _begin_postgresql,
    "sqlite": _begin_sqlite,
}


def _any_word(_inspector: Any, _table: sa.Table, column: Any) -> None:
    """Read an enum as a string: an unknown value is refused with its row, not here."""
    if isinstance(column["type"], sa.Enum):
        column["type"] = sa.String()


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, ImportError) as exc:
        origin = getattr(exc, "orig", None) or exc
        reason = " ".join(str(origin).split()) or type(origin).__name__
        raise ConfigError(
            f"Failed to read Masakari's database {name}: {reason}; check the URL and the "
            "database server."
        ) from exc


def _other(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"{name} is not a database of Masakari 22.0.0: {why}; upgrade it to that version "
        "with masakari-manage db sync first."
    )
