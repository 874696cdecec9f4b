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

GROUP = "example_fence"  # [fencing] is hacore's own
OPTIONS = [
    cfg.StrOpt(
        "off_command",
        help="Command that orders a host to switch itself off; {host} stands for its name. That it "
        "ends with 0 means that the order was accepted, not that the host is off. Without this "
        "option no host is fenced, and every host recovery fails.",
    ),
    cfg.StrOpt(
        "status_command",
        help="Command that prints whether a host is on; {host} stands for its name. The host is "
        "off once the last word of the output is 'off', as of 'Chassis Power is off'.",
    ),
    cfg.IntOpt("timeout", default=60, min=1, help="Seconds until the host must be off."),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return group and options for oslo-config-generator (entry point)."""
    return [(GROUP, OPTIONS)]


class ExampleFenceTask(Task):
    """Switch the host off, and read that it is, so that no instance of it runs twice."""

    # Later steps get the result of `execute` by this name:
    # disable_compute_service_task forces the nova-compute of a fenced host down at once.
    default_provides = "fenced"

    def execute(self, host_name: str) -> bool:
        """Return True once the host is known to be off; one that is off already is a success."""
        # Not in the constructor: it runs at start too, without a context.
        self.context.conf.register_opts(OPTIONS, group=GROUP)
        options = self.context.conf[GROUP]
        for name in ("off_command", "status_command"):
            if not options[name]:
                raise RecoveryFailed(
                    f"Option [{GROUP}] {name} is not set; {host_name} is not fenced."
                )
        self.update_details(f"Switching {host_name} off.", 0.1)
        _run(options.off_command, host_name, options.timeout)
        self.update_details(f"Waiting until {host_name} is off.", 0.5)
        said = ""

        def is_off() -> bool | None:
            nonlocal said
            said = " ".join(_run(options.status_command, host_name, options.timeout).split())
            return True if said.lower().split(" ")[-1] == "off" else None

        # Does not sleep while another engine may take over, and ends when this one stops.
        self.wait_until(
            is_off,
            options.timeout,
            lambda: f"{host_name} is not off after {options.timeout} s: its status is {said!r}.",
        )
        self.update_details(f"{host_name} is off.", 1.0)
        return True


def _run(command: str, host_name: str, timeout_s: int) -> str:
    """Run an operator's command; return what it prints."""
    words = [word.format(host=host_name) for word in shlex.split(command)]
    try:
        done = subprocess.run(  # noqa: S603 - the command is the operator's own
            words, check=True, timeout=timeout_s, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as exc:
        reason = exc.stderr.strip() or f"exit status {exc.returncode}"
        raise RecoveryFailed(f"{host_name} is not known to be off: {words[0]}: {reason}.") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise RecoveryFailed(f"{host_name} is not known to be off: {exc}.") from exc
    return done.stdout


class AnnounceTask(task.Task):
    """Log how many instances were evacuated: a task that does not depend on hacore."""

    def execute(self, host_name: str, instance_list: list[str], fenced: bool = False) -> None:
        """Use values that the engine and earlier steps provide, matched by name."""
        how = "after fencing" if fenced else "without fencing"
        LOG.info("Evacuated %d instances from %s %s", len(instance_list), host_name, how)
        self.update_progress(1.0)
