# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Two steps for recoveries of hacore: one on hacore's base class, one a plain taskflow task."""

import logging
import shlex
import subprocess

from oslo_config import cfg
from taskflow import task

from hacore.errors import RecoveryFailed
from hacore.tasks.base import Task

LOG = logging.getLogger(__name__)

GROUP = "fencing"
OPTIONS = [
    cfg.StrOpt(
        "command",
        help="Command that switches a host off and returns 0 when it is off; {host} stands for "
        "its name. Without it no host is fenced, and every host recovery fails.",
    ),
    cfg.IntOpt("timeout", default=60, min=1, help="Seconds that the command may take."),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return group and options for oslo-config-generator (entry point)."""
    return [(GROUP, OPTIONS)]


class FenceHostTask(Task):
    """Switch the host off, so that no instance of it runs twice."""

    # Later steps get the result of `execute` by this name:
    # disable_compute_service_task forces the nova-compute of a fenced host down at once.
    default_provides = "fenced"

    def execute(self, host_name: str) -> bool:
        """Run the operator's command; a host that is already off is a success."""
        # Not in the constructor: it runs at start too, without a context.
        self.context.conf.register_opts(OPTIONS, group=GROUP)
        options = self.context.conf[GROUP]
        if not options.command:
            raise RecoveryFailed(f"Option [{GROUP}] command is not set; {host_name} is not fenced.")
        command = [word.format(host=host_name) for word in shlex.split(options.command)]
        self.update_details(f"Switching {host_name} off with {command[0]}.", 0.1)
        try:
            subprocess.run(  # noqa: S603 - the command is the operator's own
                command, check=True, timeout=options.timeout, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as exc:
            reason = exc.stderr.strip() or f"exit status {exc.returncode}"
            raise RecoveryFailed(f"{host_name} could not be switched off: {reason}") from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise RecoveryFailed(f"{host_name} could not be switched off: {exc}") from exc
        self.update_details(f"{host_name} is off.", 1.0)
        return True


class AnnounceTask(task.Task):
    """Log how many instances were evacuated: a task that does not depend on hacore."""

    def execute(self, host_name: str, instance_list: list[str], fenced: bool = False) -> None:
        """Use values that the engine and earlier steps provide, matched by name."""
        how = "after fencing" if fenced else "without fencing"
        LOG.info("Evacuated %d instances from %s %s", len(instance_list), host_name, how)
        self.update_progress(1.0)
