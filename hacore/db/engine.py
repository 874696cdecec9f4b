# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Access to the database: transactions, its clock, and the translation of its errors.

Invariant: every time that decides something (leases, due times, duplicates) is
the *database's*, so that machines with wrong clocks agree.
"""

import contextlib
import datetime
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from oslo_db import api as oslo_db_api
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy import event, orm
from sqlalchemy.dialects import plugins
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from hacore.clock import Clock
from hacore.db import limits
from hacore.errors import DatabaseUnavailable, first_line

P = ParamSpec("P")
T = TypeVar("T")

#: How often a transaction is retried after a deadlock (Galera reports a conflict as a
#: deadlock, at COMMIT).
DEADLOCK_RETRIES = 10

_OPTIONS = (  # the options of [database] that enginefacade's configure() accepts
    "connection",
    "connection_debug",
    "connection_parameters",
    "connection_recycle_time",
    "connection_trace",
    "max_overflow",
    "max_pool_size",
    "mysql_sql_mode",
    "mysql_wsrep_sync_wait",
    "pool_timeout",
    "sqlite_synchronous",
)


class UtcNow(FunctionElement[datetime.datetime]):
    """The database's clock: UTC, naive, microseconds (SQLite: milliseconds)."""

    type = sa.DateTime()
    inherit_cache = True


@compiles(UtcNow, "mysql")
@compiles(UtcNow, "mariadb")
def _mysql(_element: UtcNow, _compiler: Any, **_kw: Any) -> str:
    return "UTC_TIMESTAMP(6)"


@compiles(UtcNow, "postgresql")
def _postgresql(_element: UtcNow, _compiler: Any, **_kw: Any) -> str:
    return "timezone('utc', clock_timestamp())"


