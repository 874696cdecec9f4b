# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Does a proof that a host is off still stand?  It is void from when Nova hears the host."""

from hacore.clock import Clock
from hacore.db import proofs
from hacore.db.engine import Database
from hacore.db.proofs import Given
from hacore.engine.watch import Watch
from hacore.states import Hearing, ProofKind


class Proofs:
    """The proofs, as far as an engine can say by what it sees of the heartbeats."""

    def __init__(self, db: Database, clock: Clock, watch: Watch, lifetime_s: float) -> None:
        self._db, self._clock, self._watch = db, clock, watch
        self._lifetime_s = lifetime_s

    def of(self, host_uuid: str, notification_uuid: str) -> Given | None:
        """Return the newest one that stands for this recovery; None: none does, as far as is known.

        Those are void whose host was heard since.
        """
        for given in proofs.standing(self._db, host_uuid, notification_uuid, self._lifetime_s):
            since = self._clock.monotonic() - given.age_s
            if self._watch.heard_since(given.host, since):
                proofs.void(self._db, given, f"Nova hears {given.host}.")
            elif self._is_unheard(given, since):
                return given
        return None

    def _is_unheard(self, given: Given, since: float) -> bool:
        """Whether this engine can say that the host was not heard since."""
        pulse = self._watch.pulse(given.host)
        if pulse is None or pulse.beat is None or not self._watch.fresh():
            return False
        if not self._watch.known():  # this engine has seen too little to say more
            return pulse.beat == given.beat
        if pulse.hearing is Hearing.UNKNOWN:
            return False
        if given.kind is ProofKind.PACEMAKER and pulse.hearing is Hearing.HEARD:
            return False  # each node of the cluster says so, that one too: it must miss a heartbeat
        if pulse.beat == given.beat:
            return True
        if pulse.moved_unseen or not self._watch.has_watched_since(since):
            return False  # it may have been back meanwhile, and have died again
        # somebody's PUT has moved it, or a heartbeat that a broker had kept; not one that was noted
        # since the last look
        if given.beat is None or pulse.beat > given.beat:
            proofs.note_beat(self._db, given, pulse.beat)
        return True
