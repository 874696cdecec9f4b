# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One claim from beginning to end: what to do, the flow, and the sentence at the end."""

import dataclasses
import logging
import uuid
from collections.abc import Callable
from typing import Any

from hacore.db import claims, moves, recoveries, since
from hacore.db.claims import Claim
from hacore.engine import log_context, outcome, steps
from hacore.engine.cleanup import clean_up
from hacore.engine.context import EngineContext, RecoveryContext
from hacore.engine.flows import Flows
from hacore.engine.gates import RecoveryHeld
from hacore.engine.lease import Lease
from hacore.engine.outcome import Outcome
from hacore.engine.reserved import ReservedHosts, give_back_unused
from hacore.errors import (
    DatabaseUnavailable,
    HacoreError,
    HostHeard,
    Interrupted,
    LeaseLost,
    NovaNotFound,
    RecoveryFailed,
    RecoveryIgnored,
    RecoverySkipped,
    TransientNovaError,
)
from hacore.events import Events, Facts
from hacore.states import (
    MoveStatus,
    NotificationStatus,
    NotificationType,
    RecoveryMethod,
    StepState,
    VmState,
)

LOG = logging.getLogger(__name__)

#: What a VM notification must say to be acted on: event and vir_domain_event.
_INSTANCE_FAILURES = frozenset(
    {
        ("LIFECYCLE", "STOPPED_FAILED"),
        ("IO_ERROR", "IO_ERROR_REPORT"),
        ("QEMU_GUEST_AGENT_ERROR", "STOPPED_FAILED"),
    }
)
#: Flows by recovery method: the next one where the one before left something.
_HOST_FLOWS = {
    RecoveryMethod.AUTO: ("host-auto",),
    RecoveryMethod.RESERVED_HOST: ("host-rh",),
    RecoveryMethod.AUTO_PRIORITY: ("host-auto", "host-rh"),
    RecoveryMethod.RH_PRIORITY: ("host-rh", "host-auto"),
}
#: The name of hacore.tasks.instance.StopInstanceTask in the history.
_STOP_STEP = "StopInstanceTask"
#: How many refusals of a clean-up a message repeats.
_MOST_REFUSALS = 3


