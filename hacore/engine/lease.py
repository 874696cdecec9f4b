# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Whether work may go on: that on a claim, by the engine's own view of its lease, or any other.

That view is stricter than the database: an engine that could not renew stops before
its lease ends there, not after.
"""

import threading

from hacore.clock import Clock
from hacore.errors import Interrupted, LeaseLost


class Lease:
    """The guard (`hacore.nova.Guard`) of one claim.

    :param lease_s: how long a renewal lasts.
    :param renewed_at: monotonic time just before the claim was written.
    """

    def __init__(self, clock: Clock, lease_s: float, renewed_at: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._until = renewed_at + lease_s
        self._ended = threading.Event()
        self._why: Interrupted | None = None

    def renewed(self, at: float) -> None:
        """The database has renewed the lease; `at`: monotonic time just before it was asked."""
        self._until = at + self._lease_s

    def end(self, why: Interrupted) -> None:
        """Make `check` and `wait` raise `why` from now on; the first reason counts."""
        self._why = self._why or why
        self._ended.set()

    def check(self) -> None:
        """Raise Interrupted, or LeaseLost, unless the work may go on."""
        if self._why is not None:
            raise self._why
        if self._clock.monotonic() > self._until:
            raise LeaseLost("The lease could not be renewed in time.")

    def wait(self, seconds: float) -> None:
        """Sleep; raise like `check`, at once when the work may not go on."""
        self.check()
        self._clock.wait(self._ended, seconds)
        self.check()


class Until:
    """The guard of work that no claim bounds: it goes on until the engine is stopped."""

    def __init__(self, clock: Clock, stopped: threading.Event) -> None:
        self._clock, self._stopped = clock, stopped

    def check(self) -> None:
        """Raise Interrupted once it is."""
        if self._stopped.is_set():
            raise Interrupted("the engine is stopping")

    def wait(self, seconds: float) -> None:
        """Sleep; raise as soon as it is."""
        self._clock.wait(self._stopped, seconds)
        self.check()
