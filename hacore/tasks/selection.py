# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which instances of a failed host are to be evacuated, in which order, and which are skipped."""

from oslo_config import cfg
from oslo_utils import strutils

from hacore.engine.context import RecoveryContext
from hacore.nova import Instance
from hacore.states import VmState

#: What Nova can evacuate, some of it after a reset of the state.
_MOVABLE = frozenset(
    {
        VmState.ACTIVE,
        VmState.STOPPED,
        VmState.ERROR,
        VmState.PAUSED,
        VmState.SUSPENDED,
        VmState.RESCUED,
        VmState.RESIZED,
    }
)
_DELETING = frozenset({"deleting", "soft-deleting"})
_PRIORITY_KEY = "HA_Priority"


def of(context: RecoveryContext, host: str) -> list[tuple[Instance, str | None]]:
    """Return the instances of a host in the order of evacuation, each with why it is skipped.

    They are listed where Nova shows the compute service of the host before and after.
    """
    listed = context.believed(host, lambda: context.instances_on(host))
    in_order = sorted(
        listed.values(),
        key=lambda instance: (
            not _ha_enabled(context.conf, instance),
            -_priority(instance),
            instance.name,
            instance.uuid,
        ),
    )
    return [(instance, _skip_reason(context.conf, instance)) for instance in in_order]


def _ha_enabled(conf: cfg.ConfigOpts, instance: Instance) -> bool:
    key = conf.host_failure.ha_enabled_instance_metadata_key
    return bool(strutils.bool_from_string(instance.metadata.get(key)))


def _skip_reason(conf: cfg.ConfigOpts, instance: Instance) -> str | None:
    options = conf.host_failure
    if instance.task_state in _DELETING or instance.vm_state in (
        VmState.DELETED,
        VmState.SOFT_DELETED,
    ):
        return "The instance is being deleted."
    if instance.vm_state == VmState.BUILDING:
        return "The instance was being built."
    if instance.vm_state not in _MOVABLE:
        return f"Nova does not evacuate an instance that is {instance.vm_state}."
    if instance.vm_state == VmState.ERROR and options.ignore_instances_in_error_state:
        return "The instance was in ERROR and ignore_instances_in_error_state is set."
    if not options.evacuate_all_instances and not _ha_enabled(conf, instance):
        return (
            "The instance is not HA-enabled (metadata "
            f"{options.ha_enabled_instance_metadata_key}) and evacuate_all_instances is off."
        )
    return None


def _priority(instance: Instance) -> int:
    try:
        return int(instance.metadata.get(_PRIORITY_KEY, 0))
    except ValueError:
        return 0
