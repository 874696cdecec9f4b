# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One claim from beginning to end: what to do, the flow, and the sentence at the end."""

import dataclasses
import logging
import uuid
from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from taskflow import engines
from taskflow import exceptions as taskflow_exc

from hacore.clock import Clock
from hacore.db import claims, moves, recoveries
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.engine.evacuation import Evacuation, Pool
from hacore.engine.flows import Flows, tasks_of
from hacore.engine.lease import Lease
from hacore.engine.remains import clear_up, give_back_unused
from hacore.engine.reserved import ReservedHosts
from hacore.engine.steps import Steps
from hacore.engine.tracing import RecoveryContext, TracedPool
from hacore.engine.window import Window
from hacore.errors import (
    DatabaseUnavailable,
    HacoreError,
    Interrupted,
    LeaseLost,
    NovaError,
    NovaNotFound,
    RecoveryFailed,
    RecoveryIgnored,
    RecoverySkipped,
    TransientNovaError,
)
from hacore.events import Events, Facts
from hacore.nova import Nova
from hacore.states import (
    MoveStatus,
    NotificationStatus,
    NotificationType,
    RecoveryMethod,
    StepState,
    VmState,
)
from hacore.tasks.base import Recovery
from hacore.tasks.instance import StopInstanceTask
from hacore.tasks.watching import Watcher

LOG = logging.getLogger(__name__)

