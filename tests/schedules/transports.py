# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The doors of the engines to the world: the database and Nova.

Only what goes through a door has an effect, so it is at the doors that engines
are killed or frozen, that calls and commits are lost, and that the checks look.
"""

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import requests
import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db.engine import Database, translated
from hacore.db.models import Base
from hacore.errors import DatabaseUnavailable
from hacore_sandbox.rest import Rest
from hacore_sandbox.wire import Response
from tests.schedules.actors import Actors
from tests.schedules.call_checks import Sent
from tests.schedules.checks import Checks
from tests.schedules.plans import Ambush, Crash
from tests.world import SandboxAdapter, broken_off

#: The columns that the checks are told of, by table; the first one is the key.
WATCHED = {
    "notifications": (
        "uuid", "type", "payload", "subject", "source_host_uuid", "created_at", "status", "owner",
        "attempt", "lease_until", "retry_at", "failures", "message", "held_rule", "approvals",
    ),
    "vmoves": (
        "uuid", "notification_uuid", "instance_uuid", "source_host", "dest_host", "status",
        "message", "locked", "vm_state", "created_at", "end_time",
    ),
    "proofs": ("uuid", "host_uuid", "void_at", "notification_uuid", "kind", "created_at"),
    "fencing_orders": ("id", "host_uuid", "notification_uuid", "device", "closed_at"),
    "recovery_events": ("id", "notification_uuid", "attempt", "message", "gate"),
    "hosts": (
        "uuid", "name", "reserved", "on_maintenance", "maintenance_by", "taken_by", "segment_uuid",
    ),
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
        #: Until when what was drawn here makes itself felt.
        self.felt_until = 0.0
        #: Until when the database keeps the lock of a row whose holder has no power, by its key.
        self.row_locks: dict[str, float] = {}
        #: Engines whose tokens are revoked, and how they are to freeze.
        self.reauth: dict[str, Ambush] = {}
        self._passed: dict[str, int] = {}
        self._ambushes: dict[str, list[Any]] = {}  #: by kind: how many are to come yet, and it
        self._strike: Callable[[str, Ambush, str], None] = lambda _name, _ambush, _kind: None
        self._may_strike: Callable[[str], bool] = lambda _name: False

    def lie_in_wait(
        self,
        ambushes: Iterable[Ambush],
        may_strike: Callable[[str], bool],
        strike: Callable[[str, Ambush, str], None],
    ) -> None:
        """Have `strike` called with an engine, its ambush and a kind of `Crash`, or none."""
        self._ambushes = {ambush.kind: [ambush.number, ambush] for ambush in ambushes}
        self._may_strike, self._strike = may_strike, strike

    def ambushed(self, kind: str, of: str) -> Ambush | None:
        """An engine does something; return the ambush that was laid for this."""
        actor = self.clock.current
        waiting = self._ambushes.get(kind)
        if waiting is None or actor is None or not self._may_strike(actor.group):
            return None
        if waiting[1].of in ("", of):
            waiting[0] -= 1
        return self._ambushes.pop(kind)[1] if waiting[0] == 0 else None

    def strike(self, ambush: Ambush, crash: str) -> None:
        """It happens now; a `crash` of kind kill does not return."""
        actor = self.clock.current
        assert actor is not None
        self._strike(actor.group, ambush, crash)
        self.clock.check_alive()

    def expect(self, engine: str, crash: Crash, happens: Callable[[Crash], None]) -> None:
        """This life of `engine` is to have this crash."""
        self.crashes[engine] = crash, happens

    def passed(self, kind: str) -> None:
        """An actor is at a door: `commit`, `call`, `login` (before them) or `answer`."""
        actor = self.clock.current
        if actor is None:
            return
        count = self._passed[actor.group] = self._passed.get(actor.group, 0) + 1
        crash, happens = self.crashes.get(actor.group, (None, None))
        # Nova has no fencing: who is frozen between its last look at the lease
        # and the call cannot be helped
        too_late = crash is not None and crash.kind == "freeze" and kind == "call"
        if crash is not None and happens is not None and count >= crash.door and not too_late:
            del self.crashes[actor.group]
            happens(crash)
            self.clock.check_alive()
        if kind not in ("call", "login") and self.chance.random() < self.politeness:
            self.clock.pass_time(0)

    # ----------------------------------------------------------- database

    def enter_database(self) -> None:
        """Raise Killed, or DatabaseUnavailable."""
        self.clock.check_alive()
        if self.database_away:
            with translated():
                raise db_exc.DBConnectionError("simulated: connection refused")

    def before_commit(self, written: list[tuple[Any, ...]]) -> None:
        """Raise Killed where the power fails, or RowLocked where it has failed before."""
        now = self.clock.monotonic()
        keys = set()
        for table, *values in written:
            row = dict(zip(WATCHED[table], values, strict=True))
            keys.add(row.get("notification_uuid", row.get("uuid")))
        if any(self.row_locks.get(key, 0.0) > now for key in keys):
            raise RowLocked
        for table in {table for table, *_ in written} & {"fencing_orders", "proofs"}:
            ambush = self.ambushed("device", f"{table} commit")
            if ambush is not None:
                self.strike(ambush, ambush.how)
        kind = self.checks.kind_of(written)
        ambush = self.ambushed("power", kind) if kind else None
        if ambush is not None:
            until = now + ambush.by_s
            self.felt_until = max(self.felt_until, until)
            self.row_locks |= dict.fromkeys(keys, until)
            self.strike(ambush, "kill")

    def maybe_lost(self) -> None:
        """The connection may break before, or after, the commit."""
        if self.lost_commits and self.chance.random() < self.lost_commits:
            with translated():
                raise db_exc.DBConnectionError("simulated: connection lost during the query")


class RowLocked(Exception):
    """Somebody else holds the lock of a row for too long."""


#: How long the database lets a transaction wait for a row, in these schedules.
_LOCK_WAIT_S = 3.0


class WatchedDatabase(Database):
    """Tells the checks of every row that is committed, whoever wrote it and however."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.doors: Doors | None = None  #: of the present schedule
        self._written: list[tuple[Any, ...]] = []

    def watch(self) -> None:
        """Put the triggers in; the tables are there already."""
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
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        self._written.clear()
        self._clock = clock

    def behind_the_doors(self, statement: Any) -> None:
        """Write what is no engine's doing; it is not watched."""
        with self.bind.begin() as connection:
            connection.execute(statement)

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
        try:
            with super().write() as session:
                yield session
                session.flush()
                doors.before_commit(self._written)
                doors.maybe_lost()
        except RowLocked as exc:
            if doors.clock.current is not None:
                doors.clock.pass_time(_LOCK_WAIT_S)
            raise DatabaseUnavailable("simulated: lock wait timeout exceeded") from exc
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

    def lose_cells(self, seconds: float) -> None:
        """Let Nova lose the database of the cell of all hosts for a while."""
        cloud = self._rest._cloud
        cloud.faults.put({"cells_down": dict.fromkeys(cloud.state.hosts, seconds)}, cloud.now)

    def revoke_tokens(self) -> None:
        """Let Nova refuse the tokens that there are."""
        self._rest._identity.tokens.clear()


