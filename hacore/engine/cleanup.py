# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Cleans up after a recovery that ends before its work is done.

It may have been interrupted anywhere, under this claim or under that of an engine
that died: instances that are locked, moves without a verdict, a reserved host
that no instance went to, a living host that is disabled.
"""

from hacore.db import moves, recoveries, reserved
from hacore.db.models import Move
from hacore.engine.context import RecoveryContext
from hacore.engine.instance_evacuation import GONE, InstanceEvacuator, Verdict
from hacore.errors import NovaNotFound
from hacore.nova import LATE_S, Service
from hacore.states import MoveStatus, NotificationType

_OPEN = {
    MoveStatus.PENDING: "Not evacuated: the recovery ended before its turn.",
    MoveStatus.ONGOING: "Not evacuated: the recovery ended while the evacuation was under way.",
}


def clean_up(context: RecoveryContext) -> None:
    """Leave nothing half-done.

    Raises NovaError where Nova does not answer: to be called again then.
    """
    claim = context.claim
    if claim.type != NotificationType.COMPUTE_HOST:
        return
    rows = moves.all_of(context.db, claim.uuid)
    # a lock that comes after the last unlock would stay for good
    calls_s = moves.seconds_since_calls(context.db, rows).values()
    context.outwait(min(calls_s, default=LATE_S))
    evacuator = InstanceEvacuator(context, None, None)
    for move in rows:
        if move.status in _OPEN:
            evacuator.finish(move, _verdict(context, move), None)
        elif move.locked:
            evacuator.unlock(move)
    give_back_unused(context)
    if not any(move.status == MoveStatus.SUCCEEDED for move in rows):
        service = context.nova.service(claim.host_name)
        if service is not None and service.up:
            restore_host(context, service)


def restore_host(context: RecoveryContext, service: Service) -> None:
    """Undo what this recovery, in whichever attempt, did to a host that turned out to live."""
    db, claim = context.db, context.claim
    if recoveries.disabled_service(db, claim):
        context.nova.enable_service(service)
        recoveries.mark_service_disabled(db, claim, False)
        context.note(f"Enabled nova-compute on {service.host} again.")
    recoveries.end_maintenance(db, claim)


def give_back_unused(context: RecoveryContext) -> None:
    """Reserve the hosts again that this recovery took, in whichever attempt, and did not use."""
    taken = reserved.taken(context.db, context.claim)
    if not taken:
        return
    used = {move.dest_host for move in moves.all_of(context.db, context.claim.uuid)}
    for name in taken:
        if name not in used:
            reserved.give_back(context.db, context.claim, name)


def _verdict(context: RecoveryContext, move: Move) -> Verdict:
    """Return what Nova says of an open move."""
    try:
        host = context.nova.instance(move.instance_uuid).host
    except NovaNotFound:
        return GONE
    if host is None or host == move.source_host:
        return Verdict(MoveStatus.FAILED, message=_OPEN[MoveStatus(move.status)])
    return Verdict(MoveStatus.SUCCEEDED, host)
