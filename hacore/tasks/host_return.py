# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tasks that bring a host back into service; see doc/host-life.md.

Each reads Nova and does what is not done: after a wait, or a kill -9, all of them run again.
"""

import os
import shlex
import subprocess

from hacore.db import returns
from hacore.engine.returns import is_heard
from hacore.errors import (
    ConfigError,
    NovaBadRequest,
    NovaError,
    NovaNotFound,
    OperationWaits,
    RecoveryFailed,
    TransientNovaError,
)
from hacore.nova import Migration, Service
from hacore.tasks.base import OperationTask

#: Seconds until a host that is not heard, or not ready, is looked at again.
_NOT_HEARD_S = 30.0
#: Seconds for which Placement may keep instances out of a host that is enabled.
_TRAIT_S = 60.0
#: Seconds for which a living nova-compute may leave an evacuation unfinished: it ends them, and
#: destroys its copies, before its first heartbeat.
_RECORDS_S = 60.0
#: Statuses of evacuations that a starting nova-compute ends, or that go on.
_OPEN = frozenset({"accepted", "pre-migrating", "done"})
#: Seconds for one run of ready_command; characters of its output that are shown.
_COMMAND_S, _MOST_OUTPUT = 60.0, 300


class ReturnTask(OperationTask):
    """Base of the tasks of a return: what the host is in service for is not done again."""

    def execute(self, host_name: str) -> None:
        """Do the step, unless an earlier claim has brought the host back."""
        if returns.ENDED not in self.context.claim.did:
            self.step(host_name)

    def step(self, host: str) -> None:
        """What the task does."""
        raise NotImplementedError

    def compute_service(self, host: str) -> Service:
        """Read it.  Raises RecoveryFailed when Nova has none."""
        service = self.novaclient.service(host)
        if service is None:
            raise RecoveryFailed(f"Nova has no nova-compute service on host {host}.")
        return service


class ConfirmHostHeardTask(ReturnTask):
    """Go on only where the nova-compute of the host lives, and nothing is about to end that."""

    def step(self, host: str) -> None:
        """Wait for two heartbeats; a host that sends none is looked at again later."""
        self.compute_service(host)
        self._settle_orders(host)
        if not is_heard(self.context):
            raise OperationWaits(
                f"Nova does not hear {host}: start the host and its nova-compute.", _NOT_HEARD_S
            )
        self.update_details(f"Nova hears {host}.", 1.0)

    def _settle_orders(self, host: str) -> None:
        """Go on only where no order to switch the host off may yet be carried out."""
        claim, fencing = self.context.claim, self.context.fencing
        while left := fencing.unsettled():
            why = f"{host} is not brought back: {left.why}."
            if left.is_off:
                raise RecoveryFailed(f"{why} Switch {host} on, then return it again.")
            if not claim.options.get("force"):
                raise RecoveryFailed(
                    f"{why} Once device {left.device} can be read, return {host} again; if it "
                    "will certainly not carry the order out any more, use --force."
                )
            reason = (claim.reason or "").rstrip(".")
            self.update_details(
                f"{claim.by} does not wait for device {left.device} ({reason}): {left.why}."
            )
            fencing.give_up(left.device)


class ConfirmEvacuationsCompletedTask(ReturnTask):
    """Go on only where nova-compute has destroyed its copies of what was evacuated.

    ``completed`` is the only evidence of that: no API of Nova shows what a hypervisor runs.
    """

    def step(self, host: str) -> None:
        """Wait until no evacuation from the host is open, or each open one has arrived."""

        def probe() -> list[Migration] | None:
            records = [each for each in self._open(host) if each.status in _OPEN]
            return records if all(map(self._has_arrived, records)) else None

        records = self.context.poll(probe, _RECORDS_S)
        if records is None:
            raise RecoveryFailed(self._unfinished(host))
        for each in records:
            self.context.remark(
                self.name,
                f"Evacuation {each.id} of instance {each.instance_uuid} is still {each.status} in "
                f"Nova, though the instance is on {each.dest_host or 'another host'}.",
            )
        self.update_details(f"No evacuation from {host} is open.", 1.0)

    def _open(self, host: str) -> list[Migration]:
        return self.context.believed(host, lambda: self.novaclient.evacuations_from(host))

    def _has_arrived(self, record: Migration) -> bool:
        if record.status == "done":
            return False
        try:
            instance = self.novaclient.instance(record.instance_uuid)
        except NovaNotFound:
            return True
        return instance.host != record.source_host and instance.task_state is None

    def _unfinished(self, host: str) -> str:
        records = [each for each in self._open(host) if each.status in _OPEN]
        named = ", ".join(
            f"{each.id} of instance {each.instance_uuid} is {each.status}" for each in records[:5]
        )
        more = f" and {len(records) - 5} more" if len(records) > 5 else ""
        return (
            f"{host} may still run instances that were evacuated (evacuation {named}{more}): "
            f"restart nova-compute on {host} once more, then return it again."
        )


class ForceUpComputeServiceTask(ReturnTask):
    """Take off the flag that makes Nova treat the host as down."""

    def step(self, host: str) -> None:
        """Force it up, and wait until Nova says that it is up and its heartbeats go on."""
        service = self.compute_service(host)
        if service.forced_down:
            returns.about_to(self.context.db, self.context.claim, returns.FORCED_UP)
            refusal = self._force_up(service)
            if refusal is not None:
                raise RecoveryFailed(
                    f"{refusal} Restart nova-compute on {host} once more, then return it again."
                )
            self.update_details(f"Forced up nova-compute on {host}.", 0.5)
        timeout_s = self.context.conf.wait_period_after_service_update
        self.wait_until(
            lambda: self.compute_service(host).up or None,
            timeout_s,
            lambda: f"Nova still reports nova-compute on {host} as down after {timeout_s} s.",
        )
        if not is_heard(self.context):
            raise RecoveryFailed(f"Nova does not hear {host} any more.")
        self.update_details(f"Nova reports nova-compute on {host} as up.", 1.0)

    def _force_up(self, service: Service) -> str | None:
        """Ask again while Nova refuses; return its refusal in the end, or None."""
        refusals: list[str] = []

        def probe() -> bool | None:
            try:
                self.novaclient.force_up(service)
            except NovaBadRequest as exc:
                refusals.append(str(exc))
                return None
            return True

        return None if self.context.poll(probe, _RECORDS_S) else refusals[-1]


class ConfirmHostReadyTask(ReturnTask):
    """Go on only where the host has its networks, and the operator's own check succeeds."""

    def step(self, host: str) -> None:
        """Ask Neutron for its agents; run [host_return] ready_command until it succeeds."""
        self._confirm_agents(host)
        command = self.context.conf.host_return.ready_command
        if not command:
            return
        timeout_s = self.context.conf.wait_period_after_service_update
        failures: list[str] = []

        def probe() -> bool | None:
            failure = _run(command, host)
            failures.extend([failure] if failure else [])
            return None if failure else True

        self.wait_until(
            probe,
            timeout_s,
            lambda: (
                f"[host_return] ready_command does not succeed for {host} within {timeout_s} "
                f"s: {failures[-1]}."
            ),
        )
        self.update_details(f"ready_command has succeeded for {host}.", 1.0)

    def _confirm_agents(self, host: str) -> None:
        """Wait until Neutron hears all that it knows on the host; without Neutron there are none.

        A user that may not ask it is no reason to leave the host out of service.
        """
        try:
            agents = self.novaclient.network_agents(host)
        except TransientNovaError:
            raise
        except NovaError as exc:
            why = str(exc).rstrip(".")
            self.context.remark(self.name, f"Neutron agents were not checked: {why}.")
            return
        lost = sorted(agent.type for agent in agents if not agent.alive)
        if lost:
            raise OperationWaits(
                f"Neutron does not hear its agents on {host} ({', '.join(lost)}): start them.",
                _NOT_HEARD_S,
            )
        if agents:
            self.update_details(f"Neutron hears its {len(agents)} agents on {host}.", 0.5)


