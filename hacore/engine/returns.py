# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What steps of a return share: whether its host is heard, and how it is left as it was."""

from hacore.db import operations, returns
from hacore.engine.context import OperationContext
from hacore.nova import Service
from hacore.states import SILENT_AFTER, Hearing, OperationType

DEADLINE_S = operations.DEADLINES_S[OperationType.RETURN]
#: One heartbeat may be an old one that a broker has kept.
_MOVES = 2


def is_heard(context: OperationContext) -> bool:
    """Whether two heartbeats of the host come in from now on; a silent host is not waited for."""
    watch, host = context.engine.watch, context.claim.host_name
    seen: list[str] = []

    def probe() -> bool | None:
        pulse = watch.pulse(host)
        if pulse is None or pulse.beat is None:
            return None
        if pulse.beat not in seen[-1:]:
            seen.append(pulse.beat)
        return True if len(seen) > _MOVES and pulse.hearing is Hearing.HEARD else None

    pulse = watch.pulse(host)
    if pulse is not None and pulse.hearing is Hearing.SILENT:
        return False
    with watch.hurried():
        return bool(context.poll(probe, (_MOVES + SILENT_AFTER) * watch.interval_s))


def undo(context: OperationContext) -> str:
    """Leave the host disabled and forced down, as far as it was; return a sentence about it.

    It is on maintenance still: that ends when nothing can fail any more.
    """
    db, claim = context.db, context.claim
    done = returns.did(db, claim)
    if not done & {returns.FORCED_UP, returns.ENABLED}:
        return ""
    service = context.nova.service(claim.host_name)
    if service is None:
        return f"Nova has no nova-compute service on host {claim.host_name} any more."
    undone = []
    if returns.ENABLED in done:
        _disable_again(context, service)
        undone.append("disabled")
    if returns.FORCED_UP in done:
        if not service.forced_down:
            context.nova.force_down(service)
        undone.append("forced down")
    returns.undone(db, claim)
    return f"{claim.host_name} is {' and '.join(undone)} again."


def _disable_again(context: OperationContext, service: Service) -> None:
    db, claim = context.db, context.claim
    before = returns.disabled(db, claim)
    reason = (before and before.reason) or context.conf.host_failure.service_disable_reason
    returns.about_to_disable_again(db, claim, reason)
    if service.enabled:
        context.nova.disable_service(service, reason)
