# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Pending events, and stations where work queues; on a clock that is given.

Lazy: nothing happens until somebody calls `Timeline.advance`, which then runs
every event that has come due, in order, each at its own moment.
"""

import datetime
import heapq
from collections.abc import Callable

from hacore.clock import Clock


class Timeline:
    """The events to come, and the time as of the last advance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._started_at = clock.now()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._now = 0.0

    @property
    def now(self) -> float:
        """Seconds since the start, as far as events have been run."""
        return self._now

    @property
    def pending(self) -> int:
        return len(self._events)

    def at(self, when: float) -> datetime.datetime:
        """`when` as a wall-clock time (UTC)."""
        return self._started_at + datetime.timedelta(seconds=when)

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` when `delay_s` has passed."""
        self._count += 1  # so that events of one moment run in the order they were made
        heapq.heappush(self._events, (self._now + max(0.0, delay_s), self._count, action))

    def advance(self) -> None:
        """Run what has come due."""
        target = self._clock.monotonic() - self._started
        while self._events and self._events[0][0] <= target:
            when, _, action = heapq.heappop(self._events)
            self._now = max(self._now, when)
            action()
        self._now = max(self._now, target)


class Station:
    """A limited number of workers with one queue in front of them.

    Work must be brought in the order of time; each piece is told at once how
    long it takes until it is done, waiting included.
    """

    def __init__(self, workers: int) -> None:
        self._free_at = [0.0] * max(1, workers)

    def wait_s(self, now: float, work_s: float) -> float:
        """Queue `work_s` at `now`; the seconds until it is done."""
        start = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, start + work_s)
        return start + work_s - now


class Slots:
    """A limited number of places, each held for a time unknown in advance."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[Callable[[], None]] = []

    def take(self, action: Callable[[], None]) -> None:
        """Run `action` as soon as there is a place: now, or in a later `give_back`."""
        if self._free > 0:
            self._free -= 1
            action()
        else:
            self._waiting.append(action)

    def give_back(self) -> None:
        if self._waiting:
            self._waiting.pop(0)()
        else:
            self._free += 1
