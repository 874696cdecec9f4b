# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tasks of the recovery of a crashed instance."""

from oslo_utils import strutils

from hacore.errors import (
    NovaConflict,
    NovaNotFound,
    RecoveryFailed,
    RecoveryIgnored,
    RecoverySkipped,
)
from hacore.nova import Instance
from hacore.states import StepState, VmState
from hacore.tasks.base import Task

_LEFT_ALONE = (VmState.PAUSED, VmState.RESCUED)
_GONE = (VmState.DELETED, VmState.SOFT_DELETED)


class _InstanceTask(Task):
    def instance(self, uuid: str, after: float | None = None) -> Instance:
        """Read it; one that Nova no longer has ends the recovery, finished.

        :param after: a list of its host may be shared that is not older than this (monotonic).
        """
        try:
            if after is None:
                instance = self.novaclient.instance(uuid)
            else:
                instance = self.context.look(uuid, self.context.claim.host_name, after)
        except NovaNotFound as exc:
            raise RecoverySkipped(f"Instance {uuid} no longer exists.") from exc
        if instance.vm_state in _GONE:
            raise RecoverySkipped(
                f"Instance {uuid} no longer exists (vm_state {instance.vm_state})."
            )
        return instance

    def wait_for_state(self, uuid: str, vm_state: str, timeout_s: float) -> None:
        """Poll until the instance is in `vm_state` and idle, or fail."""
        last = ""
        begun = self.context.clock.monotonic()

        def probe() -> bool | None:
            nonlocal last
            instance = self.instance(uuid, begun)
            last = f"vm_state {instance.vm_state}, task_state {instance.task_state}"
            return True if instance.vm_state == vm_state and not instance.task_state else None

        self.wait_until(
            probe,
            timeout_s,
            lambda: (
                f"Timed out after {timeout_s:g} s waiting for instance {uuid} to be {vm_state} "
                f"({last})."
            ),
        )


class StopInstanceTask(_InstanceTask):
    """Stop the instance, so that it can be started again."""

    def execute(self, instance_uuid: str) -> None:
        """Stop it and wait until it is stopped; skip one that is not to be restarted."""
        stopped_before = self.context.reached(self.name, StepState.SUCCESS)
        if not stopped_before and self.context.reached(self.name, StepState.RUNNING):
            # a stop of an earlier claim that is on its way must not come after the start, nor
            # after a recovery that leaves the instance alone
            self.context.outwait_earlier_claims()
        instance = self.instance(instance_uuid)
        self._check_wanted(instance)
        if stopped_before:
            # an engine that died after this step may have started it already
            self.update_details(
                f"Instance {instance_uuid} was already stopped by an earlier claim.", 1.0
            )
            return
        if instance.vm_state == VmState.RESIZED:
            self.novaclient.reset_state(instance_uuid, VmState.ACTIVE)
            self.update_details(f"Reset the state of resized instance {instance_uuid}.", 0.2)
        if instance.vm_state != VmState.STOPPED:
            self._stop(instance_uuid)
        self.wait_for_state(
            instance_uuid, VmState.STOPPED, self.context.conf.wait_period_after_power_off
        )
        self.update_details(f"Instance {instance_uuid} is stopped.", 1.0)

    def _check_wanted(self, instance: Instance) -> None:
        options = self.context.conf.instance_failure
        key = options.ha_enabled_instance_metadata_key
        if not options.process_all_instances and not strutils.bool_from_string(
            instance.metadata.get(key)
        ):
            raise RecoverySkipped(
                f"Skipped: instance {instance.uuid} is not HA-enabled (no metadata {key}=True)."
            )
        if instance.vm_state in _LEFT_ALONE:
            raise RecoveryIgnored(
                f"Instance {instance.uuid} is {instance.vm_state}, and is not restarted."
            )

    def _stop(self, uuid: str) -> None:
        try:
            self.novaclient.stop(uuid)
        except NovaConflict as exc:
            instance = self.instance(uuid)
            if instance.vm_state != VmState.STOPPED and not instance.task_state:
                raise RecoveryFailed(str(exc)) from exc
            # it is being stopped already, or has been: see it through


class StartInstanceTask(_InstanceTask):
    """Start the stopped instance."""

    def execute(self, instance_uuid: str) -> None:
        """Ask Nova to start it; only a stopped one is started."""
        instance = self.instance(instance_uuid)
        if instance.vm_state == VmState.ACTIVE and self.context.reached(
            self.name, StepState.RUNNING
        ):
            self.update_details(
                f"Instance {instance_uuid} was already started by an earlier claim.", 1.0
            )
            return
        if instance.vm_state != VmState.STOPPED:
            raise RecoveryFailed(
                f"Instance {instance_uuid} cannot be started: vm_state is {instance.vm_state}, "
                f"expected {VmState.STOPPED}."
            )
        try:
            self.novaclient.start(instance_uuid)
        except NovaConflict as exc:
            instance = self.instance(instance_uuid)
            if instance.vm_state != VmState.ACTIVE and not instance.task_state:
                raise RecoveryFailed(str(exc)) from exc
        self.update_details(f"Starting instance {instance_uuid}.", 1.0)


class ConfirmInstanceActiveTask(_InstanceTask):
    """Wait until the instance is active."""

    def execute(self, instance_uuid: str) -> None:
        """Poll until it is, or fail."""
        self.wait_for_state(
            instance_uuid, VmState.ACTIVE, self.context.conf.wait_period_after_power_on
        )
        self.update_details(f"Instance {instance_uuid} is active.", 1.0)
