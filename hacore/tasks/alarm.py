# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Whether an alarm about an instance still holds when hacore gets to it.

A crash is known to the host monitor first.  Nova shows a dead guest as running for at least
15 s, and where it does not listen to the hypervisor for up to 10 min; one that hangs it shows
as running for ever.  So "running" alone proves nothing: an instance is left alone only if it is
on another host, or if it has been restarted since the alarm came in and Nova shows it as running.
"""

from hacore.db import since
from hacore.engine.context import RecoveryContext
from hacore.errors import NovaForbidden, RecoveryIgnored, RecoverySkipped
from hacore.nova import RESTARTS, Instance, Nova
from hacore.states import PowerState, VmState

#: Seconds after which Nova has heard of the end of a guest, if it listens to the hypervisor
#: (nova: virt/libvirt/host.py holds STOPPED events back for 15 s).
_NOVA_KNOWS_S = 20.0
#: No restart counts that began in the first seconds after the alarm came in: the ages of Nova's
#: actions are not more exact (`hacore.nova.Action`), and the alarm itself comes a little after
#: the crash.  A needless restart costs seconds, a missing one leaves the guest down.
_FIRST_S = 2.0
#: When one of these ends, the guest runs in a new process and Nova has read its power state
#: (nova: compute/task_states.py).
_RESTARTING = frozenset(
    {
        "powering-on",
        "reboot_pending",
        "reboot_pending_hard",
        "reboot_started",
        "reboot_started_hard",
        "rebooting",
        "rebooting_hard",
        "rebuild_block_device_mapping",
        "rebuild_spawning",
        "rebuilding",
    }
)


class Alarm:
    """What a VM notification says, compared with what Nova shows.

    :param stop_step: the name of the step that stops instances.
    """

    def __init__(self, context: RecoveryContext, nova: Nova, uuid: str, stop_step: str) -> None:
        self._context = context
        self._nova = nova
        self._uuid = uuid
        self._stop_step = stop_step
        self._stopping = f"Stopping instance {uuid}."
        self._restarting: str | None = None  #: a task_state that was seen

    def saw_busy(self, instance: Instance) -> None:
        """Remember what was going on with the instance."""
        if instance.task_state in _RESTARTING:
            self._restarting = instance.task_state

    def holds(self, instance: Instance) -> bool:
        """Return whether the instance is to be stopped; False: it is to be looked at again.

        Raises RecoveryIgnored or RecoverySkipped where it is not.
        """
        running = instance.power_state == PowerState.RUNNING and not instance.task_state
        if not running or instance.vm_state not in (VmState.ACTIVE, VmState.RESIZED):
            return True
        self._check_restarted_by_us()
        # that it runs in the end says nothing of a guest that hangs, which is one that runs
        if self._restarting and self._context.claim.payload.get("event") == "LIFECYCLE":
            return self._outlives_restart()
        self._check_restarted_in_nova()
        return True

    def about_to_stop(self) -> None:
        """Record, before it is sent, that Nova is asked to stop the instance."""
        self._record(self._stopping)

    def check_host(self, instance: Instance) -> None:
        """Raise RecoveryIgnored where Nova has the instance on another host than the alarm.

        Also one that is busy: what is on its way to the reported host has not died there.
        """
        reported = self._context.claim.host_name
        if instance.host == reported:
            return
        if instance.vm_state == VmState.STOPPED and self._stopped_by_us():
            return
        if self._nova.service(reported) is None:
            return  # a name that Nova does not know says nothing about where an instance is
        where = f"on host {instance.host}" if instance.host else "on no host"
        raise RecoveryIgnored(f"Instance {self._uuid} is {where} in Nova, not on {reported}.")

    def _stopped_by_us(self) -> bool:
        return since.noted(self._context.db, self._context.claim, self._stopping)

    def _outlives_restart(self) -> bool:
        """Ignore the alarm if Nova, once it must know, still shows the instance as running."""
        age_s = since.age_s(self._context.db, self._context.claim)
        left_s = _NOVA_KNOWS_S - age_s
        if left_s > 0:
            self._record(
                f"Nova shows instance {self._uuid} as running after {self._restarting}; checking "
                f"once more in {left_s:.0f} s: Nova may not know of a later crash yet."
            )
            self._context.guard.wait(left_s)
            return False
        raise RecoveryIgnored(
            f"Instance {self._uuid} was being restarted when it was reported (task_state "
            f"{self._restarting}), and is running now."
        )

    def _check_restarted_by_us(self) -> None:
        claim = self._context.claim
        restarted_by = since.restarted_by(self._context.db, self._uuid, claim)
        if restarted_by == claim.uuid:
            raise RecoverySkipped(f"Instance {self._uuid} was restarted by an earlier attempt.")
        if restarted_by:
            raise RecoveryIgnored(self._restarted(f"notification {restarted_by}"))

    def _check_restarted_in_nova(self) -> None:
        context = self._context
        # read before the actions are: that it may be younger than it seems is no harm
        age_s = since.age_s(context.db, context.claim)
        if age_s <= _FIRST_S:
            return
        try:
            actions = self._nova.actions(self._uuid)
        except NovaForbidden as exc:
            self._record(f"{exc} Whether the instance has been restarted is not known.")
            return
        for action in actions:
            if action.name in RESTARTS and not action.failed and action.age_s < age_s:
                raise RecoveryIgnored(self._restarted(f"Nova's action {action.name}"))

    def _record(self, message: str) -> None:
        self._context.record(self._stop_step, message)

    def _restarted(self, by: str) -> str:
        return f"Instance {self._uuid} has been restarted since it was reported ({by})."
