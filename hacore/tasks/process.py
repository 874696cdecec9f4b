# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tasks of the recovery of a failed nova-compute."""

from hacore.db import recoveries
from hacore.errors import RecoverySkipped
from hacore.tasks.base import ComputeServiceTask

_RECOVERED = "nova-compute"


class DisableComputeNodeTask(ComputeServiceTask):
    """Keep Nova from placing instances on a host whose nova-compute died."""

    def execute(self, process_name: str, host_name: str) -> None:
        """Disable the compute service; one that is disabled already is fine.

        Only now is it known that something is to be done: the host is on maintenance from here.
        """
        if process_name != _RECOVERED:
            raise RecoverySkipped(f"No recovery is defined for process {process_name}.")
        service = self.compute_service(host_name)
        db, claim = self.context.db, self.context.claim
        recoveries.begin_maintenance(db, claim)
        if service.enabled:
            reason = self.context.conf.process_failure.service_disable_reason
            recoveries.about_to_disable(db, claim, reason)
            self.novaclient.disable_service(service, reason)
            self.update_details(f"Disabled nova-compute on {host_name}.", 1.0)
        else:
            self.update_details(f"nova-compute on {host_name} is already disabled.", 1.0)


class ConfirmComputeNodeDisabledTask(ComputeServiceTask):
    """Wait until Nova says that the compute service is disabled."""

    def execute(self, process_name: str, host_name: str) -> None:
        """Poll until it is, or fail."""
        timeout_s = self.context.conf.wait_period_after_service_update
        self.wait_until(
            lambda: None if self.compute_service(host_name).enabled else True,
            timeout_s,
            lambda: f"Nova still shows nova-compute on {host_name} as enabled after {timeout_s} s.",
        )
        self.update_details(f"{process_name} on {host_name} is disabled.", 1.0)