#: What a VM notification must say to be acted on: event and vir_domain_event.
_INSTANCE_FAILURES = frozenset(
    {
        ("LIFECYCLE", "STOPPED_FAILED"),
        ("IO_ERROR", "IO_ERROR_REPORT"),
        ("QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED"),
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a recovery ended, and the sentence that says why."""

    status: NotificationStatus
    message: str
    counts: bool = True  #: among max_recovery_attempts


class Recoverer:
    """Recovers from what a claimed notification tells; used by many threads.

    :param released: called when a claim was given back because the engine stops.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        db: Database,
        nova: Nova,
        clock: Clock,
        flows: Flows,
        calls: Pool,
        events: Events | None = None,
        released: Callable[[], None] = lambda: None,
    ) -> None:
        self._conf = conf
        self._db = db
        self._nova = nova
        self._clock = clock
        self._flows = flows
        self._calls = TracedPool(calls)
        self._events = events or Events()
        self._released = released
        self._window = Window(conf.verify_interval)
        self._watcher = Watcher(clock, conf.verify_interval)

    def recover(self, claim: Claim, lease: Lease) -> None:
        """Do everything for `claim`, and end or release it."""
        RecoveryContext(claim)
        recovery = Recovery(
            claim,
            conf=self._conf,
            db=self._db,
            nova=self._nova.bound(lease, claim.request_id),
            clock=self._clock,
            guard=lease,
            evacuate=self._evacuate,
            watcher=self._watcher,
        )
        told = self._events.start("notification.process", _facts(claim))
        try:
            outcome = self._cleared_up(recovery, self._outcome(recovery))
            status = claims.finish(
                self._db,
                claim,
                outcome.status,
                outcome.message,
                max_attempts=self._conf.max_recovery_attempts,
                counts=outcome.counts,
                retry_after_s=self._conf.process_unfinished_notifications_interval,
            )
            if status in (NotificationStatus.ERROR, NotificationStatus.FAILED):
                failure = RecoveryFailed(outcome.message)
                told.error(failure, status=status, message=outcome.message)
            else:
                told.end(status=status, message=outcome.message)
        except LeaseLost as exc:
            LOG.warning("notification %s: stopped working on it: %s", claim.uuid, exc)
        except Interrupted as exc:
            claims.release(self._db, claim, str(exc))
            self._released()

    def _evacuate(self, recovery: Recovery, step: str, target: str | None) -> None:
        Evacuation(self._calls, self._window, recovery, step, target).run()

    def _outcome(self, recovery: Recovery) -> Outcome:
        claim = recovery.claim
        try:
            if claim.expired:
                return self._expired()
            if not claim.segment_enabled:
                raise RecoveryIgnored(f"Segment {claim.segment_name} is disabled.")
            return _RECOVER[claim.type](self, recovery)
        except RecoverySkipped as exc:
            return Outcome(NotificationStatus.FINISHED, str(exc))
        except RecoveryIgnored as exc:
            return Outcome(NotificationStatus.IGNORED, str(exc))
        except (Interrupted, DatabaseUnavailable):
            raise
        except HacoreError as exc:
            return Outcome(NotificationStatus.ERROR, _sentence(str(exc)))
        except Exception as exc:  # a step may be anybody's, and raise anything
            LOG.exception("notification %s: a step broke", claim.uuid)
            return Outcome(NotificationStatus.ERROR, f"A step broke: {type(exc).__name__}: {exc}.")

    def _expired(self) -> Outcome:
        return Outcome(
            NotificationStatus.FAILED,
            f"Not recovered within {self._conf.notifications_expired_interval} s "
            "(notifications_expired_interval); given up.",
        )

    def _cleared_up(self, recovery: Recovery, outcome: Outcome) -> Outcome:
        """Return `outcome` once nothing is left half-done; while Nova is away, another one."""
        failures = recovery.claim.failures + 1
        tried_again = (
            outcome.status == NotificationStatus.ERROR
            and failures < self._conf.max_recovery_attempts
        )
        if outcome.status == NotificationStatus.FINISHED:
            give_back_unused(recovery)
        if outcome.status == NotificationStatus.FINISHED or tried_again:
            return outcome
        try:
            clear_up(recovery)
        except TransientNovaError as exc:
            message = f"{outcome.message} It cannot end like this yet: {exc}."
            return Outcome(NotificationStatus.ERROR, message, counts=False)
        except NovaError as exc:
            if str(exc).partition(" (Request-ID")[0] not in outcome.message:
                return dataclasses.replace(outcome, message=f"{outcome.message} {exc}.")
        return outcome

    # ------------------------------------------------------------ by type

    def _process(self, recovery: Recovery) -> Outcome:
        claim = recovery.claim
        event, name = claim.payload.get("event"), claim.payload.get("process_name")
        if event == "STARTED":
            raise RecoverySkipped(f"Process {name} started; there is nothing to do.")
        if event != "STOPPED":
            raise RecoveryIgnored(f"No recovery is defined for process event {event}.")
        recoveries.begin_maintenance(self._db, claim)
        self._run("process", recovery, {"process_name": name})
        return Outcome(
            NotificationStatus.FINISHED, f"{name} on {claim.host_name} is disabled in Nova."
        )

    def _instance(self, recovery: Recovery) -> Outcome:
        claim = recovery.claim
        what = claim.payload.get("event"), claim.payload.get("vir_domain_event")
        if what not in _INSTANCE_FAILURES:
            raise RecoveryIgnored(f"No recovery is defined for VM event {what[0]}, {what[1]}.")
        # clients write it in either case, and some without dashes
        instance_uuid = str(uuid.UUID(claim.payload["instance_uuid"]))
        absorbed_by = moves.taken_care_of(self._db, instance_uuid, claim)
        if absorbed_by and not _was_stopped_since(recovery, instance_uuid):
            raise RecoveryIgnored(
                f"Host recovery {absorbed_by} took care of instance {instance_uuid}."
            )
        self._run("instance", recovery, {"instance_uuid": instance_uuid})
        return Outcome(NotificationStatus.FINISHED, f"Instance {instance_uuid} was restarted.")

    def _host(self, recovery: Recovery) -> Outcome:
        claim = recovery.claim
        event, host_status = claim.payload.get("event"), claim.payload.get("host_status")
        if event == "STARTED":
            raise RecoverySkipped(f"Host {claim.host_name} started; there is nothing to do.")
        if event != "STOPPED":
            raise RecoveryIgnored(f"No recovery is defined for host event {event}.")
        if host_status != "NORMAL":
            raise RecoveryIgnored(
                f"The monitor is not sure (host_status {host_status}, not NORMAL): host "
                f"{claim.host_name} may be alive."
            )
        recoveries.begin_maintenance(self._db, claim)
        self._evacuate_host(recovery)
        recoveries.keep_maintenance(self._db, claim)
        rows = moves.all_of(self._db, claim.uuid)
        done = sum(row.status == MoveStatus.SUCCEEDED for row in rows)
        return Outcome(
            NotificationStatus.FINISHED, f"{done} evacuated, {len(rows) - done} skipped."
        )

    def _evacuate_host(self, recovery: Recovery) -> None:
        """Run the flows of the segment's recovery method, until one has moved all."""
        kinds = _HOST_FLOWS[recovery.claim.recovery_method]
        before = ""
        for number, kind in enumerate(kinds, 1):
            try:
                if kind == "host-rh":
                    self._run(kind, recovery, {}, ReservedHosts(recovery))
                else:
                    self._run(kind, recovery, {})
            except RecoveryFailed as exc:
                rest = moves.all_of(self._db, recovery.claim.uuid)
                if number == len(kinds) and before and before not in str(exc):
                    raise RecoveryFailed(f"{before} {exc}") from exc
                if number == len(kinds) or not rest:
                    raise  # nothing was prepared: another flow would fail the same way
                before = str(exc)
                recovery.tell(f"{exc} Going on with the next method, {kinds[number]}.")
            else:
                return

    # --------------------------------------------------------------- flow

    def _run(
        self,
        kind: str,
        recovery: Recovery,
        extra: dict[str, Any],
        main_retry: ReservedHosts | None = None,
    ) -> None:
        """Run a flow to its end.  Raises what a step raised, or Interrupted."""
        claim = recovery.claim
        flow = self._flows.build(kind, recovery, recovery.nova, main_retry)
        store = {
            "notification_uuid": claim.uuid,
            "host_name": claim.host_name,
            "payload": claim.payload,
            **extra,
        }
        engine = engines.load(flow, engine="serial", store=store)
        steps = Steps(recovery, engine, list(tasks_of(flow)))
        try:
            engine.run()
        except taskflow_exc.WrappedFailure as exc:
            # several steps failed, one after the other: the last one ended it
            raise steps.failure or exc from exc
        if steps.interrupted is not None:
            raise steps.interrupted


def _was_stopped_since(recovery: Recovery, instance_uuid: str) -> bool:
    """Whether a stop of the engine before has come after the host recovery moved the instance.

    Returns when none can come any more.
    """
    if not recovery.reached(StopInstanceTask.__name__, StepState.RUNNING):
        return False
    recovery.outwait_earlier_claims()
    try:
        instance = recovery.nova.instance(instance_uuid)
    except NovaNotFound:
        return False
    return instance.vm_state == VmState.STOPPED


def _sentence(text: str) -> str:
    """End it with a full stop: what Nova says often has none, and more is to follow."""
    return text if text.endswith(".") else f"{text}."


def _facts(claim: Claim) -> Facts:
    """What events say of a notification under recovery."""
    return {
        "id": claim.id,
        "notification_uuid": claim.uuid,
        "generated_time": claim.generated_time,
        "source_host_uuid": claim.host_uuid,
        "type": claim.type,
        "payload": claim.payload,
        "status": NotificationStatus.RUNNING,
    }


#: Flows by recovery method: the next one where the one before left something.
_HOST_FLOWS = {
    RecoveryMethod.AUTO: ("host-auto",),
    RecoveryMethod.RESERVED_HOST: ("host-rh",),
    RecoveryMethod.AUTO_PRIORITY: ("host-auto", "host-rh"),
    RecoveryMethod.RH_PRIORITY: ("host-rh", "host-auto"),
}

_RECOVER: dict[NotificationType, Callable[[Recoverer, Recovery], Outcome]] = {
    NotificationType.PROCESS: Recoverer._process,  # noqa: SLF001 - this module's own
    NotificationType.VM: Recoverer._instance,  # noqa: SLF001
    NotificationType.COMPUTE_HOST: Recoverer._host,  # noqa: SLF001
}
