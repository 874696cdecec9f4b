# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[instance_failure]: what the recovery of a crashed instance does; Masakari's names."""

from oslo_config import cfg

GROUP = "instance_failure"

OPTIONS = [
    cfg.BoolOpt(
        "process_all_instances",
        default=False,
        help="Recover every instance, not only those with the HA metadata key.",
    ),
    cfg.StrOpt(
        "ha_enabled_instance_metadata_key",
        default="HA_Enabled",
        help="Instance metadata key that marks an instance as HA-enabled when its value is true.",
    ),
    cfg.IntOpt(
        "max_restarts",
        default=5,
        min=0,
        help="Number of recoveries of one crashed instance within restart_window after which the "
        "next one is held (rule restarts). 0: no limit, as in Masakari.",
    ),
    cfg.IntOpt(
        "restart_window",
        default=3600,
        min=1,
        help="Seconds within which max_restarts counts the recoveries of one instance.",
    ),
]
