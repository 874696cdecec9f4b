# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Looks at instances together: one list per host and interval, however many wait."""

import dataclasses
import threading

from hacore.clock import Clock
from hacore.nova import Instance, Nova


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
        with self._lock:
            listing = self._listings.setdefault(host, _Listing(threading.Lock()))
        with listing.lock:
            now = self._clock.monotonic()
            if listing.begun < max(after, now - self._interval_s):
                rows = nova.instances_on(host)
                listing.begun = now
                listing.instances = {row.uuid: row for row in rows}
            instance = listing.instances.get(uuid)
        return instance or nova.instance(uuid)  # moved, or gone
