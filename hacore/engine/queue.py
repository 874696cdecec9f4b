# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Claims notifications and operations, renews their leases, and hands them to threads.

Invariant: a lease is renewed only while a thread of this engine works on its
claim; what no thread works on is left to whoever claims next.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg

from hacore import metrics
from hacore.clock import Clock
from hacore.db import claims, leases, operation_claims
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.db.leases import Row
from hacore.db.models import Notification, Operation
from hacore.db.operation_claims import OperationClaim
from hacore.engine.lease import Lease
from hacore.errors import DatabaseUnavailable, Interrupted, LeaseLost

LOG = logging.getLogger(__name__)

#: A lease is renewed so often that two renewals may fail.
RENEWALS_PER_LEASE = 3
#: One part in so many of max_concurrent_recoveries is kept for host failures.
_KEPT_FOR_HOSTS = 4
#: Operations that are worked on at a time; at most: they are no recoveries, and take long.
_MOST_OPERATIONS = 8
_STOPPED = "The engine is stopping."


AnyClaim = Claim | OperationClaim


class Queue:
    """The notifications and operations of one engine.

    :param owner: name of this engine in claims, unlike any other's.
    :param submit: runs a function on a thread, soon.
    :param recover: works on a claim until it is ended or released.
    :param operate: the same for an operation.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        db: Database,
        clock: Clock,
        owner: str,
        submit: Callable[..., Any],
        recover: Callable[[Claim, Lease], None],
        operate: Callable[[OperationClaim, Lease], None],
    ) -> None:
        self._conf = conf
        self._db = db
        self._clock = clock
        self._owner = owner
        self._submit = submit
        self._recover = recover
        self._operate = operate
        self._active: dict[tuple[str, int], Lease] = {}
        self._operations: set[tuple[str, int]] = set()  #: those among the active
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._orphans: list[AnyClaim] = []
        self._woken = threading.Event()
        self._stopping = False
        self._stopped = threading.Event()

    @property
    def is_busy(self) -> bool:
        """Whether this engine works on a claim."""
        return not self._idle.is_set()

    # ------------------------------------------------------------- claims

    def wake(self) -> None:
        """Claim what is due now, without waiting for the next poll."""
        self._woken.set()

    def run(self) -> None:
        """Claim until `stop`; the body of a thread."""
        available = True
        while not self._stopping:
            self._woken.clear()
            try:
                self._release_orphans()
                while not self._stopping and self.claim_one():
                    pass
                available = True
            except DatabaseUnavailable as exc:
                if available:
                    LOG.warning("%s; retrying every %g s", exc, self._conf.claim_poll_interval)
                available = False
            except Exception:  # the top of a thread that must not end
                LOG.exception(
                    "Unexpected exception while claiming notifications; retrying in %g s",
                    self._conf.claim_poll_interval,
                )
            self._clock.wait(self._woken, self._conf.claim_poll_interval)

    def claim_one(self) -> bool:
        """Claim a notification or an operation and start; False when none is due, or no room."""
        asked = self._clock.monotonic()
        claim = self._claim()
        if claim is None:
            return False
        lease = Lease(self._clock, self._conf.claim_lease, asked)
        with self._lock:
            self._active[claim.uuid, claim.number] = lease
            if isinstance(claim, OperationClaim):
                self._operations.add((claim.uuid, claim.number))
            self._idle.clear()
            if self._stopping:
                lease.end(Interrupted(_STOPPED))
        metrics.RECOVERIES.labels(claim.type).inc()
        try:
            self._submit(self._work, claim, lease)
        except Exception:  # as "can't start new thread", where the system has no more of them
            LOG.exception("%s: failed to start a thread; released", _name(claim))
            with self._lock:
                self._orphans.append(claim)
            self._has_ended(claim)
            self._release_orphans()
            return False
        return True

    def _claim(self) -> AnyClaim | None:
        """Claim a notification; an operation only where none is due."""
        most = self._conf.max_concurrent_recoveries
        with self._lock:
            room, operations = most - len(self._active), len(self._operations)
        if room <= 0:
            return None
        # a storm of small failures must not keep a dead host waiting
        hosts_only = room <= most // _KEPT_FOR_HOSTS
        claim = claims.claim(
            self._db,
            self._owner,
            self._conf.claim_lease,
            self._conf.notifications_expired_interval,
            hosts_only=hosts_only,
            own_hosts=self._conf.own_hosts,
        )
        if claim is not None or hosts_only or operations >= _MOST_OPERATIONS:
            return claim
        return operation_claims.claim(self._db, self._owner, self._conf.claim_lease)

    def _work(self, claim: AnyClaim, lease: Lease) -> None:
        try:
            if isinstance(claim, OperationClaim):
                self._operate(claim, lease)
            else:
                self._recover(claim, lease)
        except DatabaseUnavailable as exc:
            LOG.warning(
                "%s: interrupted: %s; released once the database is available", _name(claim), exc
            )
            with self._lock:
                self._orphans.append(claim)
        except Exception:  # the top of a thread
            LOG.exception(
                "%s: unexpected exception in the %s; its claim is taken over once the lease has "
                "expired",
                _name(claim),
                "operation" if isinstance(claim, OperationClaim) else "recovery",
            )
        finally:
            self._has_ended(claim)
            self._woken.set()  # room for another, or the same subject's next

    def _has_ended(self, claim: AnyClaim) -> None:
        """No thread works on the claim any more: its lease is not renewed."""
        metrics.RECOVERIES.labels(claim.type).dec()
        with self._lock:
            self._active.pop((claim.uuid, claim.number), None)
            self._operations.discard((claim.uuid, claim.number))
            if not self._active:
                self._idle.set()

    def _release_orphans(self) -> None:
        """Release what could not be released while the database was unavailable."""
        while self._orphans:
            claim = self._orphans[0]
            why = "The database was unavailable."
            try:
                if isinstance(claim, OperationClaim):
                    operation_claims.release(self._db, claim, why)
                else:
                    claims.release(self._db, claim, why)
            except LeaseLost:
                LOG.info("%s: taken over or ended in the meantime", _name(claim))
            with self._lock:
                self._orphans.remove(claim)

    # ------------------------------------------------------------- leases

    def keep_leases(self, alive: Callable[[], None]) -> None:
        """Renew until `stop` is through; the body of a thread.

        :param alive: called after each round.
        """
        interval_s = self._conf.claim_lease / RENEWALS_PER_LEASE
        while not self._clock.wait(self._stopped, interval_s):
            try:
                self.renew()
            except DatabaseUnavailable as exc:
                LOG.warning("Failed to renew the leases: %s; retrying in %g s", exc, interval_s)
            except Exception:  # the top of a thread that must not end
                LOG.exception(
                    "Unexpected exception while renewing the leases; retrying in %g s", interval_s
                )
            alive()

    def renew(self) -> None:
        """Renew the leases of all claims that are worked on; end those that were taken over."""
        with self._lock:
            operations = {key: self._active[key] for key in self._operations}
            recoveries = {k: lease for k, lease in self._active.items() if k not in operations}
        self._renew(Notification, recoveries)
        self._renew(Operation, operations)

    def _renew(self, table: type[Row], active: Mapping[tuple[str, int], Lease]) -> None:
        if not active:
            return
        asked = self._clock.monotonic()
        uuids = {uuid for uuid, _ in active}
        held = leases.renew(self._db, table, self._owner, uuids, self._conf.claim_lease)
        for key, lease in active.items():
            metrics.LEASES.labels("renewed" if key in held else "lost").inc()
            if key in held:
                lease.renewed(asked)
            else:
                # ended this moment, or another engine's
                lease.end(leases.taken_over(table, *key))

    # --------------------------------------------------------------- stop

    def stop(self, timeout_s: float) -> bool:
        """Claim no more, interrupt what is worked on, wait for it; True if all has ended."""
        self._stopping = True
        self._woken.set()
        with self._lock:
            for lease in self._active.values():
                lease.end(Interrupted(_STOPPED))
        ended = self._clock.wait(self._idle, timeout_s)
        self._stopped.set()
        return ended


def _name(claim: AnyClaim) -> str:
    """Return what a log line calls it."""
    kind = "operation" if isinstance(claim, OperationClaim) else "notification"
    return f"{kind} {claim.uuid}"
