# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How long the two ends of a database connection wait for each other.

A machine that loses power says nothing: its peer would keep a row lock, or a thread, until
TCP gives up, which takes from minutes to hours.  So this end gives up a server that does not
answer, and asks the server to give up a transaction whose client says no more, and a lock
that does not become free.  All of them are far shorter than a lease, so that the death of an
engine, of an API or of the database server costs less than one.

An operator's own values, in the query of [database] connection, go before ours.
"""

import selectors
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from hacore.errors import DatabaseUnavailable

#: Seconds for which we wait until the server has taken a connection.
CONNECT_S = 5
#: Seconds for which we wait for the answer to a statement.
ANSWER_S = 10
#: Seconds for which the server waits for the next statement of a transaction.
IDLE_S = 5
#: Seconds for which the server lets a statement wait for a lock.
LOCK_S = 3
#: For doctor, where nothing is missing.
KEPT = (
    f"Who is silent is given up: a server after {ANSWER_S} s, a transaction after {IDLE_S} s; "
    f"a wait for a lock ends after {LOCK_S} s."
)
#: MariaDB's and MySQL's error for that.
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
    # MySQL reads the rest as a comment: it has no such limit
    f" /*M!100302 , SESSION idle_transaction_timeout = {IDLE_S} */"
)
_POSTGRESQL = {  # tcp_*: 0 at a Unix socket, which has no need of them
    "lock_timeout": LOCK_S * 1000,
    "idle_in_transaction_session_timeout": IDLE_S * 1000,
    "tcp_user_timeout": ANSWER_S * 1000,
    "tcp_keepalives_idle": IDLE_S,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
}


def set_for(engine: sa.Engine) -> None:
    """Keep all connections that `engine` will make to the limits of their driver and server."""
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
    """Say what the server or the driver cannot keep to; "" if all is kept."""
    dialect = connection.dialect
    if dialect.name == "sqlite":  # a file: the lock of a dead process is free at once
        return ""
    if dialect.driver not in _CLIENT:
        return (
            f"hacore sets no time-outs for the driver {dialect.driver}: a database server that "
            "dies silently holds up hacore until TCP gives up; use mysql+pymysql or "
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
        "The server has no time limit for a transaction whose client is silent (MariaDB: "
        "idle_transaction_timeout, from 10.3.2 on): when a machine of hacore loses power, a "
        "recovery of its may be held up until TCP gives up; use MariaDB or PostgreSQL, or set "
        "net.ipv4.tcp_keepalive_time to 10 and tcp_keepalive_intvl to 5 on the database server."
    )


def is_lock_wait(exc: BaseException) -> bool:
    """Whether a driver's error says that a lock did not become free in time."""
    number = exc.args[0] if exc.args else None
    return number == _LOCK_WAIT_TIMEOUT or getattr(exc, "pgcode", None) == "55P03"


def lock_wait() -> DatabaseUnavailable:
    """What it is to our callers: nothing was written, and it may be tried again."""
    return DatabaseUnavailable(
        f"Another transaction has held what this one needs for more than {LOCK_S} s; it ends, "
        f"or the database server ends it after {IDLE_S} s of silence: try again."
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
    connection.commit()  # a setting goes with the transaction that was rolled back


def _psycopg2_with_limit() -> type:
    """Its connections wait for an answer for ANSWER_S, and not for ever.

    libpq has no time-out for an answer: keepalives find a dead machine, and neither a server
    that hangs nor one that is dead behind a proxy.  psycopg2 lets its user do the waiting,
    for all connections of a process: those of others wait on.
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
