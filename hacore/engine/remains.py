# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a recovery leaves behind that ends before its work is done, and how it is cleared up.

It may have been broken off anywhere, by the engine that clears up or by one
that died: instances that are locked, moves without a verdict, a reserved host
that nothing went to, a host that lives and is disabled.
"""

from hacore.db import moves, reserved
from hacore.db.models import Move
from hacore.engine.moving import GONE, Mover, Verdict
from hacore.errors import NovaNotFound
from hacore.nova import LATE_S
from hacore.states import MoveStatus, NotificationType
from hacore.tasks.base import Recovery
from hacore.tasks.host import undo

_OPEN = {
    MoveStatus.PENDING: "It was not evacuated: the recovery ended before its turn came.",
    MoveStatus.ONGOING: "The recovery ended before Nova had evacuated the instance.",
}


def clear_up(recovery: Recovery) -> None:
    """Leave nothing half-done.

    Raises NovaError where Nova cannot be asked: to be called again then.
    """
    claim = recovery.claim
    if claim.type != NotificationType.COMPUTE_HOST:
        return
    mover = Mover(recovery, None, None)
    _outwait_late_calls(recovery)
    rows = moves.all_of(recovery.db, claim.uuid)
    for move in rows:
        if move.status in _OPEN:
            mover.settle(move, _verdict(recovery, move), None)
        elif move.locked:
            mover.unlock(move)
    give_back_unused(recovery)
    if not any(move.status == MoveStatus.SUCCEEDED for move in rows):
        service = recovery.nova.service(claim.host_name)
        if service is not None and service.up:
            undo(recovery, service)


def _outwait_late_calls(recovery: Recovery) -> None:
    """Wait until nothing that was broken off can reach Nova any more.

    A lock that comes after the last unlock would stay for good.
    """
    ages_s = moves.seconds_since_calls(recovery.db, recovery.claim.uuid).values()
    late_s = LATE_S - max(0.0, min(ages_s, default=LATE_S))
    if late_s > 0:
        recovery.guard.wait(late_s)


def give_back_unused(recovery: Recovery) -> None:
    """Reserve the hosts again that this recovery has taken, in whichever attempt, for nothing."""
    gone_to = {move.dest_host for move in moves.all_of(recovery.db, recovery.claim.uuid)}
    for name in reserved.taken(recovery.db, recovery.claim):
        if name not in gone_to:
            reserved.give_back(recovery.db, recovery.claim, name)


def _verdict(recovery: Recovery, move: Move) -> Verdict:
    """Nova's word, where it has one."""
    try:
        host = recovery.nova.instance(move.instance_uuid).host
    except NovaNotFound:
        return GONE
    if host is None or host == move.source_host:
        return Verdict(MoveStatus.FAILED, message=_OPEN[MoveStatus(move.status)])
    return Verdict(MoveStatus.SUCCEEDED, host)
