# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tasks of the recovery of a failed host."""

from hacore.db import moves, recoveries
from hacore.db.models import Move
from hacore.db.moves import Plan
from hacore.engine.cleanup import restore_host
from hacore.errors import HostHeard, RecoveryFailed, RecoverySkipped
from hacore.nova import EVACUATED, NOT_EVACUATED, Service
from hacore.states import MoveStatus
from hacore.tasks import selection
from hacore.tasks.base import ComputeServiceTask, Task


class DisableComputeServiceTask(ComputeServiceTask):
    """Disable the compute service of the host and wait until Nova reports it as down."""

    def execute(self, host_name: str, fenced: bool = False) -> None:
        """Return only when Nova itself says that the host is down.

        :param fenced: True where an earlier step has proved that the host is off.
        """
        if fenced:
            self.context.gates.proved_by_step()
        service = self.compute_service(host_name)
        options = self.context.conf.host_failure
        if service.enabled:
            reason = options.service_disable_reason
            recoveries.about_to_disable(self.context.db, self.context.claim, reason)
            self.novaclient.disable_service(service, reason)
            done = f"Disabled nova-compute on {host_name}"
        else:
            done = f"nova-compute on {host_name} is already disabled"
        self.update_details(f"{done}; waiting until Nova reports it as down.", 0.3)
        self._wait_until_down(service)
        self.context.gates.passed_liveness(host_name)
        self.update_details(f"Nova reports nova-compute on {host_name} as down.", 1.0)

    def _must_be_switched_off(self, host: str) -> bool:
        """Whether devices have to prove the host off: something lies on it that is to move."""
        if not self.context.fencing.levels or self.context.gates.proof() is not None:
            return False
        if not self.context.engine.fencing.needs_proof(host):
            return False
        return any(reason is None for _, reason in selection.of(self.context, host))

    def _forces_down(self) -> bool:
        """Whether to force the host down once Nova does not hear it, or it is proved off."""
        match self.context.conf.host_failure.force_down:
            case "always":
                return True
            case "after_fencing":
                return self.context.gates.proof_as_known() is not None
        return False

    def _wait_until_down(self, service: Service) -> None:
        """Wait until Nova shows the host as down and does not hear it."""
        host, gates = service.host, self.context.gates
        timeout_s = self.context.conf.wait_period_after_service_update

        def probe() -> bool | None:
            if not gates.is_silent(host):
                self.context.fencing.look()  # what its devices say from now on counts
                return None
            if self._must_be_switched_off(host):
                self.context.fencing.prove()
            now = self.compute_service(host)
            if not now.forced_down and self._forces_down():
                self.novaclient.force_down(now)
                self.update_details(f"Forced down nova-compute on {host}.", 0.6)
                now = self.compute_service(host)
                gates.written(now)
            return None if now.up else True

        if probe():
            return  # and no look is in the way of the recovery
        with self.context.engine.watch.hurried():
            if self.context.poll(probe, timeout_s):
                return
        if not gates.is_silent(host):
            ending = gates.not_silent(host, timeout_s)
            if isinstance(ending, HostHeard):
                restore_host(self.context, service)
            raise ending
        restore_host(self.context, service)
        more = "more " if moves.have_begun(self.context.db, self.context.claim.uuid) else ""
        raise RecoveryFailed(
            f"Nova still reports nova-compute on {host} as up after {timeout_s} s; "
            f"nothing {more}was evacuated."
        )


class FenceComputeHostTask(DisableComputeServiceTask):
    """Have a host with fencing devices proved off, for lists with steps that need it off.

    That is all that `DisableComputeServiceTask` does, which finds it done; in a list without this
    task it does it itself.
    """

    def execute(self, host_name: str, fenced: bool = False) -> None:
        """Return once the host is proved off, or nothing on it is to be evacuated."""
        if self.context.fencing.levels:
            super().execute(host_name, fenced)
        else:
            self.update_details(f"{host_name} has no fencing device; it is not switched off.", 1.0)


class PrepareHAEnabledInstancesTask(ComputeServiceTask):
    """Record which instances are to be evacuated, in which order, and which are skipped."""

    default_provides = "instance_list"

    def execute(self, host_name: str) -> list[str]:
        """Return the uuids of the instances to evacuate."""
        self.compute_service(host_name)
        instances = selection.of(self.context, host_name)
        newest: dict[str, int] = {}
        for migration in self.novaclient.evacuations_from(host_name):
            uuid = migration.instance_uuid
            # one that is under way, whoever began it, is for this recovery to follow
            if migration.status in EVACUATED | NOT_EVACUATED:
                newest[uuid] = max(newest.get(uuid, 0), migration.id)
        plans = [
            Plan(
                instance_uuid=instance.uuid,
                instance_name=instance.name,
                vm_state=instance.vm_state,
                power_state=instance.power_state,
                migration_before=newest.get(instance.uuid, 0),
                skip_reason=skip_reason,
            )
            for instance, skip_reason in instances
        ]
        rows = moves.prepare(self.context.db, self.context.claim, plans)
        wanted = [row.instance_uuid for row in rows if row.status != MoveStatus.IGNORED]
        if not wanted:
            skipped = f" {len(rows)} were skipped." if rows else ""
            raise RecoverySkipped(f"No instances to evacuate on {host_name}.{skipped}")
        moved = sum(row.status == MoveStatus.SUCCEEDED for row in rows)
        before = f" ({moved} already evacuated)" if moved else ""
        self.update_details(
            f"{len(wanted)} instances to evacuate from {host_name}{before}, "
            f"{len(rows) - len(wanted)} skipped.",
            1.0,
        )
        return wanted


class EvacuateInstancesTask(Task):
    """Evacuate what was prepared."""

    def execute(
        self, host_name: str, instance_list: list[str], reserved_host: str | None = None
    ) -> None:
        """Evacuate the instances; fail when some could not be.

        :param reserved_host: where to; None lets Nova choose.
        """
        where = f"to {reserved_host}" if reserved_host else "to hosts that Nova chooses"
        self.update_details(f"Evacuating the instances of {host_name} {where}.", 0)
        failed = self.context.evacuate(self.name, reserved_host)
        if failed:
            raise RecoveryFailed(
                f"{len(failed)} of {len(instance_list)} instances could not be evacuated: "
                f"{_names([move for move, _ in failed])}. The first one: {failed[0][1]}"
            )
        self.update_details(f"All instances of {host_name} are evacuated.", 1.0)


def _names(rows: list[Move]) -> str:
    shown = ", ".join(f"{row.instance_name} ({row.instance_uuid})" for row in rows[:10])
    return shown + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")
