# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tasks of the recovery of a crashed instance."""

from collections.abc import Callable

from oslo_utils import strutils

from hacore.errors import (
    NovaConflict,
    NovaNotFound,
    RecoveryFailed,
    RecoveryIgnored,
    RecoverySkipped,
)
from hacore.nova import Instance
from hacore.states import StepState, TaskState, VmState
from hacore.tasks.alarm import Alarm
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

    def order(
        self, give: Callable[[str], None], uuid: str, vm_state: str, task_state: str
    ) -> bool | None:
        """Give Nova an order; None: it is busy with something else, and to be looked at again.

        :param vm_state: it has been carried out already.
        :param task_state: it is being carried out already.
        """
        try:
            give(uuid)
        except NovaConflict as exc:
            instance = self.instance(uuid)
            if instance.vm_state == vm_state or instance.task_state == task_state:
                return True
            if not instance.task_state:
                raise RecoveryFailed(str(exc)) from exc
            return None
        return True

    def when_idle(
        self, uuid: str, act: Callable[[Instance], bool | None], timeout_s: float
    ) -> None:
        """Call `act` with the instance until it returns True, or fail.

        `act` returns None while something is going on with the instance.
        """
        last: Instance | None = None
        begun = self.context.clock.monotonic()

        def probe() -> bool | None:
            nonlocal last
            before = last and last.task_state
            if last is not None:
                last = self.instance(uuid, begun)
            if last is None or not last.task_state:
                last = self.instance(uuid)  # what decides is not taken from a list of some age
            done = act(last)
            if not done and last.task_state and last.task_state != before:
                self.update_details(
                    f"Waiting until instance {uuid} is idle (task_state {last.task_state})."
                )
            return done

        self.wait_until(
            probe,
            timeout_s,
            lambda: (
                f"Timed out after {timeout_s:g} s waiting for instance {uuid} to be idle "
                f"(vm_state {last and last.vm_state}, task_state {last and last.task_state})."
            ),
        )


class StopInstanceTask(_InstanceTask):
    """Stop the instance, so that it can be started again."""

    def execute(self, instance_uuid: str) -> None:
        """Stop it and wait until it is stopped; skip one that is not to be restarted.

        One that is busy with something else is waited for, and then looked at again.
        """
        stopped_before = self.context.reached(self.name, StepState.SUCCESS)
        if not stopped_before and self.context.reached(self.name, StepState.RUNNING):
            # a stop of an earlier claim that is on its way must not come after the start, nor
            # after a recovery that leaves the instance alone
            self.context.outwait_earlier_claims()
        alarm = Alarm(self.context, self.novaclient, instance_uuid, self.name)
        if stopped_before:
            instance = self.instance(instance_uuid)
            self._check_wanted(instance)
            alarm.check_host(instance)  # its host may have failed meanwhile
            # an engine that died after this step may have started it already
            self.update_details(
                f"Instance {instance_uuid} was already stopped by an earlier claim.", 1.0
            )
            return
        timeout_s = self.context.conf.wait_period_after_power_off
        self.when_idle(instance_uuid, lambda instance: self._stop(instance, alarm), timeout_s)
        self.wait_for_state(instance_uuid, VmState.STOPPED, timeout_s)
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

    def _stop(self, instance: Instance, alarm: Alarm) -> bool | None:
        """Order the stop, unless the instance is busy, or well."""
        self._check_wanted(instance)
        alarm.check_host(instance)
        stopping = instance.task_state == TaskState.POWERING_OFF
        if instance.task_state and not stopping:
            alarm.saw_busy(instance)
            return None
        if not alarm.holds(instance):
            return None
        if stopping or instance.vm_state == VmState.STOPPED:
            return True
        uuid = instance.uuid
        if instance.vm_state == VmState.RESIZED:
            self.novaclient.reset_state(uuid, VmState.ACTIVE)
            self.update_details(f"Reset the state of resized instance {uuid}.", 0.2)
        alarm.about_to_stop()
        return self.order(self.novaclient.stop, uuid, VmState.STOPPED, TaskState.POWERING_OFF)


class StartInstanceTask(_InstanceTask):
    """Start the stopped instance."""

    def execute(self, instance_uuid: str) -> None:
        """Ask Nova to start it; only a stopped one is started."""
        alarm = Alarm(self.context, self.novaclient, instance_uuid, self.name)
        timeout_s = self.context.conf.wait_period_after_power_on
        self.when_idle(instance_uuid, lambda instance: self._start(instance, alarm), timeout_s)

    def _start(self, instance: Instance, alarm: Alarm) -> bool | None:
        uuid = instance.uuid
        if instance.vm_state == VmState.ACTIVE:  # it was stopped: somebody has started it since
            earlier = self.context.reached(self.name, StepState.RUNNING)
            who = "an earlier claim" if earlier else "somebody else"
            self.update_details(f"Instance {uuid} was already started by {who}.", 1.0)
            return True
        if instance.vm_state != VmState.STOPPED:
            raise RecoveryFailed(
                f"Instance {uuid} cannot be started: vm_state is {instance.vm_state}, "
                f"expected {VmState.STOPPED}."
            )
        alarm.check_host(instance)  # a host recovery may have moved it while this one waited
        if instance.task_state and instance.task_state != TaskState.POWERING_ON:
            return None
        begun = self.order(self.novaclient.start, uuid, VmState.ACTIVE, TaskState.POWERING_ON)
        if begun:
            self.update_details(f"Starting instance {uuid}.", 1.0)
        return begun


class ConfirmInstanceActiveTask(_InstanceTask):
    """Wait until the instance is active."""

    def execute(self, instance_uuid: str) -> None:
        """Poll until it is, or fail."""
        self.wait_for_state(
            instance_uuid, VmState.ACTIVE, self.context.conf.wait_period_after_power_on
        )
        self.update_details(f"Instance {instance_uuid} is active.", 1.0)
