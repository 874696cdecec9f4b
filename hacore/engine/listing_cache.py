# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Lists of instances shared by recoveries: one request per host and interval, however many wait."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable

from hacore.clock import Clock
from hacore.nova import Instance, Nova

#: Seconds after which a listing is dropped; more than any verify_interval that makes sense.
_KEPT_S = 60.0

#: What is held while a host is listed.
Lock = contextlib.AbstractContextManager[object]


@dataclasses.dataclass(slots=True)
class _Listing:
    """What a host was last seen to have; ``lock`` is held while it is listed again."""

    lock: Lock
    begun: float = float("-inf")  #: monotonic
    instances: dict[str, Instance] = dataclasses.field(default_factory=dict)


class ListingCache:
    """Shared by all recoveries of an engine.

    :param interval_s: how old a listing may be to be used by another recovery.
    :param make_lock: makes the lock of a host; it is held while Nova is asked.
    """

    def __init__(
        self, clock: Clock, interval_s: float, make_lock: Callable[[], Lock] = threading.Lock
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._make_lock = make_lock
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}

    def instance(self, nova: Nova, uuid: str, host: str, after: float) -> Instance:
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
            self._drop_old()
            listing = self._listings.get(host)
            if listing is None:
                listing = self._listings[host] = _Listing(self._make_lock())
        with listing.lock:
            if listing.begun < after:
                begun = self._clock.monotonic()
                rows = nova.instances_on(host)
                listing.begun = begun
                listing.instances = {row.uuid: row for row in rows}
            return listing.instances

    def _drop_old(self) -> None:
        """Drop listings that nobody has used for long: all hosts of a cloud fail one day."""
        limit = self._clock.monotonic() - _KEPT_S
        for host, listing in list(self._listings.items()):
            if float("-inf") < listing.begun < limit:
                del self._listings[host]
