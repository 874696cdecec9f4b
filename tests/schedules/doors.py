# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The doors of the engines to the world: the database and Nova.

Only what goes through a door has an effect, so it is at the doors that engines
are killed or frozen, that calls and commits are lost, and that the checks look.
"""

import collections
import contextlib
import random
import urllib.parse
from collections.abc import Callable, Iterator
from http.client import RemoteDisconnected
from typing import Any

import requests
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import engines
from sqlalchemy import event, orm
from urllib3.exceptions import ProtocolError

from hacore.db.engine import Database, translated
from hacore.sandbox.rest import Rest
from hacore.sandbox.wire import Response
from tests.schedules.actors import Actors
from tests.schedules.checks import Checks
from tests.schedules.plans import Crash
from tests.world import SandboxAdapter

#: The columns that the checks are told of, by table; the first one is the key.
WATCHED = {
    "notifications": (
        "uuid", "type", "payload", "subject", "source_host_uuid", "created_at", "status", "owner",
        "attempt", "lease_until", "retry_at", "failures", "message",
    ),
    "vmoves": (
        "uuid", "notification_uuid", "instance_uuid", "source_host", "dest_host", "status",
        "message", "locked", "vm_state", "created_at", "end_time",
    ),
    "recovery_events": ("id", "notification_uuid", "attempt", "message"),
    "hosts": ("uuid", "name", "reserved", "on_maintenance", "maintenance_by", "taken_by"),
}  # fmt: skip


class Doors:
    """Counts who goes through, and draws what happens to them there."""

    def __init__(self, clock: Actors, checks: Checks, chance: random.Random) -> None:
        self.clock = clock
        self.checks = checks
        self.chance = chance
        #: How often an actor lets others go first at a door.
        self.politeness = chance.choice((0.0, 0.1, 0.5))
        self.crashes: dict[str, tuple[Crash, Callable[[Crash], None]]] = {}
        self.database_away = False
        self.lost_commits = 0.0
        self.late_calls: tuple[float, float] | None = None  #: how many, and by how much
        #: How many calls of each engine wait for a token before they are sent.
        self.logging_in: collections.Counter[str] = collections.Counter()
        self._passed: dict[str, int] = {}

    def expect(self, engine: str, crash: Crash, happens: Callable[[Crash], None]) -> None:
        """This life of `engine` is to have this crash."""
        self.crashes[engine] = crash, happens

    def passed(self, kind: str) -> None:
        """An actor is at a door: `commit`, `call` (before it) or `answer`."""
        actor = self.clock.current
        if actor is None:
            return
        count = self._passed[actor.group] = self._passed.get(actor.group, 0) + 1
        crash, happens = self.crashes.get(actor.group, (None, None))
        # Nova has no fencing: who is frozen between its last look at the lease
        # and the call cannot be helped
        between = kind == "call" or self.logging_in[actor.group] > 0
        too_late = crash is not None and crash.kind == "freeze" and between
        if crash is not None and happens is not None and count >= crash.door and not too_late:
            del self.crashes[actor.group]
            happens(crash)
            self.clock.check_alive()
        if kind != "call" and self.chance.random() < self.politeness:
            self.clock.pass_time(0)

    # ----------------------------------------------------------- database

    def enter_database(self) -> None:
        """Raise Killed, or DatabaseUnavailable."""
        self.clock.check_alive()
        if self.database_away:
            with translated():
                raise db_exc.DBConnectionError("simulated: connection refused")

    def maybe_lost(self) -> None:
        """The connection may break before, or after, the commit."""
        if self.lost_commits and self.chance.random() < self.lost_commits:
            with translated():
                raise db_exc.DBConnectionError("simulated: connection lost during the query")


class WatchedDatabase(Database):
    """Tells the checks of every row that is committed, whoever wrote it and however."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.doors: Doors | None = None  #: of the present schedule
        self._written: list[tuple[Any, ...]] = []

    def watch(self) -> None:
        """Put the triggers in; the tables are there already."""

        # one thread runs all: to sleep for nothing at the end of a transaction only costs
        event.remove(self.bind, "checkin", engines._thread_yield)
        with self.bind.begin() as connection:
            dbapi: Any = connection.connection.dbapi_connection
            dbapi.create_function("written", -1, self._wrote)
            for table, columns in WATCHED.items():
                values = ", ".join(f"NEW.{column}" for column in columns)
                for moment in ("INSERT", "UPDATE"):
                    connection.exec_driver_sql(
                        f"CREATE TRIGGER watched_{table}_{moment} AFTER {moment} ON {table} "
                        f"BEGIN SELECT written('{table}', {values}); END"
                    )

    def _wrote(self, *row: Any) -> None:
        self._written.append(row)

    def empty(self, clock: Actors) -> None:
        """Delete everything, for a new schedule; nobody watches until `open`."""
        self.doors = None
        with self.bind.begin() as connection:
            for table in ("recovery_events", "vmoves", "notifications", "hosts", "segments"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self._written.clear()
        self._clock = clock

    def open(self, doors: Doors) -> None:
        """Let the checks know what is there, and everything from now on."""
        doors.checks.committed(None, list(self._written))
        self.doors = doors

    @contextlib.contextmanager
    def read(self) -> Iterator[orm.Session]:
        """As ever, while the database is there."""
        if self.doors is not None:
            self.doors.enter_database()
        with super().read() as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[orm.Session]:
        """As ever; the doors and the checks learn of it."""
        doors = self.doors
        if doors is None:
            with super().write() as session:
                yield session
            return
        doors.enter_database()
        self._written.clear()
        with super().write() as session:
            yield session
            doors.maybe_lost()
        if self._written:
            doors.checks.committed(doors.clock.current, list(self._written))
            doors.passed("commit")
        doors.maybe_lost()


class WatchedRest:
    """The sandbox's REST layer; the checks see what is asked and what it did."""

    def __init__(self, rest: Rest, doors: Doors) -> None:
        self._rest = rest
        self._doors = doors

    def handle(self, method: str, path: str, query: str, headers: Any, body: bytes) -> Response:
        """Answer, as `Rest` does."""
        checks = self._doors.checks
        checks.before_call(method, path, body)
        answer = self._rest.handle(method, path, query, headers, body)
        checks.after_call()
        return answer


class Wire(SandboxAdapter):
    """An engine's connections to Nova and Keystone."""

    def __init__(self, rest: Rest, doors: Doors) -> None:
        self._doors = doors
        super().__init__(WatchedRest(rest, doors), doors.clock)  # type: ignore[arg-type]

    def send(self, request: Any, **options: Any) -> requests.Response:
        """Carry a request, with a door on either side."""
        doors = self._doors
        doors.clock.check_alive()
        doors.passed("call")
        doors.checks.calls(doors.clock.current, request)
        if self._is_late(request):
            self._send_late(request)
        actor = doors.clock.current
        engine = actor.group if actor is not None and "/identity" in request.url else ""
        doors.logging_in[engine] += 1
        try:
            answer = super().send(request, **options)
        except requests.exceptions.RequestException:
            doors.logging_in[engine] -= 1
            doors.passed("answer")
            raise
        doors.logging_in[engine] -= 1
        doors.passed("answer")
        return answer

    def _is_late(self, request: Any) -> bool:
        late = self._doors.late_calls
        path = urllib.parse.urlsplit(request.url).path
        return late is not None and "/compute" in path and self._doors.chance.random() < late[0]

    def _send_late(self, request: Any) -> None:
        """The connection breaks, and Nova acts a while later all the same."""
        doors = self._doors
        assert doors.late_calls is not None
        url = urllib.parse.urlsplit(request.url)
        body = request.body or b""
        headers = {
            "host": url.netloc,
            **{_text(key).lower(): _text(value) for key, value in request.headers.items()},
        }

        def act() -> None:
            body_bytes = body.encode() if isinstance(body, str) else body
            self._rest.handle(request.method, url.path, url.query, headers, body_bytes)

        doors.clock.at(doors.clock.monotonic() + doors.late_calls[1], act)
        doors.passed("answer")
        raise requests.exceptions.ConnectionError(
            ProtocolError("Connection aborted.", RemoteDisconnected("simulated: no answer"))
        )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
