# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Time limits: how long the two ends of a database connection wait for each other.

A machine that loses power closes no connection: its peer would keep a row lock, or a thread,
until TCP times out, which takes from minutes to hours.  Hence the client stops waiting for a
server that does not answer, and lets the server end a transaction whose client is silent, and
a wait for a lock.  All of the limits are far shorter than a lease, so that the death of an
engine, of an API or of the database server costs less than one.

An operator's own values, in the query of [database] connection, override these.
"""

import selectors
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from hacore.errors import DatabaseBusy

#: Seconds that the client waits until the server accepts a connection.
CONNECT_S = 5
#: Seconds that the client waits for the answer to a statement.
ANSWER_S = 10
#: Seconds that the server waits for the next statement of a transaction.
IDLE_S = 5
#: Seconds that a statement waits for a lock.
LOCK_S = 2
#: For doctor, where no limit is missing.
KEPT = (
    f"{ANSWER_S} s for an answer of the server, {IDLE_S} s for an idle transaction, {LOCK_S} s for "
    "a lock."
)
#: Error number of MariaDB and MySQL for a lock that did not become free.
_LOCK_WAIT_TIMEOUT = 1205

_PYMYSQL = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "write_timeout": ANSWER_S}
_LIBPQ = {
    "connect_timeout": CONNECT_S,
    "tcp_user_timeout": ANSWER_S * 1000,
    "keepalives_idle": IDLE_S,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_CLIENT: dict[str, dict[str, Any]] = {"pymysql": _PYMYSQL, "mysqldb": _PYMYSQL, "psycopg2": _LIBPQ}

_MYSQL = (
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_S}"
    # a comment to MySQL, which has no such limit
    f" /*M!100302 , SESSION idle_transaction_timeout = {IDLE_S} */"
)
_POSTGRESQL = {  # tcp_*: 0 on a Unix socket, which does not need them
    "lock_timeout": LOCK_S * 1000,
    "idle_in_transaction_session_timeout": IDLE_S * 1000,
    "tcp_user_timeout": ANSWER_S * 1000,
    "tcp_keepalives_idle": IDLE_S,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
}


def set_for(engine: sa.Engine) -> None:
    """Apply the limits to all connections of `engine`, in the driver and in the server."""
    client = _CLIENT.get(engine.dialect.driver, {})
    prepare = {"mysql": _set_mysql, "mariadb": _set_mysql, "postgresql": _set_postgresql}.get(
        engine.dialect.name
    )
    extra: dict[str, Any] = {}
    if engine.dialect.driver == "psycopg2":
        extra["connection_factory"] = _psycopg2_with_limit()

    @event.listens_for(engine, "do_connect")
    def do_connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        for name, value in (client | extra).items():
            options.setdefault(name, value)

    if prepare:
        event.listen(engine, "connect", prepare)


def missing(connection: sa.Connection) -> str:
    """Return which limit the server or the driver lacks, with the remedy; "" if none."""
    dialect = connection.dialect
    if dialect.name == "sqlite":  # a file: the lock of a dead process is released at once
        return ""
    if dialect.driver not in _CLIENT:
        return (
            f"hacore has no time limits for the driver {dialect.driver}: a database server that "
            "loses power blocks hacore until TCP times out; use mysql+pymysql or "
            "postgresql+psycopg2 in [database] connection."
        )
    if dialect.name == "postgresql":
        found = connection.scalar(
            sa.text("SELECT current_setting('idle_in_transaction_session_timeout', true)")
        )
    else:
        row = connection.execute(sa.text("SHOW VARIABLES LIKE 'idle_transaction_timeout'")).first()
        found = row and row[1]
    if found and str(found) != "0":
        return ""
    return (
        "The server has no time limit for an idle transaction (MariaDB: "
        "idle_transaction_timeout, since 10.3.2): when a host of hacore loses power, its "
        "recoveries may be blocked until TCP times out; use MariaDB or PostgreSQL, or set "
        "net.ipv4.tcp_keepalive_time to 10 and tcp_keepalive_intvl to 5 on the database server."
    )


def is_lock_wait(exc: BaseException) -> bool:
    """Whether a driver's error says that a lock did not become free in time."""
    number = exc.args[0] if exc.args else None
    return number == _LOCK_WAIT_TIMEOUT or getattr(exc, "pgcode", None) == "55P03"


def lock_wait() -> DatabaseBusy:
    """Return the error for such a wait: nothing was written, the caller may retry."""
    return DatabaseBusy(
        f"Timed out after {LOCK_S} s waiting for a lock of another transaction; retry later, the "
        f"database server ends an idle transaction after {IDLE_S} s."
    )


def _set_mysql(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MYSQL)


def _set_postgresql(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, to_be::text, false) FROM pg_settings JOIN "
            "unnest(%s, %s) AS limits (limited, to_be) ON name = limited",
            (list(_POSTGRESQL), list(_POSTGRESQL.values())),
        )
    connection.commit()  # a rollback would undo the settings


def _psycopg2_with_limit() -> type:
    """Return a connection class that waits ANSWER_S for an answer, and not for ever.

    libpq has no time limit for an answer: keepalives detect a dead machine, but neither a
    server that hangs nor one that is dead behind a proxy.  psycopg2 takes a function that
    waits, for all connections of the process: those of other classes wait without a limit.
    """
    import psycopg2
    import psycopg2.extensions as pg

    class Connection(pg.connection):  # type: ignore[misc]
        answer_s = ANSWER_S

    def wait(connection: Any) -> None:
        limit_s = getattr(connection, "answer_s", None)
        until = None if limit_s is None else time.monotonic() + limit_s
        while (state := connection.poll()) != pg.POLL_OK:
            with selectors.DefaultSelector() as selector:
                reads = state == pg.POLL_READ
                mask = selectors.EVENT_READ if reads else selectors.EVENT_WRITE
                selector.register(connection.fileno(), mask)
                left_s = None if until is None else max(0.0, until - time.monotonic())
                if not selector.select(left_s):
                    raise psycopg2.OperationalError(
                        f"the server has not answered within {limit_s} s"
                    )

    pg.set_wait_callback(wait)
    return Connection
