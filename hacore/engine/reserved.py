# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reserved hosts: made ready for a recovery, and given back as they were.

The end of the rh flow's main list runs once per reserved host, through taskflow's retry.
"""

from typing import Any

from taskflow import retry
from taskflow.types import failure as taskflow_failure

from hacore.db import moves, recoveries, reserved
from hacore.db.reserved import Taken, Use
from hacore.engine.context import RecoveryContext
from hacore.errors import NovaError, NovaOutcomeUnknown, RecoveryFailed, TransientNovaError
from hacore.nova import Service
from hacore.states import MoveStatus

_CLOSED = (MoveStatus.SUCCEEDED, MoveStatus.IGNORED)


class ReservedHosts(retry.Retry):
    """Gives each round a reserved host, as ``reserved_host``.

    A round that failed is followed by one with the next host: what has moved by
    then stays moved.  A host that Nova lets hacore not make ready is not tried.
    """

    default_provides = "reserved_host"

    def __init__(self, context: RecoveryContext) -> None:
        super().__init__(name="reserved-hosts")
        self._context = context
        self._refused: dict[str, str] = {}  #: hosts that could not be made ready, with the reason

    def execute(self, history: Any, **_kwargs: Any) -> str | None:
        """Take the next reserved host and make it ready; None: nothing is left to be moved.

        Raises RecoveryFailed when none is.
        """
        context, claim = self._context, self._context.claim
        taken = reserved.taken(context.db, claim)
        rows = moves.all_of(context.db, claim.uuid)
        if rows and all(row.status in _CLOSED for row in rows):
            return next((host.name for host in taken), None)
        had = [name for name in history.provided_iter() if name]
        for host in taken:
            if host.name in had:
                give_back(context, host)
        while True:
            tried = [*had, *self._refused]
            name = reserved.take(context.db, claim, tried)
            if name is None:
                where = f"No reserved host is free in segment {claim.segment_name}"
                reasons = [*self._refused.values(), *_reasons(history)]
                raise RecoveryFailed(
                    " ".join([f"{where} (tried: {', '.join(tried) or 'none'}).", *reasons])
                )
            why = self._unusable(name)
            if why is None:
                context.note(f"Evacuating to reserved host {name}.")
                return name
            context.note(why)
            self._refused[name] = why
            for host in reserved.taken(context.db, claim):
                if host.name == name:
                    give_back(context, host)

    def _unusable(self, name: str) -> str | None:
        """Make the host ready; return a sentence if it cannot be."""
        service = self._context.nova.service(name)
        if service is None or not service.up:
            return f"Nova shows reserved host {name} as down; skipped it."
        try:
            self._make_ready(service)
        except (TransientNovaError, NovaOutcomeUnknown):
            raise  # it may be well: the next attempt has it
        except NovaError as exc:
            return f"Reserved host {name} is not used: {_sentence(exc)}"
        return None

    def _make_ready(self, service: Service) -> None:
        context, name = self._context, service.host
        if context.conf.host_failure.add_reserved_host_to_aggregate:
            for aggregate in context.nova.aggregates():
                members = aggregate.hosts
                if context.claim.host_name in members and name not in members:
                    reserved.about_to_join(context.db, context.claim, name, aggregate.id)
                    context.nova.add_to_aggregate(aggregate, name)
                    context.note(f"Added {name} to aggregate {aggregate.name}.")
        if not service.enabled:
            reserved.about_to_enable(context.db, context.claim, name, service.disabled_reason)
            context.nova.enable_service(service)

    def on_failure(self, history: Any, *_args: Any, **_kwargs: Any) -> str:
        """Another round, where the failure is one that another host may not have.

        Nothing is done here: taskflow does not expect that this is interrupted.
        """
        name, failures = history[-1]
        if not name:
            return str(retry.REVERT)  # it was `execute` that failed, or nothing was to be moved
        helps = all(
            isinstance(failure.exception, RecoveryFailed | NovaError)
            for failure in failures.values()
            if isinstance(failure, taskflow_failure.Failure)
        )
        return str(retry.RETRY if helps else retry.REVERT)


def give_back_unused(context: RecoveryContext) -> list[str]:
    """Give back what this recovery took, in whichever attempt, and did not use.

    Returns sentences about what Nova refused.  Raises TransientNovaError.
    """
    refusals = []
    for host in reserved.taken(context.db, context.claim):
        if host.use is not Use.USED:
            refusals += give_back(context, host)
        elif host.touched:  # it is in service from now on
            reserved.undone(context.db, context.claim, host.name)
    return refusals


def give_back(context: RecoveryContext, host: Taken) -> list[str]:
    """Reserve a host again to which no instance went, after it is in Nova as it was before.

    What Nova refuses is noted, and does not keep the host from being reserved: a reserved host
    that is enabled serves the next failure, one that nobody may take serves none.  It stays on
    the row, and is tried again when the host is given back the next time.

    Returns sentences about what Nova refused.  Raises TransientNovaError: the host stays taken.
    """
    refusals = []
    if host.use is Use.UNUSED and host.touched:
        refusals = _undo(context, host)
        for refusal in refusals:
            context.note(refusal)
    reserved.give_back(context.db, context.claim, host.name)
    return refusals


def _undo(context: RecoveryContext, host: Taken) -> list[str]:
    if recoveries.was_handed_over(context.db, context.claim):
        context.outwait_earlier_claims()  # what comes after this would stay
    refused = []
    for undo in (_disable, _leave_aggregates):
        try:
            undo(context, host)
        except TransientNovaError:
            raise
        except NovaError as exc:
            refused.append(
                f"Reserved host {host.name} was not used, and is not as it was before: "
                f"{_sentence(exc)}"
            )
    if not refused:
        reserved.undone(context.db, context.claim, host.name)
    return refused


def _disable(context: RecoveryContext, host: Taken) -> None:
    if host.enabled_from is None:
        return
    service = context.nova.service(host.name)
    if service is not None and service.enabled:
        context.nova.disable_service(service, host.enabled_from or "Reserved host.")
        context.note(f"Disabled nova-compute on reserved host {host.name} again: it was not used.")


def _leave_aggregates(context: RecoveryContext, host: Taken) -> None:
    if not host.joined_aggregates:
        return
    for aggregate in context.nova.aggregates():
        if aggregate.id in host.joined_aggregates and host.name in aggregate.hosts:
            context.nova.remove_from_aggregate(aggregate, host.name)
            context.note(f"Removed {host.name} from aggregate {aggregate.name} again.")


def _sentence(exc: NovaError) -> str:
    text = str(exc)
    return text if text.endswith(".") else f"{text}."


def _reasons(history: Any) -> list[str]:
    """Return what the last round failed with."""
    if not len(history):
        return []
    _name, failures = history[-1]
    return [failure.exception_str for failure in failures.values()]
