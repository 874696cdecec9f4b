# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Steps of the recovery of a dead nova-compute."""

from hacore.db import recoveries
from hacore.errors import RecoveryFailed, RecoverySkipped
from hacore.nova import Service
from hacore.tasks.base import Task

_RECOVERED = "nova-compute"


class DisableComputeNodeTask(Task):
    """Keep Nova from placing instances on a host whose nova-compute died."""

    def execute(self, process_name: str, host_name: str) -> None:
        """Disable the compute service; one that is disabled already is fine."""
        if process_name != _RECOVERED:
            raise RecoverySkipped(f"No recovery is defined for process {process_name}.")
        service = _service(self, host_name)
        if service.enabled:
            reason = self.context.conf.process_failure.service_disable_reason
            self.novaclient.disable_service(service, reason)
            self.update_details(f"Disabled nova-compute on {host_name}.", 1.0)
        else:
            self.update_details(f"nova-compute on {host_name} is disabled already.", 1.0)


class ConfirmComputeNodeDisabledTask(Task):
    """See Nova say that the compute service is disabled."""

    def execute(self, process_name: str, host_name: str) -> None:
        """Poll until it is, or fail."""
        timeout_s = self.context.conf.wait_period_after_service_update
        self.wait_until(
            lambda: None if _service(self, host_name).enabled else True,
            timeout_s,
            lambda: f"Nova still shows nova-compute on {host_name} as enabled after {timeout_s} s.",
        )
        self.update_details(f"{process_name} on {host_name} is disabled.", 1.0)


def _service(task: Task, host_name: str) -> Service:
    service = task.novaclient.service(host_name)
    if service is None:  # a wrong name, and not a host to be kept off maintenance
        recoveries.end_maintenance(task.context.db, task.context.claim)
        raise RecoveryFailed(f"Nova knows no nova-compute service on host {host_name}.")
    return service
