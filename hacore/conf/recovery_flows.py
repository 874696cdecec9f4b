# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[taskflow_driver_recovery_flows]: the tasks of each recovery; Masakari's names and defaults."""

from typing import Any

from oslo_config import cfg, types

GROUP = "taskflow_driver_recovery_flows"
#: The entry-point group of hacore's own tasks.
NAMESPACE = "hacore.task_flow.tasks"


class _TaskLists(types.Dict):
    """oslo.config's type for Masakari's notation, whose errors show the expected form."""

    def __init__(self) -> None:
        super().__init__(types.List(item_type=types.String(quotes=True), bounds=True))

    def __call__(self, value: Any) -> dict[str, Any]:
        try:
            return super().__call__(value)
        except ValueError as exc:
            raise ValueError(
                f"{value!r} is not of the form pre:['a_task'],main:['another','a_third'],post:[] "
                f"({exc})"
            ) from exc

    def _formatter(self, value: dict[str, Any]) -> str:
        # in the order in which they run; oslo.config would sort by name
        return ",".join(f"{phase}:{names}" for phase, names in value.items())


_TASK_LISTS = _TaskLists()

_FORM = (
    "A dict of the lists pre, main and post; each names entry points of the groups in [DEFAULT] "
    "task_namespaces, in the order in which they run."
)

OPTIONS = [
    cfg.Opt(
        "host_auto_failure_recovery_tasks",
        type=_TASK_LISTS,
        default={
            "pre": ["disable_compute_service_task"],
            "main": ["prepare_HA_enabled_instances_task"],
            "post": ["evacuate_instances_task"],
        },
        help="Tasks of a host recovery in which Nova chooses the destinations. " + _FORM,
    ),
    cfg.Opt(
        "host_rh_failure_recovery_tasks",
        type=_TASK_LISTS,
        default={
            "pre": ["disable_compute_service_task"],
            "main": ["prepare_HA_enabled_instances_task", "evacuate_instances_task"],
            "post": [],
        },
        help="Tasks of a host recovery to reserved hosts; from the first task of main on that asks "
        "for reserved_host, main runs once per reserved host until all instances have moved. "
        + _FORM,
    ),
    cfg.Opt(
        "instance_failure_recovery_tasks",
        type=_TASK_LISTS,
        default={
            "pre": ["stop_instance_task"],
            "main": ["start_instance_task"],
            "post": ["confirm_instance_active_task"],
        },
        help="Tasks of the recovery of a crashed instance. " + _FORM,
    ),
    cfg.Opt(
        "process_failure_recovery_tasks",
        type=_TASK_LISTS,
        default={
            "pre": ["disable_compute_node_task"],
            "main": ["confirm_compute_node_disabled_task"],
            "post": [],
        },
        help="Tasks of the recovery of a failed nova-compute. " + _FORM,
    ),
    cfg.Opt(
        "host_return_tasks",
        type=_TASK_LISTS,
        default={
            "pre": ["confirm_host_heard_task", "confirm_evacuations_completed_task"],
            "main": [
                "force_up_compute_service_task",
                "confirm_host_ready_task",
                "enable_compute_service_task",
                "end_maintenance_task",
            ],
            "post": ["settle_instances_task"],
        },
        help="Tasks that bring a host back into service ('hacore-manage host return'). " + _FORM,
    ),
]
