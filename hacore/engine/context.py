# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a recovery or an operation works with: claim, Nova, database, clock, what all share."""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from oslo_config import cfg

from hacore.clock import Clock
from hacore.db import leases, recoveries
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.db.models import Move, Notification, Operation
from hacore.db.operation_claims import OperationClaim
from hacore.engine.census import CensusTaker
from hacore.engine.evacuation import Evacuation
from hacore.engine.fencing import Fencing, HostDevices, HostFencing
from hacore.engine.gates import Gates
from hacore.engine.lease import Lease
from hacore.engine.listing_cache import ListingCache
from hacore.engine.log_context import Pool, TracedPool
from hacore.engine.proofs import Proofs
from hacore.engine.watch import Watch
from hacore.engine.window import Window
from hacore.errors import TransientNovaError
from hacore.nova import LATE_S, Instance, Nova
from hacore.states import StepState

T = TypeVar("T")


class EngineContext:
    """What all recoveries of an engine share.

    :ivar calls: runs the calls for single instances.
    :ivar window: how many evacuations are in flight.
    :ivar listings: what hosts were last seen to have.
    :ivar watch: which hosts Nova hears.
    :ivar census: how many of them are missing.
    :ivar proofs: which of them are proved off.
    :ivar fencing: the devices that switch them off.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        db: Database,
        nova: Nova,
        clock: Clock,
        calls: Pool,
        watch: Watch,
        fencing: Fencing | None = None,
    ) -> None:
        self.conf = conf
        self.db = db
        self.nova = nova
        self.clock = clock
        self.calls: Pool = TracedPool(calls)
        self.window = Window(conf.verify_interval)
        self.listings = ListingCache(clock, conf.verify_interval)
        self.watch = watch
        self.census = CensusTaker(db, clock, watch)
        self.fencing = fencing or Fencing(conf, clock)
        self.proofs = Proofs(db, clock, watch, conf.fencing.proof_lifetime)


class Context:
    """One claim; what tasks get as ``context``.

    :ivar claim: the notification or the operation, and its host.
    :ivar conf: all options.
    :ivar nova: Nova, bound to this claim: it refuses when the lease is lost.
    :ivar guard: whether the work may go on, and a sleep that ends when it may not.
    """

    _table: ClassVar[type[Notification] | type[Operation]]
    claim: Claim | OperationClaim

    def __init__(
        self,
        engine: EngineContext,
        lease: Lease,
        request_id: str | None,
        may_move: Callable[[], None] = lambda: None,
    ) -> None:
        self.conf = engine.conf
        self.db = engine.db
        self.nova = engine.nova.bound(lease, request_id, may_move)
        self.clock = engine.clock
        self.guard = lease
        self.engine = engine

    @property
    def request_id(self) -> str | None:
        """Id of the REST request that brought the notification, or the operation."""
        return self.claim.request_id

    # ------------------------------------------------------------ history

    def record(
        self,
        step: str | None,
        message: str | None = None,
        progress: float | None = None,
        state: StepState | None = None,
    ) -> None:
        """Add a line about a step to the history, as ``recovery_workflow_details`` shows it."""
        leases.record(
            self.db, self._table, self.claim, step, state=state, progress=progress, message=message
        )

    def note(self, message: str) -> None:
        """Add a line to the history that belongs to no step."""
        self.record(None, message)

    def tell(self, message: str) -> None:
        """Do the same: its name before, which operators' own tasks may use."""
        self.note(message)

    # --------------------------------------------------------------- Nova

    def look(self, uuid: str, host: str, after: float) -> Instance:
        """Return an instance as it was after `after`; see `ListingCache.instance`."""
        return self.engine.listings.instance(self.nova, uuid, host, after)

    def instances_on(self, host: str, age_s: float = 0.0) -> dict[str, Instance]:
        """Return all instances of `host` by uuid, as Nova showed them at most `age_s` ago."""
        return self.engine.listings.listing(self.nova, host, self.clock.monotonic() - age_s)

    def believed(self, host: str, read: Callable[[], T]) -> T:
        """Return what `read` finds while Nova shows the compute service of `host`.

        Nova leaves out, all or some of it, what is in a cell that it cannot reach.  So it is read
        again where Nova was unavailable before it has shown the service right after.  That there
        is nothing has to be found twice: the cell may have been gone for a moment.
        """
        empty_before = False
        while True:
            refusals = self.nova.refusals
            found = read()
            if self.nova.service(host) is None:  # some versions leave it out, too
                raise TransientNovaError(
                    f"Nova does not show the compute service of {host} any more, so what it has "
                    "listed of the host is not believed; check the database of its cell."
                )
            whole = self.nova.refusals == refusals
            if whole and (found or empty_before):
                return found
            empty_before = whole
            if whole:
                self.guard.wait(self.conf.verify_interval)

    # ------------------------------------------------------------ waiting

    def outwait(self, age_s: float) -> None:
        """Wait until a call that was sent `age_s` seconds ago cannot reach Nova any more."""
        late_s = LATE_S - max(0.0, age_s)
        if late_s > 0:
            self.guard.wait(late_s)

    def poll(self, probe: Callable[[], T | None], timeout_s: float) -> T | None:
        """Call `probe` every verify_interval until it returns something; None in the end.

        Time in which Nova did not answer is not counted: it is asked at least
        once more when it is back.
        """
        interval_s = self.conf.verify_interval
        ends_at = self.clock.monotonic() + timeout_s
        while True:
            asked = self.clock.monotonic()
            result = probe()
            if result is not None:
                return result
            ends_at += max(0.0, self.clock.monotonic() - asked - interval_s)
            remaining_s = ends_at - self.clock.monotonic()
            if remaining_s <= 0:
                return None
            self.guard.wait(min(interval_s, remaining_s))


