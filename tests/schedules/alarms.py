# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore promises of an alarm: no guest that is well is stopped because of its past."""

from hacore_sandbox.cloud import Cloud
from hacore_sandbox.model import RUNNING

#: Restarts that began sooner after the report may count or not: Nova's times are whole seconds.
_FIRST_S = 4.0
_RESTARTS = ("start", "reboot", "evacuate")


def needless_stop(cloud: Cloud, uuid: str, reported_host: str, age_s: float) -> str | None:
    """Return why an instance that was reported `age_s` ago must not be stopped now, or None."""
    server = cloud.state.servers.get(uuid)
    if server is None or server.vm_state != "active" or server.task_state is not None:
        return None
    if not server.guest_up or server.power_state != RUNNING:
        return None
    if server.host != reported_host:
        return f"runs on {server.host}, and was reported by {reported_host}"
    for action in cloud.state.actions.of(uuid):
        since_s = cloud.now - action.started
        if action.name in _RESTARTS and since_s < age_s - _FIRST_S:
            return (
                f"was restarted {since_s:.1f} s ago ({action.name}), and reported {age_s:.1f} s ago"
            )
    return None
