# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is retried, how long, and the guard that every call asks.

Not tenacity: its `stop_after_delay` reads time.monotonic and its
`wait_random_exponential` the module `random`, so neither runs on the clock and the
seed that tests and simulations inject.
"""

import contextvars
import logging
import random
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from hacore import errors
from hacore.clock import Clock
from hacore.nova.translation import CLIENT_ERRORS, translated

LOG = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds in which a call whose connection ended may still be carried out: longer than a
#: request waits in front of Nova's API.
LATE_S = 15.0

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.25, 10.0


class Guard(Protocol):
    """Whether the work that a call is part of may go on."""

    def check(self) -> None:
        """Raise Interrupted (or LeaseLost) if it may not."""

    def wait(self, seconds: float) -> None:
        """Sleep; raise like `check` as soon as it may not."""


class Unguarded:
    """The guard of calls that are part of no recovery."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._never = threading.Event()

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Sleep."""
        self._clock.wait(self._never, seconds)


#: The guard of the call that is being made, of each thread (and green thread) its own.
CURRENT_GUARD: contextvars.ContextVar[Guard | None] = contextvars.ContextVar("guard", default=None)


class Retrier:
    """Makes the calls of one recovery, or of whoever is part of none.

    :param timeout_s: for how long a call is retried.
    :ivar refusals: how often Nova or Keystone was unavailable for a call.  Of the calls that
        change one instance, the first counts: what one instance causes is no overload.
    """

    def __init__(self, clock: Clock, rng: random.Random, timeout_s: float, guard: Guard) -> None:
        self._clock, self._random, self._timeout_s = clock, rng, timeout_s
        self._guard = guard
        self.refusals = 0
        self._refused: set[str] = set()  #: instances

    def guarded_by(self, guard: Guard) -> "Retrier":
        """Return one like this for another recovery."""
        return Retrier(self._clock, self._random, self._timeout_s, guard)

    def call(
        self,
        call: Callable[[], T],
        what: str,
        *,
        repeatable: bool = True,
        undone_later: bool = False,
        instance: str | None = None,
    ) -> T:
        """Call until it succeeds, Nova refuses, or the retry timeout is over.

        :param what: what `call` does, for messages: "lock instance U".
        :param repeatable: also where its outcome is not known.
        :param undone_later: what follows may undo this: a try without an answer must not
            be carried out after that, so its time is waited out, also where another fails.
        :param instance: uuid of the one that `call` changes.
        """
        deadline = self._clock.monotonic() + self._timeout_s
        backoff_s = _FIRST_BACKOFF_S
        late_until = 0.0
        while True:
            self._guard.check()
            try:
                result = self._guarded(call)
            except CLIENT_ERRORS as exc:
                error = translated(exc, what)
                now = self._clock.monotonic()
                unknown = isinstance(error, errors.NovaOutcomeUnknown)
                unavailable = unknown or isinstance(error, errors.TransientNovaError)
                if unavailable:
                    self._count(instance)
                if unknown and undone_later:
                    late_until = now + LATE_S
                again = unavailable and (repeatable or not unknown)
                if not again or now >= deadline:
                    self._wait_until(late_until)
                    raise self._given_up(error) if again else error from exc
                # a proxy may ask for hours
                asked_s = min(getattr(exc, "retry_after", 0), deadline - now)
                pause_s = max(asked_s, self._random.uniform(backoff_s / 2, backoff_s))
                LOG.warning("%s; retrying in %.1f s", error, pause_s)
            else:
                self._wait_until(late_until)
                return result
            self._guard.wait(pause_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _count(self, instance: str | None) -> None:
        if instance not in self._refused:
            self.refusals += 1
        if instance is not None:
            self._refused.add(instance)

    def _given_up(self, error: errors.NovaError) -> errors.NovaError:
        return errors.TransientNovaError(f"{error} (tried for {self._timeout_s:g} s)")

    def _wait_until(self, moment: float) -> None:
        late_s = moment - self._clock.monotonic()
        if late_s > 0:
            self._guard.wait(late_s)

    def _guarded(self, call: Callable[[], T]) -> T:
        """Call; the guard is asked before every request of it."""
        token = CURRENT_GUARD.set(self._guard)
        try:
            return call()
        finally:
            CURRENT_GUARD.reset(token)