class RecoveryContext(Context):
    """One claim on a notification.

    :ivar fencing: the devices of the host.
    :ivar gates: whether this is what it seems, and it is safe to go on.
    """

    _table = Notification
    claim: Claim

    def __init__(self, engine: EngineContext, claim: Claim, lease: Lease) -> None:
        super().__init__(engine, lease, claim.request_id, lambda: self.gates.before_call())
        self.claim = claim
        self.gates = Gates(self)
        self.fencing = HostFencing(self)

    def reached(self, step: str, state: StepState) -> bool:
        """Whether an earlier claim of this attempt had brought `step` to `state`."""
        return recoveries.reached(self.db, self.claim, step, state)

    def evacuate(self, step: str, target: str | None = None) -> list[tuple[Move, str]]:
        """Evacuate the open moves, to the host `target` or where Nova chooses.

        Returns the moves that failed, each with the reason.  Raises RecoveryHeld where it is not
        safe to begin, or to go on once it has begun.
        """
        self.gates.before_evacuating()
        recoveries.take_over(self.db, self.claim)
        return Evacuation(self, step, target).run()

    # ------------------------------------------------------------ waiting

    def outwait_earlier_claims(self) -> None:
        """Wait until nothing that an earlier claim has sent can reach Nova any more.

        It has sent nothing since this claim was taken.
        """
        self.outwait(recoveries.seconds_since_claim(self.db, self.claim))


class OperationContext(Context):
    """One claim on an operation.

    :ivar fencing: the devices of the host.
    :ivar remarks: what the steps have found that whoever reads its end should know.
    """

    _table = Operation
    claim: OperationClaim

    def __init__(self, engine: EngineContext, claim: OperationClaim, lease: Lease) -> None:
        super().__init__(engine, lease, claim.request_id)
        self.claim = claim
        self.fencing = HostDevices(self)
        self.remarks: list[str] = []

    def remark(self, step: str, message: str) -> None:
        """Add a line to the history, and to the sentence at the end."""
        self.record(step, message)
        self.remarks.append(message)
