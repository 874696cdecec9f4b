# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Evacuates the instances of a failed host: some at a time, all followed by one list of records.

Invariant: no instance is evacuated while an evacuation of it is under way at
Nova, or after one has succeeded.  What became of a call is read from Nova's
migration records, never from what the call seemed to return.

One thread (`Evacuation.run`) decides; the calls for single instances run on a
pool that all recoveries of the process share.  An instance is *in flight* from
when the window has a place for it until Nova has ended its evacuation.
"""

import collections
import dataclasses
import datetime
import logging
from typing import TYPE_CHECKING, Any

from hacore.db import moves
from hacore.db.models import Move
from hacore.engine.gates import RecoveryHeld
from hacore.engine.instance_evacuation import InstanceEvacuator, Verdict
from hacore.errors import NovaOutcomeUnknown
from hacore.nova import EVACUATED, LATE_S, NOT_EVACUATED, Instance, Migration
from hacore.states import MoveStatus, TaskState

if TYPE_CHECKING:  # it makes an Evacuation
    from hacore.engine.context import RecoveryContext

LOG = logging.getLogger(__name__)

#: How much older than the newest record the changed ones may be that are read: more than the
#: clocks of Nova's own machines differ.
_CLOCK_SLACK = datetime.timedelta(hours=1)
#: Calls for one instance that get no usable answer and leave no record, while Nova answers
#: others: then it is that instance which Nova cannot evacuate.
_MOST_UNANSWERED = 5
#: Up to this age the list that the task before has read is used: an instance that
#: waits for its turn is called by what was listed longer ago than that.
_LISTING_AGE_S = 5.0
#: Polls in the time that an evacuation takes; more only keep a slow Nova from its work.
_POLLS = 3


@dataclasses.dataclass(slots=True)
class _Flight:
    """An instance between its evacuate call and the verdict; times are monotonic."""

    move: Move
    call: Any  #: the future of InstanceEvacuator.start; None: an earlier claim called
    since: float  #: when it began, or when Nova accepted
    unknown: bool = False  #: the call failed without an answer
    has_place: bool = True  #: in the window
    watched: bool = False  #: its record may not say that it has arrived: it is read each time
    accepted: bool = False  #: Nova accepted the call of this claim at `since`
    decided: Verdict | None = None  #: there is nothing to wait for
    withheld: bool = False  #: a gate has not let it begin
    arrived: bool = False  #: Nova says done; that the host is another has yet to be read
    late_until: float = 0.0  #: until then a lock or a stop of an earlier claim may reach Nova


class Evacuation:
    """The evacuation of one host, under one claim.

    :param step: name of the task that it is part of, for the history.
    :param target: host to evacuate to; None lets Nova choose.
    """

    def __init__(self, context: "RecoveryContext", step: str, target: str | None) -> None:
        self._context = context
        self._pool = context.engine.calls
        self._window = context.engine.window
        self._nova = context.nova
        self._clock = context.clock
        self._host = context.claim.host_name
        self._evacuator = InstanceEvacuator(context, step, target)
        self._most = context.conf.host_failure_recovery_threads
        self._refusals = context.nova.refusals
        self._waiting: collections.deque[Move] = collections.deque()
        self._starting: collections.deque[tuple[float, Move]] = collections.deque()  # and when
        self._flights: list[_Flight] = []
        #: What has a verdict; not to be finished before the first of each.
        self._decided: list[tuple[float, Move, Verdict, float]] = []
        self._finishing: list[tuple[Move, Any]] = []  #: with the futures of what finishes them
        self._unlocking: list[Any] = []
        self._moves: dict[str, Move] = {}  #: of all instances of the host, by uuid
        self._instances: dict[str, Instance] = {}
        self._newest: dict[str, Migration] = {}
        self._unanswered: collections.Counter[int] = collections.Counter()  #: calls, by move id
        self._words: dict[int, str] = {}  #: what the last one of them failed with
        self._total = self._ended = 0
        self._held: RecoveryHeld | None = None  #: no evacuation begins any more

    def run(self) -> list[tuple[Move, str]]:
        """Bring every open move to a verdict; return those that failed, each with the reason.

        Raises Interrupted when the engine stops; RecoveryHeld where it became unsafe to go on,
        once what is under way at Nova has ended.
        """
        self._window.enter()
        try:
            self._begin()
            polled = self._clock.monotonic()
            while self._waiting or self._starting or self._flights:
                self._dispatch()
                self._finish_decided()  # second: these are back, and the next ones are not
                self._pause(polled)
                polled = self._clock.monotonic()
                self._poll()
            while self._decided:
                self._wait_until(min(not_before for not_before, *_ in self._decided))
                self._finish_decided()
            for unlocking in self._unlocking:
                unlocking.result()
            failed = self._failed()
            if self._held is not None:
                raise self._held
            return failed
        finally:
            self._window.leave(self._in_flight())
            # whatever happened: no call goes on after this returns
            calls = [flight.call for flight in self._flights if flight.call is not None]
            finishing = [future for _, future in self._finishing]
            for call in (*calls, *self._unlocking, *finishing):
                call.exception()

    def _failed(self) -> list[tuple[Move, str]]:
        """Return the failed moves with their reasons, in the order of evacuation."""
        ended = [(move, future.result()) for move, future in self._finishing]
        failed = [
            (move, verdict.message or "")
            for move, verdict in ended
            if verdict.status == MoveStatus.FAILED
        ]
        return sorted(failed, key=lambda each: each[0].position)

    # -------------------------------------------------------------- begin

    def _begin(self) -> None:
        rows = moves.all_of(self._context.db, self._context.claim.uuid)
        self._moves = {row.instance_uuid: row for row in rows}
        closed = (MoveStatus.SUCCEEDED, MoveStatus.IGNORED)
        open_rows = [row for row in rows if row.status not in closed]
        self._total = sum(row.status != MoveStatus.IGNORED for row in rows)
        self._ended = self._total - len(open_rows)
        for row in rows:
            if row.locked and row.status in closed:  # an earlier claim ended just there
                self._unlocking.append(self._pool.submit(self._evacuator.unlock, row))
        if open_rows:
            self._instances = self._context.instances_on(self._host, _LISTING_AGE_S)
            self._read_records()
        called_s = moves.seconds_since_calls(self._context.db, open_rows)
        now = self._clock.monotonic()
        for row in open_rows:
            # younger than this, what an earlier claim has sent may yet be carried out
            age_s = max(0.0, called_s.get(row.id, LATE_S))
            if not self._needs_call(row):
                self._window.add()
                # a lock or a stop; an evacuate call has arrived, as its record says
                late_s = LATE_S - age_s if row.called_at is None else 0.0
                self._flights.append(self._flight(row, None, now, late_until=now + late_s))
            elif age_s < LATE_S:
                self._window.add()
                self._flights.append(self._flight(row, None, now - age_s, unknown=True))
            else:
                self._waiting.append(row)

    def _needs_call(self, move: Move) -> bool:
        """Whether to call evacuate; else one is under way already: ours, or an operator's."""
        record = self._record_of(move)
        if record is None:
            return True
        # one that ended badly, before this attempt or without our doing, is followed by another
        return move.status != MoveStatus.ONGOING and record.status in NOT_EVACUATED

    # ----------------------------------------------------------- dispatch

    def _dispatch(self) -> None:
        """Give out the places of the window, and start what is due."""
        if self._held is not None:
            for _ in self._starting:
                self._window.give_back()
            self._starting.clear()
            self._waiting.clear()
        now = self._clock.monotonic()
        while self._waiting:
            start = self._window.take(self._in_flight(), self._most, now)
            if start is None:
                break
            self._starting.append((start, self._waiting.popleft()))
        while self._starting and self._starting[0][0] <= now:
            move = self._starting.popleft()[1]
            call = self._pool.submit(self._start, move) if self._needs_call(move) else None
            self._flights.append(self._flight(move, call, self._clock.monotonic()))

    def _flight(self, move: Move, call: Any, since: float, **facts: Any) -> _Flight:
        """Return a flight that has a place in the window."""
        instance = self._instances.get(move.instance_uuid)
        # Nova takes the first record of a server that is `accepted` for the evacuation's, also
        # that of a live migration: ours then never ends
        watched = instance is None or instance.task_state == TaskState.MIGRATING
        return _Flight(move, call, since, watched=watched, **facts)

    def _in_flight(self) -> int:
        return len(self._starting) + sum(flight.has_place for flight in self._flights)

    def _leave_window(self, flight: _Flight) -> None:
        if flight.has_place:
            flight.has_place = False
            self._window.give_back()

    def _start(self, move: Move) -> tuple[Verdict | None, float]:
        """Call; return what `InstanceEvacuator.start` does, and when; runs on the pool."""
        verdict = self._evacuator.start(
            move, self._instances.get(move.instance_uuid), self._newest.get(move.instance_uuid)
        )
        return verdict, self._clock.monotonic()

    # --------------------------------------------------------------- poll

    def _pause(self, polled: float) -> None:
        """Wait until the next poll; meanwhile start what is due."""
        poll_at = self._clock.monotonic() + self._until_poll_s(polled)
        while self._starting and self._starting[0][0] < poll_at:
            self._wait_until(self._starting[0][0])
            self._dispatch()
        self._wait_until(poll_at)

    def _wait_until(self, moment: float) -> None:
        self._context.guard.wait(max(0.0, moment - self._clock.monotonic()))

    def _until_poll_s(self, polled: float) -> float:
        """Seconds to the next poll: an interval after the last one, or half of it if that is over.

        The interval is a verify_interval, or longer where evacuations take long.
        """
        least_s = self._window.least_s or 0.0
        interval_s: float = max(self._context.conf.verify_interval, least_s / _POLLS)
        over_s = self._clock.monotonic() - polled
        return max(interval_s / 2, interval_s - over_s)

    def _poll(self) -> None:
        """Read Nova's records once, for all, and decide what has ended."""
        asked = self._clock.monotonic()
        self._context.fencing.keep_confirmed()
        unconfirmed = self._arrived()
        # unchanged ones need not be read: nothing but a change ends an evacuation
        self._read_records(changed=True)
        for flight in self._flights:
            if flight.call is not None and flight.call.done():
                self._answer(flight)
            self._look(flight)
            self._arrive(flight)
        self._dispatch()  # before the list, which takes its time in a Nova that is busy
        remaining: frozenset[str] | None = None
        # while others are in flight, a list at every second poll serves the arrivals of both
        if unconfirmed or (self._arrived() and not self._under_way()):
            remaining = self._remaining() or None
            if remaining is None:
                self._look_at_each()
        # time in which Nova did not answer is not the instances' time
        now = self._clock.monotonic()
        outage_s = max(0.0, now - asked - self._context.conf.verify_interval)
        flying = []
        for flight in self._flights:
            # not later than now: it may have begun when Nova was already unavailable
            flight.since = min(now, flight.since + outage_s)
            verdict = self._verdict(flight, remaining)
            if verdict is None:
                flying.append(flight)
            else:
                self._decide(flight, verdict)
        self._flights = [flight for flight in flying if not self._call_again(flight)]
        if self._nova.refusals > self._refusals:
            self._window.overloaded()
        self._refusals = self._nova.refusals

    def _arrived(self) -> bool:
        """Whether Nova says of some that they are done."""
        return any(flight.arrived for flight in self._flights)

    def _remaining(self) -> frozenset[str]:
        """Return the uuids of those that are on the host yet."""
        uuids = self._nova.uuids_on(self._host)
        known = self._moves.keys() | self._instances.keys()
        if uuids <= known:
            return uuids
        # a list without its filter?  One that shows the hosts is believed, or refused
        return frozenset(row.uuid for row in self._nova.instances_on(self._host))

    def _look_at_each(self) -> None:
        """Read those that Nova says are done: a list of none may be one without their cell."""
        for flight in self._flights:
            if flight.arrived and flight.decided is None:
                flight.decided = self._evacuator.arrived(flight.move)

    def _under_way(self) -> bool:
        """Whether Nova has some that have not ended."""
        return bool(self._starting) or any(
            not flight.arrived and self._verdict(flight, None) is None for flight in self._flights
        )

    def _look(self, flight: _Flight) -> None:
        """Where a record may not say what became of it, read the instance."""
        record = self._record_of(flight.move)
        if flight.call is not None or flight.decided is not None or record is None:
            return
        if record.status in NOT_EVACUATED:
            return
        if self._is_overdue(flight) or (flight.watched and record.status not in EVACUATED):
            flight.decided = self._evacuator.arrived(flight.move)

    def _arrive(self, flight: _Flight) -> None:
        """Where Nova says done, make room for the next one."""
        undecided = flight.call is None and flight.decided is None
        if undecided and self._is_lost_and_found(flight):  # Nova works on it after all
            flight.has_place = True
            self._window.add()
        if undecided and not flight.arrived and self._is_done(flight):
            flight.arrived = True
            if flight.accepted:
                self._window.took(self._clock.monotonic() - flight.since, self._most)
            self._leave_window(flight)

    def _read_records(self, *, changed: bool = False) -> None:
        """Read Nova's records; with `changed` only those that may have changed since the last time.

        Since when is taken from the records, for they are of Nova's clock.  To Nova a record
        that is new has not changed: whether there is one at all shows only without `changed`.
        """
        times = [record.changed_at for record in self._newest.values()]
        since = max(times) - _CLOCK_SLACK if changed and times else None
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
        return record is not None and record.status in EVACUATED

    def _verdict(self, flight: _Flight, remaining: frozenset[str] | None) -> Verdict | None:
        """Return what became of it, or None.

        :param remaining: who Nova says is on the host yet; None: it was not asked.
        """
        if flight.call is not None or flight.decided is not None or flight.withheld:
            return flight.decided
        record = self._record_of(flight.move)
        if self._is_done(flight):
            if remaining is None:
                return None
            # else Nova has yet to write the new host down, which it does a moment later
            if flight.move.instance_uuid not in remaining:
                return Verdict(MoveStatus.SUCCEEDED, record.dest_host if record else None)
        if record is not None and record.status in NOT_EVACUATED:
            return Verdict(MoveStatus.FAILED)
        if flight.unknown and record is None:
            return None  # nothing has begun that could time out: see _call_again
        if self._is_overdue(flight):
            return Verdict(
                MoveStatus.FAILED,
                record.dest_host if record is not None else None,  # it may arrive there yet
                message=_timed_out(
                    self._context.conf.wait_period_after_evacuation, flight.move, record
                ),
            )
        return None

    def _is_overdue(self, flight: _Flight) -> bool:
        timeout_s: float = self._context.conf.wait_period_after_evacuation
        return self._clock.monotonic() - flight.since > timeout_s

    def _is_lost_and_found(self, flight: _Flight) -> bool:
        """Whether a call seemed lost and has left a record."""
        left = not flight.has_place and not flight.arrived
        return flight.unknown and left and self._record_of(flight.move) is not None

    def _answer(self, flight: _Flight) -> None:
        """Note what the call returned."""
        call, flight.call = flight.call, None
        move = flight.move
        try:
            flight.decided, flight.since = call.result()
            flight.accepted = flight.decided is None
        except RecoveryHeld as exc:
            self._hold(flight, exc)
        except NovaOutcomeUnknown as exc:
            LOG.warning(
                "instance %s: %s; checking Nova for its migration record", move.instance_uuid, exc
            )
            flight.unknown, flight.since = True, self._clock.monotonic()
            self._unanswered[move.id] += 1
            self._words[move.id] = str(exc)
            # as far as is known Nova does not work on it: another one may have its place
            self._leave_window(flight)

    def _hold(self, flight: _Flight, held: RecoveryHeld) -> None:
        """Let nothing begin any more; this one has not."""
        if self._held is None:
            LOG.warning("host %s: %s", self._host, held)
        self._held = self._held or held
        self._leave_window(flight)
        flight.withheld = True

    def _call_again(self, flight: _Flight) -> bool:
        """Put back an instance whose call got no answer and left no record in good time.

        Behind all others: it may be one that Nova cannot evacuate.
        """
        if flight.withheld:
            return True
        if not flight.unknown or self._record_of(flight.move) is not None:
            return False
        if self._held is not None:
            self._leave_window(flight)
            return self._clock.monotonic() - flight.since >= LATE_S  # nothing of it can come
        if self._clock.monotonic() - flight.since < LATE_S:
            return False
        self._read_records()
        if self._record_of(flight.move) is not None:
            return False
        move = flight.move
        self._leave_window(flight)
        calls = self._unanswered[move.id]
        if calls < _MOST_UNANSWERED:
            self._waiting.append(move)
        else:
            message = f"{self._words[move.id]}; given up after {calls} such answers."
            self._decide(flight, Verdict(MoveStatus.FAILED, message=message))
        return True

    def _decide(self, flight: _Flight, verdict: Verdict) -> None:
        """Take the flight for ended, with this verdict."""
        self._leave_window(flight)
        self._ended += 1
        progress = self._ended / self._total if self._total else 1.0
        self._decided.append((flight.late_until, flight.move, verdict, progress))

    def _finish_decided(self) -> None:
        """Finish the moves that have a verdict, as far as that may be done now."""
        now = self._clock.monotonic()
        for not_before, move, verdict, progress in self._decided:
            if not_before <= now:
                call = self._pool.submit(self._evacuator.finish, move, verdict, progress)
                self._finishing.append((move, call))
        self._decided = [each for each in self._decided if each[0] > now]


def _timed_out(timeout_s: float, move: Move, record: Migration | None) -> str:
    waited = f"Timed out after {timeout_s} s waiting for the evacuation"
    if record is None:
        return f"{waited}."
    return (
        f"{waited} (migration {record.id}, which Nova shows as {record.status}): not called again "
        "before Nova has ended it; if no nova-compute works on it, evacuate the instance by hand "
        f"('openstack server evacuate {move.instance_uuid}')."
    )
