# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[host_return]: how a host is brought back into service."""

from oslo_config import cfg

GROUP = "host_return"

OPTIONS = [
    cfg.StrOpt(
        "ready_command",
        help="Command that says whether a host is ready: it exits with 0 if it is. It is run "
        "without a shell, with the name of the host in the environment variable HACORE_HOST, "
        "before the compute service is enabled; until it succeeds the host waits, for "
        "wait_period_after_service_update seconds. Not set: nothing is run.",
    ),
]
