# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Evacuates the instances of a dead host: some at a time, watched all together.

Invariant: no instance is evacuated while an evacuation of it is under way at
Nova, or after one has succeeded.  What became of a call is read from Nova's
migration records, never from what the call seemed to return.

One thread (`Evacuation.run`) decides; the calls for single instances run on a
pool that all recoveries of the process share.  An instance is *in flight* from
its evacuate call to the verdict.
"""

import collections
import concurrent.futures
import dataclasses
import datetime
import logging
from typing import Any, Protocol

from hacore.db import moves
from hacore.db.models import Move
from hacore.engine.moving import Mover, Verdict
from hacore.engine.window import Window
from hacore.errors import NovaOutcomeUnknown
from hacore.nova import Instance, Migration
from hacore.states import MoveStatus
from hacore.tasks.base import Recovery

LOG = logging.getLogger(__name__)

#: Seconds in which a call that broke off may still turn up in Nova's records:
#: longer than a request waits in front of Nova's API.
UNKNOWN_GRACE_S = 15.0
#: How much older than the notification the records may be that are read: more
#: than the clocks of two machines differ.
_CLOCK_SLACK = datetime.timedelta(hours=1)

_DONE = frozenset({"done", "completed"})  # completed: the source host came back since
_ENDED_BADLY = frozenset({"failed", "error", "cancelled"})


class Pool(Protocol):
    """Where the calls for single instances run (a futurist executor)."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return a future."""


@dataclasses.dataclass(slots=True)
class _Flight:
    """An instance between its evacuate call and the verdict; times are monotonic."""

    move: Move
    call: Any  #: the future of Mover.start; None: an earlier claim called
    since: float  #: when it began, or when Nova accepted
    unknown: bool = False  #: the call broke off
    accepted: bool = False  #: Nova took the call of this claim at `since`