#: What is listed, by a part of the URL.
_LISTS = {"/servers/detail": "list", "/os-migrations": "records"}


class Wire(SandboxAdapter):
    """An engine's connections to Nova and Keystone."""

    def __init__(self, rest: Rest, doors: Doors) -> None:
        self._doors = doors
        super().__init__(WatchedRest(rest, doors), doors.clock)  # type: ignore[arg-type]

    def send(self, request: Any, **options: Any) -> requests.Response:
        """Carry a request, with a door on either side."""
        doors = self._doors
        doors.clock.check_alive()
        nova = "/compute" in request.url
        doors.passed("call" if nova else "login")
        sent = doors.checks.calls(doors.clock.current, request)
        frozen = None
        if nova:
            if self._is_late():
                assert doors.late_calls is not None
                self._deliver(request, doors.late_calls[1], sent)
                raise self._broken_off()
            if sent is not None:
                self._ambush(request, sent)
        else:
            frozen = self._frozen("asking")
        what = next((of for part, of in _LISTS.items() if part in request.url), None)
        listed = doors.ambushed("cell", what) if what is not None else None
        if listed is not None and listed.how == "before":
            self._lose_cells(listed)
        try:
            answer = super().send(request, **options)
        except requests.exceptions.RequestException:
            doors.passed("answer")
            raise
        page = answer.headers["Content-Type"] == "text/html"  # of a proxy, not of Nova
        doors.checks.answered(sent, 502 if page else answer.status_code)
        if not nova and frozen is None:
            self._frozen("answered")
        if listed is not None and listed.how == "after":
            self._lose_cells(listed)
        doors.passed("answer")
        return answer

    def _lose_cells(self, ambush: Ambush) -> None:
        """Let Nova's API reach the database of no host's cell."""
        doors = self._doors
        doors.felt_until = max(doors.felt_until, doors.clock.monotonic() + ambush.by_s)
        self._rest.lose_cells(ambush.by_s)  # type: ignore[attr-defined]
        doors.strike(ambush, "")

    def _is_late(self) -> bool:
        late = self._doors.late_calls
        return late is not None and self._doors.chance.random() < late[0]

    def _broken_off(self) -> Exception:
        self._doors.passed("answer")
        return broken_off()

    def _deliver(self, request: Any, by_s: float, sent: Sent | None) -> None:
        """Let Nova act a while later, whoever has died meanwhile."""
        doors = self._doors
        doors.felt_until = max(doors.felt_until, doors.clock.monotonic() + by_s)
        self.deliver_late(request, by_s, lambda status: doors.checks.arrived(sent, status))

    def _ambush(self, request: Any, sent: Sent) -> None:
        """What may happen to an engine that changes something."""
        doors = self._doors
        ambush = doors.ambushed("reauth", sent.action)
        if ambush is not None:
            self._rest.revoke_tokens()  # type: ignore[attr-defined]
            doors.reauth[sent.engine] = ambush
        ambush = doors.ambushed("late lock", "") if sent.action == "lock" else None
        if ambush is not None:
            self._deliver(request, ambush.by_s, sent)
            doors.strike(ambush, ambush.how)
            raise self._broken_off()
        ambush = doors.ambushed("lost call", sent.action)
        if ambush is not None:
            if ambush.how != "never":
                self._deliver(request, ambush.by_s if ambush.how == "late" else 0.0, sent)
            doors.strike(ambush, "sigterm")
            raise self._broken_off()

    def _frozen(self, how: str) -> Ambush | None:
        """Freeze here an engine whose token was revoked, if this is where it is to."""
        actor = self._doors.clock.current
        ambush = self._doors.reauth.get(actor.group) if actor is not None else None
        if actor is None or ambush is None or ambush.how != how:
            return None
        del self._doors.reauth[actor.group]
        self._doors.strike(ambush, "freeze")
        return ambush
