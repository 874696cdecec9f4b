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
from hacore.states import MoveStatus, PowerState, TaskState, VmState

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

_LIVE = "live-migration"
#: Statuses of a live migration that has not begun to move the guest, or has left it where it was.
_GUEST_AT_SOURCE = frozenset({"accepted", "queued", "preparing", "failed", "error", "cancelled"})


def _may_run_elsewhere(move: Move, migration: Migration) -> str:
    where = migration.dest_host or "its destination"
    return (
        f"Not evacuated: live migration {migration.id} to {where} was {migration.status} when "
        f"{move.source_host} failed, and the guest may run on {where}; make sure that it does not, "
        f"then run 'hacore-manage move confirm-gone {move.uuid}'."
    )


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
        """Make ready and evacuate an instance; lock it where that takes more than one call.

        Nova lets nobody change an instance that is being evacuated.  A lock protects what is
        before and after: one whose state is reset, or that is not to stay active.

        :param instance: as it was listed on the host; None: it was not.
        :param newest: the newest record of an evacuation of it.

        Returns None when Nova has accepted, or a verdict when there is nothing
        to wait for.  Raises NovaOutcomeUnknown when the call got no answer.
        """
        try:
            if instance is None:
                return self._elsewhere(move)
            running = self._running_migration(move, instance)
            if running is not None:
                return Verdict(MoveStatus.FAILED, message=_may_run_elsewhere(move, running))
            self._context.gates.before_move()
            move.migration_before = max(move.migration_before, newest.id if newest else 0)
            self._begin_with_lock(move, instance)
            if instance.vm_state in _RESET_FIRST:
                self._reset(move)
            self._evacuate(move)
        except NovaNotFound as exc:
            return self._not_found(move, exc)
        except NovaOutcomeUnknown:
            raise
        except NovaError as exc:
            return Verdict(MoveStatus.FAILED, message=str(exc))
        return None

    def _running_migration(self, move: Move, instance: Instance) -> Migration | None:
        """Return a live migration that may have brought the guest to its destination.

        Nova evacuates a server whatever its task_state; the guest would then run twice.
        """
        if instance.task_state != TaskState.MIGRATING or move.gone_confirmed_by is not None:
            return None
        records = self._context.believed(
            move.source_host, lambda: self._nova.migrations_of(move.instance_uuid)
        )
        newest = records[0] if records else None
        if newest is None or newest.type != _LIVE or newest.status in _GUEST_AT_SOURCE:
            return None
        return newest

    def _begin_with_lock(self, move: Move, instance: Instance) -> None:
        """Record the beginning; lock what is not ``active``, where nobody else has.

        A lock that Nova refuses keeps no instance on a dead host.
        """
        # a lock that is there and not ours is the owner's, and stays
        ours = move.locked and (self._is_ours(instance) or not instance.locked)
        wanted = move.vm_state != VmState.ACTIVE and not instance.locked
        move.locked = ours or wanted
        if not wanted:
            self._begin(move)
            return
        try:
            self._nova.lock(move.instance_uuid, self._lock_reason, lambda: self._begin(move))
        except NovaNotFound:
            raise
        except NovaError as exc:
            LOG.warning("instance %s: evacuated without a lock: %s", move.instance_uuid, exc)

    def _is_ours(self, instance: Instance) -> bool:
        """Whether a lock is that of this recovery, as far as Nova says whose it is."""
        if not self._nova.lock_has_reason:
            return True
        return instance.lock_reason == self._lock_reason

    def _not_found(self, move: Move, exc: NovaNotFound) -> Verdict:
        """Return what a 404 means: the instance is gone, or something else that was named."""
        try:
            host = self._nova.instance(move.instance_uuid).host
        except NovaNotFound:
            return GONE
        except NovaError as unread:
            return Verdict(MoveStatus.FAILED, message=f"{exc}; {unread}")
        if host is not None and host != move.source_host:
            return Verdict(MoveStatus.SUCCEEDED, host, f"The instance was already on host {host}.")
        return Verdict(MoveStatus.FAILED, message=str(exc))

    def _begin(self, move: Move) -> None:
        moves.begin(self._context.db, self._context.claim, move)

    def _about_to_call(self, move: Move, *, resets: bool = False) -> None:
        moves.about_to_call(self._context.db, self._context.claim, move, resets=resets)

    def _about_to_reset(self, move: Move) -> None:
        self._context.gates.before_move()  # a call may be retried for minutes
        self._about_to_call(move, resets=True)

    def _about_to_stop(self, move: Move) -> None:
        moves.about_to_stop(self._context.db, self._context.claim, move)

    def _reset(self, move: Move) -> None:
        self._nova.reset_state(
            move.instance_uuid, VmState.ERROR, lambda: self._about_to_reset(move)
        )

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
            if isinstance(exc, NovaBadRequest) or move.state_reset:
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

    def arrived(self, move: Move) -> Verdict | None:
        """Return the verdict on an instance that is on another host and idle, or gone; or None.

        For an evacuation whose record does not say that it has ended.
        """
        try:
            instance = self._nova.instance(move.instance_uuid)
        except NovaNotFound:
            return GONE
        if instance.host in (None, move.source_host) or instance.task_state is not None:
            return None
        return Verdict(MoveStatus.SUCCEEDED, instance.host)

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
            move.state_reset = False
        elif verdict.status == MoveStatus.FAILED:
            try:
                message = message or self._fault(move)
                if move.state_reset:
                    message = f"{message.rstrip('.')}. {self._set_back(move)}".strip()
            except NovaNotFound:  # it was deleted meanwhile: that is what ended the evacuation
                return GONE
        return dataclasses.replace(verdict, message=message)

    def _set_back(self, move: Move) -> str:
        """Undo the reset of an instance that was not evacuated; return a sentence about it."""
        instance = self._nova.instance(move.instance_uuid)
        if instance.vm_state != VmState.ERROR or instance.task_state:
            return ""
        if self._recorded(move) and instance.fault:
            return ""  # the evacuation that Nova has begun left that
        if move.vm_state != VmState.ACTIVE:
            return (
                f"The instance was {move.vm_state} and is in ERROR since hacore reset its state; "
                "Nova cannot set that back."
            )
        try:
            self._nova.reset_state(
                move.instance_uuid, VmState.ACTIVE, lambda: self._about_to_call(move)
            )
        except (NovaNotFound, TransientNovaError):
            raise
        except NovaError as exc:
            return f"It is in ERROR since hacore reset its state: {exc}"
        move.state_reset = False
        return "Its state, which hacore had reset to ERROR, is active again."

    def unlock(self, move: Move) -> None:
        """Unlock an instance that an earlier claim has left locked, and record it."""
        self._unlock(move)
        moves.unlocked(self._context.db, self._context.claim, move)

    def _unlock(self, move: Move) -> None:
        """Take off our own lock; one that somebody has put on since stays."""
        if not move.locked:
            return
        try:
            instance = self._nova.instance(move.instance_uuid)
            if instance.locked and self._is_ours(instance):
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
