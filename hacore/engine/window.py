# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How many evacuations to have in flight, learned while they run.

More in flight than Nova works on only wait in its queues, and every customer
waits for the last one; fewer leave it idle.  As TCP Vegas does, the window
compares how long evacuations take with how long they took when they took least:
the part above is waiting, and ``size * waiting / time`` of them are queued, with
the time until the verdict is seen, for that is how long a place is taken.  It
grows while few are queued and shrinks while many are, so it follows a Nova that
slows down or speeds up.  One window serves all recoveries of an engine; the
windows of several engines settle beside each other, for each sees the queue
that the others make.

Starts are spread (TCP calls it pacing): Nova works on all at a time, so that what
starts together ends together, and Nova idles until that has been seen.
"""

import logging
import threading

LOG = logging.getLogger(__name__)

#: Good for a small Nova (measured: 6 to 20 in flight make 50 evacuations equally
#: fast, 6 bring each one back soonest), and a few rounds from a large one's.
INITIAL_LIMIT = 6.0
#: Evacuations that may wait in Nova: enough to keep it busy between two polls...
ALPHA = 2.0
#: ...and no more than this.
BETA = 3.5
#: The least time grows by this factor per verdict: Nova may have changed.
_BASELINE_DECAY = 1.002
#: Weight of the newest time in the average: evacuations differ among themselves.
_NEWEST_WEIGHT = 0.2
#: Verdicts before the average means something.
_MIN_VERDICTS = 3
#: Seconds that an evacuation is taken to last until some have ended.
_INITIAL_S = 3.0
#: As many may start at once; others follow one by one.
_START_BURST = 3


class Window:
    """The window of one engine; used by the threads of all its recoveries.

    :param interval_s: between two polls of Nova, at least: by half of it, on
        average, a verdict is seen late, which is not time that Nova needed.  Where polls
        are rarer, the rest counts as waiting.
    """

    def __init__(self, interval_s: float) -> None:
        self._lock = threading.Lock()
        self._late_s = interval_s / 2
        self._size = INITIAL_LIMIT
        self._least_s: float | None = None
        self._usual_s: float | None = None
        self._verdicts = 0
        self._limits = False  # somebody has waited for room since there was some
        self._recoveries = 0
        self._in_flight = 0
        self._next_start = float("-inf")  # monotonic

    @property
    def size(self) -> float:
        """How many evacuations should be in flight, all recoveries together."""
        return self._size

    def enter(self) -> None:
        """A recovery begins to evacuate."""
        with self._lock:
            self._recoveries += 1

    def leave(self, in_flight: int) -> None:
        """A recovery has ended, with so many still in flight."""
        with self._lock:
            self._recoveries -= 1
            self._in_flight -= in_flight

    @property
    def least_s(self) -> float | None:
        """How long evacuations take when they take least, on average; None: not known yet."""
        return self._least_s

    def take(self, mine: int, most: int, now: float) -> float | None:
        """Let a recovery with `mine` in flight start another, and count it.

        Its share is always free to it, so that no host starves; what others
        leave free it may have too.

        :param most: that one recovery may have in flight.
        :param now: monotonic time.

        Returns when to start it, `now` or soon; None when there is no room.
        """
        with self._lock:
            share = max(1.0, self._size / max(1, self._recoveries))
            self._limits = mine >= share and self._in_flight >= self._size
            if mine >= most or self._limits:
                return None
            self._in_flight += 1
            return self._start_at(now)

    def _start_at(self, now: float) -> float:
        """Return when the one just taken may start: with a few others, or one by one."""
        taking_s = self._least_s if self._least_s is not None else _INITIAL_S
        apart_s = taking_s / self._size
        start = max(self._next_start, now - (_START_BURST - 1) * apart_s)
        # shares may be more than the window: no start waits for long
        self._next_start = min(start + apart_s, now + taking_s / 2)
        return max(start, now)

    def add(self) -> None:
        """Count one that is in flight already."""
        with self._lock:
            self._in_flight += 1

    def give_back(self) -> None:
        """One in flight has ended, in whichever way."""
        with self._lock:
            self._in_flight -= 1

    def took(self, seconds: float, most: int) -> None:
        """An evacuation ended so long after its call: learn from it.

        :param most: that one recovery may have in flight.
        """
        with self._lock:
            seconds = max(seconds - self._late_s, 0.001)
            usual = self._usual_s if self._usual_s is not None else seconds
            self._usual_s = usual = usual + _NEWEST_WEIGHT * (seconds - usual)
            self._verdicts += 1
            if self._verdicts < _MIN_VERDICTS:
                return
            least = usual if self._least_s is None else min(self._least_s * _BASELINE_DECAY, usual)
            self._least_s = least
            # shorter than it may be seen late: perhaps no waiting at all
            waiting = max(0.0, usual - least - self._late_s)
            queued = self._size * waiting / (usual + self._late_s)
            was = self._size
            if queued < ALPHA and self._limits:
                self._size += 1.0  # doubles in the time of one evacuation
            elif queued > BETA:
                self._size -= (queued - BETA) / self._size
            self._size = min(max(self._size, 1.0), float(most * max(1, self._recoveries)))
        if int(was) != int(self._size):
            LOG.debug(
                "evacuation window %d: evacuations take %.1f s, at least %.1f s, %.1f are queued",
                self._size,
                usual,
                least,
                queued,
            )

    def overloaded(self) -> None:
        """Nova answers that it is busy, or with errors: have half as many in flight."""
        with self._lock:
            self._size = max(1.0, self._size / 2)
        LOG.info("Nova is overloaded; evacuation window halved to %d", self._size)