class Recoverer:
    """Recovers from the failures that notifications report; used by many threads.

    :param released: called when a claim was released because the engine stops.
    """

    def __init__(
        self,
        engine: EngineContext,
        flows: Flows,
        events: Events | None = None,
        released: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._conf = engine.conf
        self._db = engine.db
        self._flows = flows
        self._events = events or Events()
        self._released = released

    def recover(self, claim: Claim, lease: Lease) -> None:
        """Do everything for `claim`, and end or release it."""
        log_context.enter(claim)
        context = RecoveryContext(self._engine, claim, lease)
        processing = self._events.start("notification.process", _facts(claim))
        try:
            reached = self._cleaned_up(context, self._outcome(context))
            ending = outcome.end(self._conf, self._db, claim, reached)
            if ending.status in (NotificationStatus.ERROR, NotificationStatus.FAILED):
                failure = RecoveryFailed(reached.message)
                processing.error(failure, status=ending.status, message=reached.message)
            else:
                processing.end(status=ending.status, message=reached.message)
        except LeaseLost as exc:
            LOG.warning("notification %s: recovery interrupted: %s", claim.uuid, exc)
        except Interrupted as exc:
            self._release(claim, str(exc))

    def _release(self, claim: Claim, why: str) -> None:
        try:
            claims.release(self._db, claim, why)
        except LeaseLost as exc:  # another engine was faster
            LOG.warning("notification %s: recovery interrupted: %s", claim.uuid, exc)
        else:
            self._released()

    def _outcome(self, context: RecoveryContext) -> Outcome:
        claim = context.claim
        try:
            if claim.expired:
                return self._expired()
            if not claim.segment_enabled:
                raise RecoveryIgnored(f"Segment {claim.segment_name} is disabled.")
            return self._recover(context)
        except RecoverySkipped as exc:
            return Outcome(NotificationStatus.FINISHED, str(exc))
        except RecoveryIgnored as exc:
            return Outcome(NotificationStatus.IGNORED, str(exc))
        except RecoveryHeld as exc:
            message = f"Held ({exc.rule}): {exc}"
            return Outcome(NotificationStatus.ERROR, message, counts=False, held=exc)
        except HostHeard as exc:
            return Outcome(NotificationStatus.ERROR, str(exc), last=NotificationStatus.IGNORED)
        except (Interrupted, DatabaseUnavailable):
            raise
        except HacoreError as exc:
            return Outcome(NotificationStatus.ERROR, _sentence(str(exc)))
        except Exception as exc:  # an operator's own task may raise anything
            LOG.exception("notification %s: unhandled exception in a task", claim.uuid)
            return Outcome(
                NotificationStatus.ERROR,
                f"Unhandled exception in a task: {type(exc).__name__}: {exc}.",
            )

    def _recover(self, context: RecoveryContext) -> Outcome:
        match context.claim.type:
            case NotificationType.COMPUTE_HOST:
                return self._host(context)
            case NotificationType.VM:
                return self._instance(context)
            case NotificationType.PROCESS:
                return self._process(context)

    def _expired(self) -> Outcome:
        return Outcome(
            NotificationStatus.FAILED,
            f"Expired: not recovered within {self._conf.notifications_expired_interval} s "
            "(notifications_expired_interval).",
        )

    def _cleaned_up(self, context: RecoveryContext, reached: Outcome) -> Outcome:
        """Return `reached` once nothing is left half-done; without Nova, one that is retried."""
        if outcome.is_retried(self._conf, context.claim, reached):
            return reached
        finished = reached.status == NotificationStatus.FINISHED
        try:
            refusals = give_back_unused(context) if finished else clean_up(context)
        except TransientNovaError as exc:
            message = f"{reached.message} Cleanup failed: {_sentence(str(exc))}"
            return Outcome(NotificationStatus.ERROR, message, counts=False)
        return dataclasses.replace(reached, message=_with(reached.message, refusals))

    # ------------------------------------------------------------ by type

    def _process(self, context: RecoveryContext) -> Outcome:
        claim = context.claim
        event, name = claim.payload.get("event"), claim.payload.get("process_name")
        if event == "STARTED":
            raise RecoverySkipped(f"Process {name} has started: nothing to do.")
        if event != "STOPPED":
            raise RecoveryIgnored(f"No recovery is defined for process event {event}.")
        _ignore_if_started(context, f"Process {name} on {claim.host_name}")
        self._run("process", context, {"process_name": name})
        # also where an operator's own tasks did it all
        recoveries.begin_maintenance(self._db, claim)
        return Outcome(
            NotificationStatus.FINISHED, f"{name} on {claim.host_name} is disabled in Nova."
        )

    def _instance(self, context: RecoveryContext) -> Outcome:
        claim = context.claim
        what = claim.payload.get("event"), claim.payload.get("vir_domain_event")
        if what not in _INSTANCE_FAILURES:
            raise RecoveryIgnored(f"No recovery is defined for VM event {what[0]}, {what[1]}.")
        # clients write it in either case, and some without dashes
        instance_uuid = str(uuid.UUID(claim.payload["instance_uuid"]))
        moved_by = since.moved_by(self._db, instance_uuid, claim)
        if moved_by and not _was_stopped_since(context, instance_uuid):
            raise RecoveryIgnored(
                f"Instance {instance_uuid} is recovered by host recovery {moved_by}."
            )
        context.gates.pause()
        context.gates.restarts(instance_uuid)
        self._run("instance", context, {"instance_uuid": instance_uuid})
        return Outcome(NotificationStatus.FINISHED, f"Instance {instance_uuid} was restarted.")

    def _host(self, context: RecoveryContext) -> Outcome:
        claim = context.claim
        event, host_status = claim.payload.get("event"), claim.payload.get("host_status")
        if event == "STARTED":
            raise RecoverySkipped(f"Host {claim.host_name} has started: nothing to do.")
        if event != "STOPPED":
            raise RecoveryIgnored(f"No recovery is defined for host event {event}.")
        if host_status != "NORMAL":
            raise RecoveryIgnored(
                f"host_status of host {claim.host_name} is {host_status}, expected NORMAL: the "
                "host may still be running."
            )
        _ignore_if_started(context, f"Host {claim.host_name}")
        context.gates.before_all()
        recoveries.begin_maintenance(self._db, claim)
        self._evacuate_host(context)
        recoveries.keep_maintenance(self._db, claim)
        rows = moves.all_of(self._db, claim.uuid)
        done = sum(row.status == MoveStatus.SUCCEEDED for row in rows)
        return Outcome(
            NotificationStatus.FINISHED, f"{done} evacuated, {len(rows) - done} skipped."
        )

    def _evacuate_host(self, context: RecoveryContext) -> None:
        """Run the flows of the segment's recovery method, until one has moved all."""
        kinds = _HOST_FLOWS[context.claim.recovery_method]
        before = ""
        for number, kind in enumerate(kinds, 1):
            try:
                if kind == "host-rh":
                    self._run(kind, context, {}, ReservedHosts(context))
                else:
                    self._run(kind, context, {})
            except RecoveryFailed as exc:
                rest = moves.all_of(self._db, context.claim.uuid)
                if number == len(kinds) and before and before not in str(exc):
                    raise RecoveryFailed(f"{before} {exc}") from exc
                if number == len(kinds) or not rest:
                    raise  # nothing was prepared: another flow would fail the same way
                before = str(exc)
                context.note(f"{exc} Continuing with the next method, {kinds[number]}.")
            else:
                return

    # --------------------------------------------------------------- flow

    def _run(
        self,
        kind: str,
        context: RecoveryContext,
        extra: dict[str, Any],
        main_retry: ReservedHosts | None = None,
    ) -> None:
        """Run a flow to its end.  Raises what a step raised, or Interrupted."""
        claim = context.claim
        flow = self._flows.build(kind, context, context.nova, main_retry)
        store = {
            "notification_uuid": claim.uuid,
            "host_name": claim.host_name,
            "payload": claim.payload,
            **extra,
        }
        steps.run(flow, context, store)


def _ignore_if_started(context: RecoveryContext, what: str) -> None:
    """Leave a host, or a process, alone that has started since, if nothing was done yet."""
    claim = context.claim
    started_by = since.started_by(context.db, claim)
    if started_by and not since.ran(context.db, claim):
        raise RecoveryIgnored(f"{what} has started since (notification {started_by}).")


def _was_stopped_since(context: RecoveryContext, instance_uuid: str) -> bool:
    """Whether a stop of an earlier claim came after the host recovery moved the instance.

    Returns when none can come any more.
    """
    if not context.reached(_STOP_STEP, StepState.RUNNING):
        return False
    context.outwait_earlier_claims()
    try:
        instance = context.nova.instance(instance_uuid)
    except NovaNotFound:
        return False
    return instance.vm_state == VmState.STOPPED


def _sentence(text: str) -> str:
    """Return the text with a full stop: Nova's messages often have none, and more may follow."""
    return text if text.endswith(".") else f"{text}."


def _with(message: str, refusals: list[str]) -> str:
    """Return the message with what Nova refused in the end, each refusal once."""
    new: dict[str, str] = {}
    for refusal in refusals:
        what = refusal.partition(" (Request-ID")[0]
        if what.rstrip(".") not in message:
            new.setdefault(what, _sentence(refusal))
    shown = list(new.values())[:_MOST_REFUSALS]
    more = [f"{len(new) - len(shown)} more were refused."] if len(new) > len(shown) else []
    return " ".join([message, *shown, *more])


def _facts(claim: Claim) -> Facts:
    """Return what events say of a notification under recovery."""
    return {
        "id": claim.id,
        "notification_uuid": claim.uuid,
        "generated_time": claim.generated_time,
        "source_host_uuid": claim.host_uuid,
        "type": claim.type,
        "payload": claim.payload,
        "status": NotificationStatus.RUNNING,
    }
