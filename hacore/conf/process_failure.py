# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[process_failure]: what the recovery of a failed nova-compute does; Masakari's names."""

from oslo_config import cfg

GROUP = "process_failure"

OPTIONS = [
    cfg.StrOpt(
        "service_disable_reason",
        default="Masakari detected process failed.",
        help="Reason that Nova shows for the disabled compute service.",
    ),
]
