# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Between an engine and the world: its calls to Nova and to the database are seen, and can fail.

A dead engine gets through no door.
"""

import json
import re
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import requests
import sqlalchemy as sa

from hacore.db.engine import Database
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.rest import Rest
from tests.scenarios.clock import WorldClock
from tests.scenarios.log import Log
from tests.world import SandboxAdapter, broken_off

_COMPUTE = "/compute/v2.1"
_TARGET = re.compile(r"/compute/v2\.1/(servers|os-services|os-aggregates)/([^/?]+)")
_WRITES = ("INSERT", "UPDATE", "DELETE")


class NovaDoor(SandboxAdapter):
    """Carries requests, and tells of those that change something."""

    def __init__(self, rest: Rest, clock: WorldClock, cloud: Cloud, log: Log) -> None:
        super().__init__(rest, clock)
        self._world = clock
        self._cloud = cloud
        self._log = log
        #: Told of a call before it leaves.
        self.before: Callable[[str], None] = lambda _call: None
        self._leaving: Any = None
        self._is_late = False
        self.cut_off_until = 0.0  #: this engine's machine does not reach Nova

    def make_late(self, by_s: float) -> None:
        """The call that is about to leave reaches Nova so much later, and its answer nobody."""
        call, self._is_late = self._describe(self._leaving), True
        self.deliver_late(
            self._leaving,
            by_s,
            lambda status: self._log.world(f"{call} reaches Nova: {status}"),
        )

    def send(
        self, request: Any, *, timeout: float | None = None, **options: Any
    ) -> requests.Response:
        self._world.check_alive()
        call = self._describe(request)
        self._leaving, self._is_late = request, False
        if call is not None:
            self.before(call)
        begun = self._world.monotonic()
        try:
            if self._is_late or begun < self.cut_off_until:
                raise broken_off()
            answer = super().send(request, timeout=timeout, **options)
        except requests.exceptions.RequestException as exc:
            if call is not None:
                timed_out = isinstance(exc, requests.exceptions.Timeout)
                self._tell(call, "no answer yet" if timed_out else "no answer", begun)
            raise
        if call is not None:
            self._tell(call, _outcome(answer), begun)
        self._world.check_alive()
        return answer

    def _tell(self, call: str, outcome: str, begun: float) -> None:
        took_s = self._world.monotonic() - begun
        waited = f" ({took_s:.1f} s)" if took_s >= 0.1 else ""
        failed = outcome.startswith(("no answer", "429", "5"))
        if not failed or self._log.is_first_try(f"{call}: {outcome}"):
            self._log.line(f"> {call}: {outcome}{waited}")

    def _describe(self, request: Any) -> str | None:
        """The call in words; None for one that changes nothing."""
        path = urllib.parse.urlsplit(request.url).path
        target = _TARGET.match(path)
        if request.method == "GET" or target is None:
            return None
        kind, which = target.groups()
        body = json.loads(request.body)
        if kind == "os-services":
            return _of_service(self._cloud.state.services[which].host, body)
        ((action, values),) = body.items()
        if kind == "os-aggregates":
            name = self._cloud.state.aggregates[int(which)].name
            verb, where = ("add", "to") if action == "add_host" else ("remove", "from")
            return f"{verb} {values['host']} {where} aggregate {name}"
        return self._log.named(_of_server(which, action, values or {}))


def _of_server(uuid: str, action: str, values: Any) -> str:
    words = action.removeprefix("os-")
    if action == "evacuate":
        return f"evacuate {uuid}" + (f" to {values['host']}" if values.get("host") else "")
    if action == "os-resetState":
        return f"reset {uuid} to {values['state']}"
    return f"{words} {uuid}"


def _of_service(host: str, body: dict[str, Any]) -> str:
    if "forced_down" in body:
        return f"{'force down' if body['forced_down'] else 'force up'} {host}"
    if body["status"] == "enabled":
        return f"enable {host}"
    return f"disable {host} ({body.get('disabled_reason')})"


def _outcome(answer: requests.Response) -> str:
    if answer.status_code < 400:
        page = answer.headers["Content-Type"] == "text/html"
        return f"{answer.status_code}{', a page of HTML' if page else ''}"
    try:
        ((_, fault),) = answer.json().items()
        return f"{answer.status_code} {fault['message']}"
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


class DatabaseDoor:
    """Can be away, full, or lose the answer to a commit; tells what each commit has changed.

    What fails is the driver, as it does: SQLAlchemy and oslo.db make of it
    what they make of a real failure.
    """

    def __init__(self, db: Database, path: str, clock: WorldClock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._away: dict[str, float] = {}  # until when, by engine; "" is everybody
        self._full_until = 0.0
        self._lost_answers = 0
        self._own = sqlite3.connect(path, check_same_thread=False)
        self._version = 0
        self._told: dict[str, int] = {}  #: the last line, by table
        self._states: dict[str, str] = {}
        self.tells = False  #: not before the story begins
        engine = db.bind
        sa.event.listen(engine, "do_execute", self._execute)
        self._commit = engine.dialect.do_commit
        engine.dialect.do_commit = self._do_commit  # type: ignore[assignment, method-assign]

    def close(self) -> None:
        """Nobody comes through any more."""
        self._own.close()

    # ------------------------------------------------------------ outages

    def away(self, seconds: float, engine: str = "") -> None:
        """Nobody, or one engine, reaches the database for so long."""
        self._away[engine] = self._clock.monotonic() + seconds

    def full(self, seconds: float) -> None:
        """Nothing can be written for so long."""
        self._full_until = self._clock.monotonic() + seconds

    def lose_answer(self) -> None:
        """The connection breaks after the commit whose line is being told."""
        self._lost_answers += 1

    # -------------------------------------------------------------- reads

    def ended(self) -> bool:
        """Whether every notification and operation has, whoever reaches the database or not."""
        live = self._own.execute(
            "SELECT (SELECT count(*) FROM notifications "
            "WHERE status IN ('new', 'running', 'error')) + "
            "(SELECT count(*) FROM operations WHERE status NOT IN ('finished', 'failed'))"
        )
        return bool(live.fetchone()[0] == 0)

    def failed_moves(self, instance_uuid: str) -> list[str]:
        """Return the uuids of the moves of an instance that have failed."""
        rows = self._own.execute(
            "SELECT uuid FROM vmoves WHERE instance_uuid = ? AND status = 'failed'",
            (instance_uuid,),
        )
        return [uuid for (uuid,) in rows]

    # -------------------------------------------------------------- calls

    def _execute(self, _cursor: Any, statement: str, *_more: Any) -> None:
        self._clock.check_alive()
        now = self._clock.monotonic()
        who = ("", self._clock.group or "api")
        if any(self._away.get(name, 0.0) > now for name in who):
            # what SQLAlchemy takes for a connection that is gone
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
        if self._full_until > now and statement.lstrip().upper().startswith(_WRITES):
            raise sqlite3.OperationalError("database or disk is full")

    def _do_commit(self, connection: Any) -> None:
        self._clock.check_alive()
        self._commit(connection)
        (version,) = self._own.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        self._version = version
        story = list(self._story())
        parts = [*self._changes(), *(line for line, _ in story)]
        if parts and self.tells:
            said = [message.partition(": ")[2] or message for _, message in story if message]
            self._log.line("\n".join(parts), said=said)
        if self._lost_answers:
            self._lost_answers -= 1
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")

    # ------------------------------------------------------------ changes

    def _changes(self) -> list[str]:
        """What has changed since the last look: states of hosts and moves."""
        told: dict[str, list[str]] = {}
        for name, state in self._current():
            before = self._states.get(name)
            if state != before:
                self._states[name] = state
                told.setdefault(f"{before} -> {state}" if before else state, []).append(name)
        return [f"{', '.join(names)}: {change}" for change, names in told.items()]

    def _current(self) -> Iterator[tuple[str, str]]:
        hosts = self._own.execute(
            "SELECT name, on_maintenance, maintenance_by, reserved, taken_by FROM hosts ORDER BY id"
        )
        for name, on_maintenance, by, reserved, taken_by in hosts:
            yield name, self._log.named(host_marks(on_maintenance, by, reserved, taken_by))
        moves = self._own.execute(
            "SELECT uuid, notification_uuid, instance_name, status, locked FROM vmoves ORDER BY id"
        )
        for uuid, notification, instance, status, locked in moves:
            lock = ", the lock is ours" if locked else ""
            name = self._log.names[uuid] = f"{self._log.named(notification)}/{instance}"
            yield name, f"{status}{lock}"

    def _story(self) -> Iterator[tuple[str, str | None]]:
        """New lines of the stories of recoveries and operations, and the message in each."""
        for number, uuid in self._own.execute("SELECT id, uuid FROM operations"):
            self._log.names[uuid] = f"o{number}"
        for table, column in (
            ("recovery_events", "notification_uuid"),
            ("operation_events", "operation_uuid"),
        ):
            rows = self._own.execute(
                f"SELECT id, {column}, step, state, progress, message FROM {table} "
                "WHERE id > ? ORDER BY id",
                (self._told.get(table, 0),),
            ).fetchall()
            for row_id, uuid, step, state, progress, message in rows:
                self._told[table] = row_id
                done = None if progress is None else f"{progress:.0%}"
                head = " ".join(part for part in (uuid, step, state, done) if part)
                yield f"[{head}] {message or ''}".rstrip(), message


def host_marks(on_maintenance: bool, by: str | None, reserved: bool, taken_by: str | None) -> str:
    """What hacore has noted of a host, in words."""
    marks = []
    if on_maintenance:
        marks.append(f"on maintenance by {by or 'an operator'}")
    if reserved:
        marks.append("reserved")
    if taken_by:
        marks.append(f"taken by {taken_by}")
    return ", ".join(marks) or "in use"