def _run(command: str, host: str) -> str | None:
    """Run a command without a shell; return how it failed, None: it did not."""
    try:
        ended = subprocess.run(  # noqa: S603 - the operator's own
            shlex.split(command),
            env={"PATH": os.environ.get("PATH", os.defpath), "HACORE_HOST": host},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_COMMAND_S:g} s"
    except (OSError, ValueError) as exc:
        raise ConfigError(f"[host_return] ready_command cannot be run: {exc}.") from exc
    if ended.returncode == 0:
        return None
    output = " ".join(ended.stdout.decode(errors="replace").split())[-_MOST_OUTPUT:]
    return f"exit status {ended.returncode}" + (f": {output}" if output else "")


class EnableComputeServiceTask(ReturnTask):
    """Let the scheduler use the host again, if it was hacore that disabled it."""

    def step(self, host: str) -> None:
        """Enable it; a disabled_reason that is not hacore's is a person's, and stays."""
        service = self.compute_service(host)
        if service.enabled:
            self.update_details(f"nova-compute on {host} is already enabled.", 1.0)
        elif self._is_ours(service):
            self._enable(host, service)
        else:
            return
        self._confirm_scheduled(host)

    def _enable(self, host: str, service: Service) -> None:
        returns.about_to(self.context.db, self.context.claim, returns.ENABLED)
        self.novaclient.enable_service(service)
        timeout_s = self.context.conf.wait_period_after_service_update
        self.wait_until(
            lambda: self.compute_service(host).enabled or None,
            timeout_s,
            lambda: f"Nova still shows nova-compute on {host} as disabled after {timeout_s} s.",
        )
        self.update_details(f"Enabled nova-compute on {host}.", 1.0)

    def _confirm_scheduled(self, host: str) -> None:
        """Wait until Placement lets instances be placed on the host, where there is Placement."""
        try:
            providers = self.novaclient.resource_providers(host)
            open_ = self.context.poll(
                lambda: None if self.novaclient.gives_no_room(providers) else True, _TRAIT_S
            )
        except TransientNovaError:
            raise
        except NovaError as exc:
            why = str(exc).rstrip(".")
            self.context.remark(self.name, f"Placement was not checked: {why}.")
            return
        if not open_:
            raise OperationWaits(
                f"Placement keeps instances out of {host} (trait COMPUTE_STATUS_DISABLED), though "
                f"nova-compute is enabled; if that stays so, restart nova-compute on {host}.",
                _NOT_HEARD_S,
            )

    def _is_ours(self, service: Service) -> bool:
        conf = self.context.conf
        disabled = returns.disabled(self.context.db, self.context.claim)
        if disabled is None:
            return False
        ours = {disabled.reason}
        if disabled.reason is None:
            ours = {
                conf.host_failure.service_disable_reason,
                conf.process_failure.service_disable_reason,
            }
        return service.disabled_reason in ours


class EndMaintenanceTask(ReturnTask):
    """The host is in service: from here on its failures are recovered."""

    def step(self, host: str) -> None:
        """Take it off maintenance, in one transaction with all that is on its row."""
        service = self.compute_service(host)
        done = returns.end(self.context.db, self.context.claim, enabled=service.enabled)
        self.update_details(done, 1.0)
        if not service.enabled:
            reason = service.disabled_reason or "without a reason"
            self.context.remark(
                self.name,
                f"nova-compute on {host} stays disabled, which was not done by hacore ({reason}); "
                f"enable it: openstack compute service set --enable {host} nova-compute",
            )
