# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How many hosts are missing, as an engine sees it, for all of its recoveries that ask."""

import contextlib
import dataclasses
import math
import threading

from hacore.clock import Clock
from hacore.db import census
from hacore.db.census import Census, Seen, Sizes
from hacore.db.engine import Database
from hacore.engine.watch import Watch
from hacore.states import SUSPECT_AFTER, Hearing

#: Seconds after which the hosts are counted again: who is missing changes, how many there are does
#: so only when a person registers one, or puts it on maintenance.
_SIZES_S = 1.0


class CensusTaker:
    """Counts the hosts of the cloud, once for all recoveries that wait for it.

    When many hosts fail together their recoveries ask together.

    :ivar alone: held while the database is asked.
    """

    def __init__(self, db: Database, clock: Clock, watch: Watch) -> None:
        self._db, self._clock, self._watch = db, clock, watch
        self.alone: contextlib.AbstractContextManager[object] = threading.Lock()
        self._begun = 0
        self._newest: tuple[int, Census] | None = None
        self._sizes: Sizes = {}
        self._sized_at = -math.inf
        #: The look that `seen` is of, and when it was made of that.
        self._look: object = None
        self._seen, self._seen_at = Seen({}, (), {}, 0.0), -math.inf

    def take(self) -> Census:
        """Return a census that has begun after this call."""
        before = self._begun
        with self.alone:
            if self._newest is None or self._newest[0] <= before:
                self._begun += 1
                number = self._begun
                self._newest = number, self._take()
            return self._newest[1]

    def _take(self) -> Census:
        now = self._clock.monotonic()
        if now - self._sized_at >= _SIZES_S:
            self._sizes, self._sized_at = census.count(self._db), now
        return census.take(self._db, self._see(), self._sizes)

    def _see(self) -> Seen:
        now = self._clock.monotonic()
        look = self._watch.looked_at, self._watch.known()
        if self._look != look:  # else only time has passed
            self._look, self._seen, self._seen_at = look, seen_by(self._watch), now
        return dataclasses.replace(self._seen, old_s=now - self._seen_at)


def seen_by(watch: Watch) -> Seen:
    """Return what hosts are counted by."""
    pulses = watch.pulses()
    unheard = (Hearing.SUSPECT, Hearing.SILENT)
    return Seen(
        zones={pulse.host: pulse.zone for pulse in pulses},
        unheard=frozenset(pulse.host for pulse in pulses if pulse.down or pulse.hearing in unheard),
        heard_s={
            pulse.host: pulse.age_s
            for pulse in pulses
            if pulse.hearing is Hearing.HEARD and pulse.age_s is not None
        },
        least_s=SUSPECT_AFTER * watch.interval_s,
    )
