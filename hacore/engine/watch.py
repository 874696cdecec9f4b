# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The looks of this engine at the heartbeats of Nova's services.

Every engine looks for itself, and decides by what it has seen.  One of them, by a lease, also
writes that down for the API and the terminal (`hacore.db.watch`).
"""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator

from oslo_config import cfg

from hacore.clock import Clock
from hacore.db import watch
from hacore.db.engine import Database
from hacore.errors import DatabaseUnavailable, NovaError, NovaForbidden
from hacore.nova import Nova
from hacore.nova.heartbeats import Heartbeats, Illness, Pulse

LOG = logging.getLogger(__name__)

#: Seconds without a look of any engine after which what was reported meanwhile may be anything.
_ABSENCE_S = 60.0
#: What has not changed is written again after so much of a report interval: in time for
#: hacore.db.watch.is_current, also where the next look comes late.
_RENEWED = 0.75
#: Looks for which who writes keeps that right.
_LEASE_LOOKS = 4


class Watch:
    """Looks, remembers, and is asked by many threads.

    :param owner: name of this engine, unlike any other's.
    :param looked: called after each look, on the thread that looks.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        db: Database,
        nova: Nova,
        clock: Clock,
        owner: str,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        self._conf, self._db, self._nova, self._clock = conf, db, nova, clock
        self._owner = owner
        self.looked = looked
        self._hearts = Heartbeats(conf.nova.report_interval, _learned_before(db))
        #: This is the engine that writes for all.
        self.writes = False
        #: No engine looked for a minute before this one started.
        self.after_absence = _nobody_looked(db)
        self._lock = threading.Lock()
        self._waiting = 0
        self._woken = threading.Event()
        self._listed = self._written = True
        self._wrote_at = -math.inf
        self._wrote: object = None  #: what was seen then

    # ------------------------------------------------------------- asking

    def known(self) -> bool:
        """Whether Nova has been watched long enough to say who is silent."""
        with self._lock:
            return self._hearts.known(self._clock.monotonic())

    def fresh(self) -> bool:
        """Whether what is known is at most two looks old."""
        with self._lock:
            return self._hearts.fresh(self._clock.monotonic())

    def pulse(self, host: str) -> Pulse | None:
        """Return what is known of a host; None: Nova lists no nova-compute of it."""
        with self._lock:
            return self._hearts.pulse(host, self._clock.monotonic())

    def has_watched_since(self, moment: float) -> bool:
        """Whether this engine has watched Nova since `moment` of the monotonic clock."""
        with self._lock:
            return self._hearts.has_watched_since(moment)

    def heard_since(self, host: str, moment: float) -> bool:
        """Whether Nova has heard a host since `moment` of the monotonic clock."""
        with self._lock:
            return self._hearts.heard_since(host, moment)

    def pulses(self) -> list[Pulse]:
        """Return what is known of all hosts."""
        with self._lock:
            return self._hearts.pulses(self._clock.monotonic())

    def illness(self) -> Illness | None:
        """Return what ails Nova, or None."""
        with self._lock:
            return self._hearts.illness(self._clock.monotonic())

    def settling_s(self) -> float:
        """For how many seconds no host can become silent, because Nova has just been ill."""
        with self._lock:
            return self._hearts.settling_s(self._clock.monotonic())

    @property
    def looked_at(self) -> float | None:
        """When what is known was asked for, by the monotonic clock; None: nothing is known."""
        with self._lock:
            return self._hearts.looked_at

    @property
    def interval_s(self) -> float:
        """Nova's report interval."""
        with self._lock:
            return self._hearts.interval_s

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Look more often while somebody waits for an answer."""
        with self._lock:
            self._waiting += 1
            is_first = self._waiting == 1
        if is_first:  # for the others, the next look is near
            self._woken.set()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @property
    def is_hurried(self) -> bool:
        """Whether somebody waits, or a host is suspect and not yet silent."""
        with self._lock:
            return self._waiting > 0 or self._hearts.any_suspect(self._clock.monotonic())

    def pause_s(self) -> float:
        """Seconds until the next look."""
        hurried = self.is_hurried
        with self._lock:
            return self._hearts.pause_s(waited_for=hurried)

    # ------------------------------------------------------------ looking

    def run(self, stopped: threading.Event) -> None:
        """Look until `stopped`, and `wake`; the body of a thread."""
        while not stopped.is_set():
            self._woken.clear()
            began = self._clock.monotonic()
            try:
                self.look()
            except Exception:  # the top of a thread that must not end
                LOG.exception(
                    "Unexpected exception while reading the heartbeats of Nova's services"
                )
            took_s = self._clock.monotonic() - began
            pause_s = self.pause_s()
            # the list of a large cloud takes a second; a Nova that takes longer gets a rest
            self._clock.wait(self._woken, max(pause_s - took_s, pause_s / 2))

    def wake(self) -> None:
        """Look now, or see that this is stopped."""
        self._woken.set()

    def look(self) -> None:
        """Read the list once, and remember what it shows.

        As of when it was asked for: this process may be frozen before it reads the answer.
        """
        asked = self._clock.monotonic()
        try:
            rows = self._nova.beats()
        except NovaError as exc:
            if self._listed:
                LOG.warning("%s; no host is taken for dead until it can be read", exc)
            self._listed = False
            with self._lock:
                self._hearts.failed(asked, refused=isinstance(exc, NovaForbidden))
        else:
            if not self._listed:
                LOG.info("The list of Nova's services can be read again")
            self._listed = True
            before = self.illness()
            with self._lock:
                self._hearts.look(rows, asked)
            self._report(before, self.illness())
        self._write()
        self.looked()

    def _report(self, before: Illness | None, now: Illness | None) -> None:
        if now is not None and (before is None or before.culprit != now.culprit):
            LOG.warning("Nova is ill (%s); no host is taken for dead until it is well", now.culprit)
        if now is None and before is not None:
            LOG.info("Nova is well again after %.0f s; heartbeats count from now on", before.age_s)

    def _write(self) -> None:
        """Write what was seen where that has changed, or is to stay current."""
        look_s = self.pause_s()
        illness = self.illness()
        hosts = [_seen(pulse) for pulse in self.pulses()]
        with self._lock:
            learned_s, interval_s = self._hearts.learned_s, self._hearts.interval_s
        states = {(seen.host, seen.zone, seen.state) for seen in hosts}
        shown = (states, illness and illness.culprit, self._listed)
        now = self._clock.monotonic()
        if self._wrote == shown and now - self._wrote_at < _RENEWED * interval_s:
            return
        look = watch.Look(
            hosts=hosts,
            interval_s=self._conf.nova.report_interval or learned_s,
            look_s=max(look_s, interval_s / 2),
            illness=str(illness.culprit) if illness else None,
            ill_s=illness.age_s if illness else 0.0,
            listed=self._listed,
        )
        lease_s = _LEASE_LOOKS * interval_s / 2
        try:
            self.writes = watch.write(
                self._db, self._owner, lease_s, look, changed=self._wrote != shown
            )
        except DatabaseUnavailable as exc:
            if self._written:
                LOG.warning("Failed to write the heartbeats of Nova's services: %s", exc)
            self._written = self.writes = False
            self._wrote = None  # nobody knows what was written
        else:
            self._written = True
            self._wrote_at, self._wrote = now, shown


def _learned_before(db: Database) -> float | None:
    try:
        return watch.learned_interval_s(db)
    except DatabaseUnavailable:  # then it is learned again
        return None


def _nobody_looked(db: Database) -> bool:
    try:
        age_s = watch.report(db).age_s
    except DatabaseUnavailable:
        return True
    return age_s is not None and age_s >= _ABSENCE_S


def _seen(pulse: Pulse) -> watch.Seen:
    for_s = pulse.since_s if pulse.since_s is not None else pulse.age_s or 0.0
    return watch.Seen(pulse.host, pulse.zone, pulse.hearing, for_s, pulse.beat)