@compiles(UtcNow, "sqlite")
def _sqlite(_element: UtcNow, _compiler: Any, **_kw: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


class _NoReset(sa.CreateEnginePlugin):
    """No ROLLBACK when a connection goes back to the pool.

    A session has ended its transaction by then, and after a COMMIT that would be one more round
    trip for nothing.
    """

    NAME = "hacore"

    def update_url(self, url: sa.URL) -> sa.URL:
        """Return the URL without options of this plugin; it has none."""
        return url

    def handle_pool_kwargs(self, _pool_cls: type[sa.Pool], pool_args: dict[str, Any]) -> None:
        """Change how the pool is made."""
        pool_args["reset_on_return"] = None


plugins.register(_NoReset.NAME, __name__, _NoReset.__name__)


@enginefacade.transaction_context_provider
class _Transaction:
    """The context that enginefacade attaches a session to; one per transaction."""


class Database:
    """Sessions on one database.

    :param options: the [database] group.
    :param clock: for tests only: used for `now` instead of the database's clock.
    :param patient: wait for the database without a time limit, for commands that migrate or
        remove many rows; otherwise those of `hacore.db.limits` apply.
    """

    def __init__(self, options: Any, clock: Clock | None = None, *, patient: bool = False) -> None:
        self._clock = clock
        self._manager = enginefacade.transaction_context()
        given = {name: getattr(options, name) for name in _OPTIONS}
        with_plugin = (given["connection_parameters"], f"plugin={_NoReset.NAME}")
        given["connection_parameters"] = "&".join(filter(None, with_plugin))
        self._manager.configure(
            # every use reports by itself that the database is unavailable: no attempt to connect
            max_retries=0,
            # threads take turns by themselves, and green ones where they wait for Nova or for
            # PyMySQL; one more turn at the end of each transaction only costs time
            thread_checkin=False,
            **given,
        )
        self._manager.append_on_engine_create(_prepare)
        if not patient:
            self._manager.append_on_engine_create(limits.set_for)

    @property
    def bind(self) -> sa.Engine:
        """The SQLAlchemy engine; it is made when first used."""
        with translated():
            engine: sa.Engine = self._manager.writer.get_engine()
        return engine

    @contextlib.contextmanager
    def read(self) -> Iterator[orm.Session]:
        """A session that only reads."""
        with translated(), self._manager.reader.using(_Transaction()) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[orm.Session]:
        """A session in one transaction: committed at the end, rolled back by an exception.

        Decorate the caller with `retry`, which calls it again after a deadlock.
        """
        with translated(), self._manager.writer.using(_Transaction()) as session:
            session.connection(execution_options={"hacore_writes": True})
            yield session

    def now(self, session: orm.Session) -> datetime.datetime:
        """The time by the database's clock, UTC and aware."""
        if self._clock is not None:
            return self._clock.now()
        value = session.scalar(sa.select(UtcNow()))
        assert isinstance(value, datetime.datetime)  # noqa: S101 - a clock always answers
        return self.time_in(value)

    def time_in(self, value: datetime.datetime) -> datetime.datetime:
        """The same from a column UtcNow() of a statement, which saves a round trip."""
        return value.replace(tzinfo=datetime.UTC) if self._clock is None else self._clock.now()

    def dispose(self) -> None:
        """Close all pooled connections; the next use opens new ones."""
        self.bind.dispose()


def retry(function: Callable[P, T]) -> Callable[P, T]:
    """Retry `function`, a whole transaction, when it was the victim of a deadlock."""
    decorated = oslo_db_api.wrap_db_retry(
        max_retries=DEADLOCK_RETRIES,
        retry_on_deadlock=True,
        retry_interval=0.02,
        inc_retry_interval=True,
        max_retry_interval=1,
        jitter=True,
    )(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result: T = decorated(*args, **kwargs)
        except db_exc.DBDeadlock as exc:
            raise DatabaseUnavailable(
                f"Transaction failed after {DEADLOCK_RETRIES} deadlock retries: the database is "
                "overloaded."
            ) from exc
        return result

    return call


def change(session: orm.Session, statement: sa.Update | sa.Delete) -> int:
    """Execute `statement` past the objects of the session; return how many rows it changed."""
    result = session.execute(statement.execution_options(synchronize_session=False))
    return cast("sa.CursorResult[Any]", result).rowcount


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Translate the exceptions of the database layer into hacore's."""
    try:
        yield
    except db_exc.DBDeadlock as exc:
        if limits.is_lock_wait(_of_driver(exc)):
            raise limits.lock_wait() from exc
        raise  # for retry()
    except (db_exc.DBConnectionError, db_exc.CantStartEngineError) as exc:
        raise DatabaseUnavailable(f"The database is unavailable: {first_line(exc)}") from exc
    except sa.exc.TimeoutError as exc:
        raise DatabaseUnavailable(
            "Timed out waiting for a database connection of the pool; raise [database] "
            "max_pool_size or max_overflow."
        ) from exc
    except (
        sa.exc.OperationalError
    ) as exc:  # oslo.db does not translate most of them, such as a full disk
        if limits.is_lock_wait(_of_driver(exc)):
            raise limits.lock_wait() from exc
        raise DatabaseUnavailable(f"Database error: {first_line(exc)}") from exc
    except db_exc.DBError as exc:
        if isinstance(exc.inner_exception, sa.exc.OperationalError):  # no such table, ...
            raise DatabaseUnavailable(f"Database error: {first_line(exc)}") from exc
        raise


def _of_driver(exc: BaseException) -> BaseException:
    """Return the driver's own error, which oslo.db and SQLAlchemy have wrapped."""
    inner = getattr(exc, "inner_exception", None) or getattr(exc, "orig", None)
    return exc if inner is None else _of_driver(inner)


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let readers continue while one writes, and let writers queue instead of failing."""

    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later would fail at its
        # first write if another one wrote in between.  oslo.db has already
        # begun a deferred one by now: begin again.
        if connection.get_execution_options().get("hacore_writes"):
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_mysql(engine: sa.Engine) -> None:
    """Let a statement see what was committed before it, as the other databases do."""

    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: Any, _record: Any) -> None:
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _prepare(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    elif engine.dialect.name in ("mysql", "mariadb"):
        _prepare_mysql(engine)  # PostgreSQL needs no preparation
