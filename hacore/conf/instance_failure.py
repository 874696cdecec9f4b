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
]
