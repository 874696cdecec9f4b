# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Pending events, and queues of work; on a clock passed in.

Nothing happens until `Timeline.advance` is called: it runs every event that is
due, in order, each at its own time.
"""

import datetime
import heapq
from collections.abc import Callable

from hacore.clock import Clock


class Timeline:
    """The pending events, and the time as of the last `advance`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._started_at = clock.now()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._now = 0.0

    @property
    def now(self) -> float:
        """Seconds since the start, as of the last event."""
        return self._now

    def at(self, when: float) -> datetime.datetime:
        """`when` as a wall-clock time (UTC)."""
        return self._started_at + datetime.timedelta(seconds=when)

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` in `delay_s` seconds."""
        self._count += 1  # events of the same time run in the order in which they were added
        heapq.heappush(self._events, (self._now + max(0.0, delay_s), self._count, action))

    def advance(self) -> None:
        """Run the events that are due."""
        target = self._clock.monotonic() - self._started
        while self._events and self._events[0][0] <= target:
            when, _, action = heapq.heappop(self._events)
            self._now = max(self._now, when)
            action()
        self._now = max(self._now, target)


class Station:
    """A limited number of workers with one queue.

    Work must be queued in the order of time; `wait_s` returns at once how long a
    piece takes until it is done, waiting included.
    """

    def __init__(self, workers: int) -> None:
        self._free_at = [0.0] * max(1, workers)

    def wait_s(self, now: float, work_s: float) -> float:
        """Queue `work_s` at `now`; the seconds until it is done."""
        start = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, start + work_s)
        return start + work_s - now


class Slots:
    """A limited number of slots, each occupied for a time not known in advance."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[Callable[[], None]] = []

    def take(self, action: Callable[[], None]) -> None:
        """Run `action` as soon as a slot is free: now, or in a later `give_back`."""
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
