# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How many hosts are missing, as an engine sees it, for all of its recoveries that ask."""

import contextlib
import threading

from hacore.db import census
from hacore.db.census import Census, Seen
from hacore.db.engine import Database
from hacore.engine.watch import Watch
from hacore.states import SUSPECT_AFTER, Hearing


class CensusTaker:
    """Counts the hosts of the cloud, once for all recoveries that wait for it.

    When many hosts fail together, their recoveries ask together, and of a thousand hosts one
    count takes as long as the rest of the question.

    :ivar alone: held while the database is asked.
    """

    def __init__(self, db: Database, watch: Watch) -> None:
        self._db, self._watch = db, watch
        self.alone: contextlib.AbstractContextManager[object] = threading.Lock()
        self._begun = 0
        self._newest: tuple[int, Census] | None = None

    def take(self) -> Census:
        """Return a census that has begun after this call."""
        before = self._begun
        with self.alone:
            if self._newest is None or self._newest[0] <= before:
                self._begun += 1
                number = self._begun
                self._newest = number, census.take(self._db, seen_by(self._watch))
            return self._newest[1]


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
