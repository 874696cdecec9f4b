# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Looks at instances together: one list per host and interval, however many wait."""

import dataclasses
import threading

from hacore.clock import Clock
from hacore.nova import Instance, Nova

#: Seconds after which a listing is dropped; more than any verify_interval that makes sense.
_KEPT_S = 60.0


@dataclasses.dataclass(slots=True)
class _Listing:
    """What a host was last seen to have; ``lock`` is held while it is listed anew."""

    lock: threading.Lock
    begun: float = float("-inf")  #: monotonic
    instances: dict[str, Instance] = dataclasses.field(default_factory=dict)


class Watcher:
    """Shared by all recoveries of an engine.

    :param interval_s: how old a listing may be to be used by another one.
    """

    def __init__(self, clock: Clock, interval_s: float) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}

    def look(self, nova: Nova, uuid: str, host: str, after: float) -> Instance:
        """Return the instance as Nova showed it after the moment `after` (monotonic).

        Raises NovaNotFound when it is gone.

        :param nova: asks, where a new listing is needed.
        :param host: where the instance is expected to be.
        """
        recent = self._clock.monotonic() - self._interval_s
        instance = self.listing(nova, host, max(after, recent)).get(uuid)
        return instance or nova.instance(uuid)  # moved, or gone

    def listing(self, nova: Nova, host: str, after: float) -> dict[str, Instance]:
        """Return the instances of `host` by uuid, as Nova showed them after `after` (monotonic)."""
        with self._lock:
            self._forget()
            listing = self._listings.setdefault(host, _Listing(threading.Lock()))
        with listing.lock:
            if listing.begun < after:
                begun = self._clock.monotonic()
                rows = nova.instances_on(host)
                listing.begun = begun
                listing.instances = {row.uuid: row for row in rows}
            return listing.instances

    def _forget(self) -> None:
        """Drop what nobody has looked at for long: all hosts of a cloud fail one day."""
        limit = self._clock.monotonic() - _KEPT_S
        for host, listing in list(self._listings.items()):
            if float("-inf") < listing.begun < limit:
                del self._listings[host]