class Evacuation:
    """The evacuation of one host, in one attempt."""

    def __init__(
        self, pool: Pool, window: Window, recovery: Recovery, step: str, target: str | None
    ) -> None:
        self._pool = pool
        self._window = window
        self._recovery = recovery
        self._nova = recovery.nova
        self._clock = recovery.clock
        self._host = recovery.claim.host_name
        self._mover = Mover(recovery, step, target)
        self._most = recovery.conf.host_failure_recovery_threads
        self._refusals = recovery.nova.refusals
        self._waiting: collections.deque[Move] = collections.deque()
        self._flights: list[_Flight] = []
        self._settling: list[Any] = []
        self._instances: dict[str, Instance] = {}
        self._newest: dict[str, Migration] = {}
        self._total = self._ended = 0

    def run(self) -> None:
        """Bring every open move to a verdict.  Raises Interrupted when the engine stops."""
        self._window.enter()
        try:
            self._begin()
            while self._waiting or self._flights:
                self._dispatch()
                self._recovery.guard.wait(self._recovery.conf.verify_interval)
                self._watch()
            for future in self._settling:
                future.result()
        finally:
            self._window.leave(len(self._flights))
            # whatever happened: no call goes on after this returns
            calls = [flight.call for flight in self._flights if flight.call is not None]
            concurrent.futures.wait([*calls, *self._settling])

    # -------------------------------------------------------------- begin

    def _begin(self) -> None:
        rows = moves.all_of(self._recovery.db, self._recovery.claim.uuid)
        closed = (MoveStatus.SUCCEEDED, MoveStatus.IGNORED)
        open_rows = [row for row in rows if row.status not in closed]
        self._total = sum(row.status != MoveStatus.IGNORED for row in rows)
        self._ended = self._total - len(open_rows)
        for row in rows:
            if row.locked and row.status in closed:  # the claim before ended just there
                self._settling.append(self._pool.submit(self._mover.unlock, row))
        if open_rows:
            self._instances = {
                instance.uuid: instance for instance in self._nova.instances_on(self._host)
            }
            self._read_records()
        for row in open_rows:
            if self._needs_call(row):
                self._waiting.append(row)
            else:
                self._window.add()
                self._flights.append(_Flight(row, None, self._clock.monotonic()))

    def _needs_call(self, move: Move) -> bool:
        """Whether to call evacuate; else an evacuation of this recovery is there to watch."""
        record = self._record_of(move)
        if record is None:
            return True
        # a move that failed before and whose evacuation ended badly is tried anew
        return move.status == MoveStatus.FAILED and record.status in _ENDED_BADLY

    # ----------------------------------------------------------- dispatch

    def _dispatch(self) -> None:
        while self._waiting and self._window.take(len(self._flights), self._most):
            move = self._waiting.popleft()
            call = self._pool.submit(self._start, move)
            self._flights.append(_Flight(move, call, self._clock.monotonic()))

    def _start(self, move: Move) -> tuple[Verdict | None, float]:
        """Call; return what `Mover.start` does, and when; runs on the pool."""
        verdict = self._mover.start(
            move, self._instances.get(move.instance_uuid), self._newest.get(move.instance_uuid)
        )
        return verdict, self._clock.monotonic()

    # -------------------------------------------------------------- watch

    def _watch(self) -> None:
        """Read Nova's records once, for all, and settle what has come to an end."""
        asked = self._clock.monotonic()
        # unchanged ones need not be read: nothing but a change ends an evacuation
        self._read_records(self._recovery.claim.created_at - _CLOCK_SLACK)
        remaining: frozenset[str] = frozenset()
        if any(self._is_done(flight) for flight in self._flights):
            remaining = self._nova.uuids_on(self._host)
        # time in which Nova did not answer is not the instances' time
        outage_s = max(0.0, self._clock.monotonic() - asked - self._recovery.conf.verify_interval)
        flying = []
        for flight in self._flights:
            flight.since += outage_s
            verdict = self._verdict(flight, remaining)
            if verdict is None:
                flying.append(flight)
            else:
                self._land(flight, verdict)
        self._flights = [flight for flight in flying if not self._call_again(flight)]
        if self._nova.refusals > self._refusals:
            self._window.overloaded()
        self._refusals = self._nova.refusals

    def _read_records(self, since: datetime.datetime | None = None) -> None:
        """Take in Nova's records; with `since` only those that have changed since.

        To Nova a record that is new has not changed: whether there is one at
        all can only be told without `since`.
        """
        for record in self._nova.evacuations_from(self._host, since):
            known = self._newest.get(record.instance_uuid)
            if known is None or record.id >= known.id:
                self._newest[record.instance_uuid] = record

    def _record_of(self, move: Move) -> Migration | None:
        """Return the record of the evacuation that this recovery began, if there is one."""
        record = self._newest.get(move.instance_uuid)
        return record if record and record.id > move.migration_before else None

    def _is_done(self, flight: _Flight) -> bool:
        record = self._record_of(flight.move)
        return record is not None and record.status in _DONE

    def _verdict(self, flight: _Flight, remaining: frozenset[str]) -> Verdict | None:
        """Return what became of it, or None.  `remaining`: who Nova says is on the host yet."""
        if flight.call is not None:
            if not flight.call.done():
                return None
            decided = self._answer(flight)
            if decided is not None:
                return decided
        record = self._record_of(flight.move)
        # in `remaining`: Nova writes the new host down a moment later
        if self._is_done(flight) and flight.move.instance_uuid not in remaining:
            return Verdict(MoveStatus.SUCCEEDED, record.dest_host if record else None)
        if record is not None and record.status in _ENDED_BADLY:
            return Verdict(MoveStatus.FAILED)
        timeout_s = self._recovery.conf.wait_period_after_evacuation
        if self._clock.monotonic() - flight.since > timeout_s:
            return Verdict(
                MoveStatus.FAILED,
                message=f"Timeout: Nova did not end the evacuation within {timeout_s} s.",
            )
        return None

    def _answer(self, flight: _Flight) -> Verdict | None:
        """Take in what the call came to."""
        call, flight.call = flight.call, None
        verdict: Verdict | None = None
        try:
            verdict, flight.since = call.result()
        except NovaOutcomeUnknown as exc:
            LOG.warning("instance %s: %s; looking for its record", flight.move.instance_uuid, exc)
            flight.unknown, flight.since = True, self._clock.monotonic()
            return None
        flight.accepted = verdict is None
        return verdict

    def _call_again(self, flight: _Flight) -> bool:
        """Put back an instance whose call broke off and left no record in good time."""
        if not flight.unknown or self._record_of(flight.move) is not None:
            return False
        if self._clock.monotonic() - flight.since < UNKNOWN_GRACE_S:
            return False
        self._read_records()
        if self._record_of(flight.move) is not None:
            return False
        self._waiting.appendleft(flight.move)
        self._window.give_back()
        return True

    def _land(self, flight: _Flight, verdict: Verdict) -> None:
        """Make room for the next one, and have this one settled."""
        if verdict.status == MoveStatus.SUCCEEDED and flight.accepted:
            self._window.took(self._clock.monotonic() - flight.since, self._most)
        self._window.give_back()
        self._ended += 1
        progress = self._ended / self._total if self._total else 1.0
        self._settling.append(self._pool.submit(self._mover.settle, flight.move, verdict, progress))
