# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The calls that move one instance: before its evacuation, and after the verdict.

Each method blocks, and runs on the pool of `hacore.engine.evacuation`.
"""

import dataclasses
import logging
from typing import TYPE_CHECKING

from hacore.db import moves
from hacore.db.models import Move
from hacore.errors import (
    HacoreError,
    NovaBadRequest,
    NovaConflict,
    NovaError,
    NovaNotFound,
    NovaOutcomeUnknown,
    TransientNovaError,
)
from hacore.nova import Instance, Migration
from hacore.states import MoveStatus, PowerState, VmState

if TYPE_CHECKING:  # it makes what is defined here
    from hacore.engine.context import RecoveryContext

LOG = logging.getLogger(__name__)

#: vm_states that Nova does not evacuate (nova: compute/api.py, evacuate).
_RESET_FIRST = frozenset({VmState.PAUSED, VmState.SUSPENDED, VmState.RESCUED, VmState.RESIZED})


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a move.  A failed one without a message: Nova knows why."""

    status: MoveStatus
    dest_host: str | None = None
    message: str | None = None


GONE = Verdict(MoveStatus.IGNORED, message="The instance no longer exists.")


class InstanceEvacuator:
    """Evacuates single instances of one recovery.

    :param step: name of the task that this is part of, for the history; None: of none.
    :param target: host to evacuate to; None lets Nova choose.
    """

    def __init__(self, context: "RecoveryContext", step: str | None, target: str | None) -> None:
        self._context = context
        self._nova = context.nova
        self._step = step
        self._target = target
        self._lock_reason = f"hacore recovery {context.claim.uuid}"

    # ------------------------------------------------------------- before

    def start(
        self, move: Move, instance: Instance | None, newest: Migration | None
    ) -> Verdict | None:
        """Lock, make ready and evacuate an instance.

        :param instance: as it was listed on the host; None: it was not.
        :param newest: the newest record of an evacuation of it.

        Returns None when Nova has accepted, or a verdict when there is nothing
        to wait for.  Raises NovaOutcomeUnknown when the call got no answer.
        """
        try:
            if instance is None:
                return self._elsewhere(move)
            # a lock that is there and not ours is the owner's, and stays
            ours = move.locked and instance.lock_reason in (None, self._lock_reason)
            move.locked = ours or not instance.locked
            move.migration_before = max(move.migration_before, newest.id if newest else 0)
            if move.locked:
                self._nova.lock(move.instance_uuid, self._lock_reason, lambda: self._begin(move))
            else:
                self._begin(move)
            if instance.vm_state in _RESET_FIRST:
                self._reset(move)
            self._evacuate(move)
        except NovaNotFound:
            return GONE
        except NovaOutcomeUnknown:
            raise
        except NovaError as exc:
            return Verdict(MoveStatus.FAILED, message=str(exc))
        return None

    def _begin(self, move: Move) -> None:
        moves.begin(self._context.db, self._context.claim, move)

    def _about_to_call(self, move: Move) -> None:
        moves.about_to_call(self._context.db, self._context.claim, move)

    def _about_to_stop(self, move: Move) -> None:
        moves.about_to_stop(self._context.db, self._context.claim, move)

    def _reset(self, move: Move) -> None:
        self._nova.reset_state(move.instance_uuid, VmState.ERROR, lambda: self._about_to_call(move))

    def _elsewhere(self, move: Move) -> Verdict:
        host = self._nova.instance(move.instance_uuid).host
        if host is None or host == move.source_host:
            return Verdict(MoveStatus.FAILED, message=f"The instance is still on host {host}.")
        return Verdict(MoveStatus.SUCCEEDED, host, f"The instance was already on host {host}.")

    def _evacuate(self, move: Move) -> None:
        try:
            self._call(move)
        except (NovaConflict, NovaBadRequest) as exc:
            # busy, or moved: because of a call of ours that seemed lost?
            if self._recorded(move):
                return
            if isinstance(exc, NovaBadRequest):
                raise
            # busy with something that the dead host will never finish
            self._reset(move)
            self._call(move)

    def _call(self, move: Move) -> None:
        self._nova.evacuate(move.instance_uuid, self._target, lambda: self._about_to_call(move))

    def _recorded(self, move: Move) -> bool:
        return any(
            record.instance_uuid == move.instance_uuid and record.id > move.migration_before
            for record in self._nova.evacuations_from(move.source_host)
        )

    # -------------------------------------------------------------- after

    def finish(self, move: Move, verdict: Verdict, progress: float | None) -> Verdict:
        """Restore the power state, unlock, record the verdict; return it with its message.

        Not to be called while a lock or a stop of an earlier claim may be on its way.

        :param progress: of the step, once this is done.
        """
        verdict = self._complete(move, verdict)
        failure = None
        try:
            self._unlock(move)
        except HacoreError as exc:  # the move stays marked as locked: a later attempt unlocks
            failure = exc
        moves.end(
            self._context.db,
            self._context.claim,
            move,
            verdict.status,
            step=self._step,
            dest_host=verdict.dest_host,
            message=verdict.message,
            progress=progress,
        )
        if failure is not None:
            raise failure
        return verdict

    def _complete(self, move: Move, verdict: Verdict) -> Verdict:
        """Bring the instance to the state that it had; return the verdict with its message."""
        message = verdict.message
        if verdict.status == MoveStatus.SUCCEEDED:
            message = self._restore(move) or message
        elif verdict.status == MoveStatus.FAILED and message is None:
            try:
                message = self._fault(move)
            except NovaNotFound:  # it was deleted meanwhile: that is what ended the evacuation
                return GONE
        return dataclasses.replace(verdict, message=message)

    def unlock(self, move: Move) -> None:
        """Unlock an instance that an earlier claim has left locked, and record it."""
        self._unlock(move)
        moves.unlocked(self._context.db, self._context.claim, move)

    def _unlock(self, move: Move) -> None:
        if not move.locked:
            return
        try:
            self._nova.unlock(move.instance_uuid)
        except NovaNotFound:
            LOG.info("instance %s: no longer exists, nothing to unlock", move.instance_uuid)
        move.locked = False

    def _fault(self, move: Move) -> str:
        """Return Nova's reason; it is written a moment after the record of the failure."""
        fault = self._context.poll(
            lambda: self._nova.instance(move.instance_uuid).fault,
            self._context.conf.verify_interval,
        )
        return fault or (
            "The evacuation failed and Nova gives no reason; see the log of nova-compute on the "
            "destination host."
        )

    def _restore(self, move: Move) -> str | None:
        """Bring the evacuated instance to the state it had; return a sentence if it cannot be."""
        if move.vm_state == VmState.ACTIVE or (
            move.vm_state == VmState.RESIZED and move.power_state == PowerState.RUNNING
        ):
            return None  # where Nova leaves an evacuated instance
        try:
            self._stop(move)
            if move.vm_state == VmState.ERROR:
                self._nova.reset_state(move.instance_uuid, VmState.ERROR)
        except NovaNotFound:
            return "The instance was evacuated, and deleted since."
        except TransientNovaError:
            raise  # Nova is unavailable: the move stays open, and the next attempt restores it
        except NovaError as exc:
            return f"The instance was evacuated, but its state could not be restored: {exc}"
        return None

    def _stop(self, move: Move) -> None:
        uuid = move.instance_uuid
        if self._nova.instance(uuid).vm_state == VmState.STOPPED:
            return
        try:
            if move.vm_state == VmState.ERROR:
                # Nova stops one in error too: a stop that comes late would undo what follows
                self._nova.stop(uuid, lambda: self._about_to_stop(move))
            else:
                self._nova.stop(uuid)
        except NovaConflict:
            LOG.info("instance %s: is already being stopped", uuid)
        timeout_s = self._context.conf.wait_period_after_power_off
        stopped = self._context.poll(
            lambda: True if self._nova.instance(uuid).vm_state == VmState.STOPPED else None,
            timeout_s,
        )
        if not stopped:
            raise NovaError(f"timed out after {timeout_s} s waiting for it to stop")
