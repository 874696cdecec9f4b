# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Cleans up after a recovery that ends before its work is done.

It may have been interrupted anywhere, under this claim or under that of an engine
that died: instances that are locked, moves without a verdict, a reserved host
that no instance went to, a living host that is disabled.
"""

from hacore.db import moves, recoveries
from hacore.db.models import Move
from hacore.engine.context import RecoveryContext
from hacore.engine.instance_evacuation import GONE, InstanceEvacuator, Verdict
from hacore.engine.reserved import give_back_unused
from hacore.errors import NovaError, NovaNotFound, TransientNovaError
from hacore.nova import LATE_S, Service
from hacore.states import MoveStatus, NotificationType

_OPEN = {
    MoveStatus.PENDING: "Not evacuated: the recovery ended before its turn.",
    MoveStatus.ONGOING: "Not evacuated: the recovery ended while the evacuation was under way.",
}


def clean_up(context: RecoveryContext) -> list[str]:
    """Leave nothing half-done; what Nova refuses does not keep the rest from being done.

    Returns sentences about what was refused.  Raises TransientNovaError where Nova is
    unavailable: to be called again then.
    """
    claim = context.claim
    if claim.type != NotificationType.COMPUTE_HOST:
        return []
    rows = moves.all_of(context.db, claim.uuid)
    refusals = _end_moves(context, rows) if rows else []
    refusals += give_back_unused(context)
    recovered = any(move.status == MoveStatus.SUCCEEDED for move in rows)
    if not recovered and recoveries.changed_host(context.db, claim):
        try:
            service = context.nova.service(claim.host_name)
            if service is None and not claim.expired:
                _refuse_missing_service(context)
            if service is not None and service.up:
                restore_host(context, service)
        except TransientNovaError:
            raise
        except NovaError as exc:
            refusals.append(str(exc))
    return refusals


def _end_moves(context: RecoveryContext, rows: list[Move]) -> list[str]:
    """Give each open move a verdict, and unlock what is locked; return what was refused."""
    # a lock that comes after the last unlock would stay for good
    calls_s = moves.seconds_since_calls(context.db, rows).values()
    context.outwait(min(calls_s, default=LATE_S))
    evacuator = InstanceEvacuator(context, None, None)
    refusals = []
    for move in rows:
        try:
            if move.status in _OPEN:
                _end_move(context, evacuator, move)
            elif move.locked:
                evacuator.unlock(move)
        except TransientNovaError:
            raise
        except NovaError as exc:
            refusals.append(str(exc))
    return refusals


def _end_move(context: RecoveryContext, evacuator: InstanceEvacuator, move: Move) -> None:
    """Give an open move its verdict, also where Nova refuses to be asked about it."""
    try:
        verdict = _verdict(context, move)
        evacuator.finish(move, verdict, None)
    except TransientNovaError:
        raise
    except NovaError as exc:
        if not moves.is_open(context.db, move):
            raise  # it is the unlock that was refused: the lock stays recorded
        why = f"{_OPEN[MoveStatus(move.status)]} {exc}"
        moves.end(context.db, context.claim, move, MoveStatus.FAILED, step=None, message=why)
        if move.locked:
            evacuator.unlock(move)
        raise


def restore_host(context: RecoveryContext, service: Service) -> None:
    """Undo what this recovery, in whichever attempt, did to a host that turned out to live."""
    db, claim = context.db, context.claim
    if left := context.fencing.unsettled():
        context.note(f"{service.host} stays disabled and on maintenance: {left.why}.")
        return
    if recoveries.disabled_service(db, claim):
        context.nova.enable_service(service)
        recoveries.enabled_again(db, claim)
        context.note(f"Enabled nova-compute on {service.host} again.")
    recoveries.end_maintenance(db, claim)


def _refuse_missing_service(context: RecoveryContext) -> None:
    """Raise TransientNovaError where Nova has shown the service before that it does not now."""
    host = context.claim.host_name
    if recoveries.disabled_service(context.db, context.claim):
        raise TransientNovaError(
            f"Nova does not show the compute service of {host} any more, which hacore has "
            "disabled; if it was deleted in Nova, abandon this recovery."
        )


def _verdict(context: RecoveryContext, move: Move) -> Verdict:
    """Return what Nova says of an open move."""
    try:
        host = context.nova.instance(move.instance_uuid).host
    except NovaNotFound:
        return GONE
    if host is None or host == move.source_host:
        return Verdict(MoveStatus.FAILED, message=_OPEN[MoveStatus(move.status)])
    return Verdict(MoveStatus.SUCCEEDED, host)
