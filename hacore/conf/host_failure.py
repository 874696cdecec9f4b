# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[host_failure]: what a host recovery does; Masakari's names and defaults."""

from oslo_config import cfg

GROUP = "host_failure"

OPTIONS = [
    cfg.BoolOpt(
        "evacuate_all_instances",
        default=True,
        help="Evacuate all instances of the host, beginning with those that have the HA metadata "
        "key. If false, evacuate only those.",
    ),
    cfg.StrOpt(
        "ha_enabled_instance_metadata_key",
        default="HA_Enabled",
        help="Instance metadata key that marks an instance as HA-enabled when its value is true.",
    ),
    cfg.BoolOpt(
        "ignore_instances_in_error_state",
        default=False,
        help="Skip instances that were in ERROR before the host failed.",
    ),
    cfg.BoolOpt(
        "add_reserved_host_to_aggregate",
        default=False,
        help="Add a reserved host to the aggregates of the failed host before it is used.",
    ),
    cfg.StrOpt(
        "service_disable_reason",
        default="Masakari detected host failed.",
        help="Reason that Nova shows for the disabled compute service.",
    ),
    cfg.StrOpt(
        "force_down",
        default="after_fencing",
        choices=[
            ("never", "wait until Nova sees the host down by itself"),
            ("after_fencing", "force down if a fencing task of the flow provided fenced=True"),
            (
                "always",
                "force down once Nova does not hear the host that was reported: only if the host "
                "monitor also fences",
            ),
        ],
        help="Force the compute service down in Nova instead of waiting until Nova sees it down.",
    ),
]
