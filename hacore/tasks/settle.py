# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The last task of a return: what the returned host has done to instances that left it."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from hacore.db import returns
from hacore.db.returns import Moved
from hacore.errors import NovaError, TransientNovaError
from hacore.nova import Instance
from hacore.states import PowerState, VmState
from hacore.tasks.base import OperationTask

T = TypeVar("T")

#: Seconds for which orders are looked for that waited in the queue of the dead host, and between
#: two looks.
_SETTLE_S, _LOOK_S = 30.0, 5.0
#: The faults that such an order leaves behind (measured, Nova 34).
_STALE = re.compile(
    r"Conflict updating instance .*Expected: .*task_state|Error while check_can_live_migrate"
)
#: How many instances a sentence names.
_NAMED = 10


class SettleInstancesTask(OperationTask):
    """Repair what orders have done that waited in the dead host's queue.

    Nova carries them out when the host returns, however late: they set instances that run well
    elsewhere to ERROR, in the database only.
    """

    def execute(self, host_name: str) -> None:
        """Look for 30 s, reset what runs well elsewhere, and list what lies on the host.

        The host is in service already: what Nova refuses is named, and fails nothing.
        """
        try:
            held = self._consumers(self._providers(host_name))
            self._settle()
            left = self.context.believed(host_name, lambda: self.context.instances_on(host_name))
            self._list_left(host_name, left)
            self._list_leftovers(host_name, left, held)
        except TransientNovaError:
            raise
        except NovaError as exc:
            self.context.remark(self.name, f"Instances were not looked at: {exc}")
        self.update_details(f"{host_name} has settled.", 1.0)

    def _settle(self) -> None:
        rows = returns.moved(self.context.db, self.context.claim)
        moved = {each.instance_uuid: each for each in rows}
        reset: dict[str, Instance] = {}
        ends_at = self.context.clock.monotonic() + _SETTLE_S
        while True:
            self._reset(moved, reset)
            if self.context.clock.monotonic() >= ends_at:
                break
            self.context.guard.wait(_LOOK_S)
        if reset:
            self.context.remark(
                self.name,
                f"Reset to active, since orders of before had set them to ERROR: {_names(reset)}.",
            )

    def _reset(self, moved: dict[str, Moved], reset: dict[str, Instance]) -> None:
        for dest in sorted({each.dest_host for each in moved.values()}):
            for instance in self.context.instances_on(dest).values():
                if instance.uuid in moved and _is_stale(instance):
                    self._reset_one(instance, reset)

    def _reset_one(self, instance: Instance, reset: dict[str, Instance]) -> None:
        if instance.uuid in reset:
            return
        try:
            self.novaclient.reset_state(instance.uuid, VmState.ACTIVE)
        except TransientNovaError:
            raise
        except NovaError as exc:
            self.context.record(self.name, str(exc))
        else:
            reset[instance.uuid] = instance
            self.context.record(
                self.name, f"Reset {instance.name} ({instance.uuid}): {instance.fault}"
            )

    def _providers(self, host: str) -> list[str]:
        return self._asked(lambda: self.novaclient.resource_providers(host)) or []

    def _consumers(self, providers: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return what Placement gives room of each resource provider."""
        return (
            self._asked(lambda: {each: self.novaclient.consumers(each) for each in providers}) or {}
        )

    def _asked(self, read: Callable[[], T]) -> T | None:
        """Return what is read; a user that may not ask is no reason to look at nothing else."""
        try:
            return read()
        except TransientNovaError:
            raise
        except NovaError as exc:
            self.context.record(self.name, f"Allocations in Placement were not looked at: {exc}")
            return None

    def _list_leftovers(
        self, host: str, instances: dict[str, Instance], before: dict[str, frozenset[str]]
    ) -> None:
        """Name what has had room on the host for 30 s and is not on it, and who removes it.

        Nova itself does not: an evacuation in the middle of a migration leaves it behind.
        """
        for provider, now in self._consumers(before).items():
            left = sorted((now & before[provider]) - instances.keys())
            if left:
                self.context.remark(
                    self.name,
                    f"Placement gives room on {host} to what Nova does not list there: "
                    f"{_shown(left)}; to see which of them an earlier migration left behind: "
                    f"nova-manage placement audit --verbose --resource_provider {provider}; "
                    "with --delete it removes them (then run nova-manage placement "
                    "heal_allocations).",
                )

    def _list_left(self, host: str, left: dict[str, Instance]) -> None:
        """Name what lies on the host and does not run, and how it is started."""
        broken = {k: each for k, each in left.items() if each.vm_state == VmState.ERROR}
        if broken:
            self.context.remark(
                self.name,
                f"In ERROR on {host}: {_names(broken)}; to start one: openstack server set "
                "--state active UUID, then openstack server reboot --hard UUID.",
            )
        stopped = {k: each for k, each in left.items() if each.vm_state == VmState.STOPPED}
        if stopped:
            self.context.remark(
                self.name,
                f"Powered off on {host}: {_names(stopped)}; to start one: openstack server start "
                "UUID.",
            )


def _is_stale(instance: Instance) -> bool:
    """Whether it runs, and is in ERROR by such an order."""
    return (
        instance.vm_state == VmState.ERROR
        and instance.task_state is None
        and instance.power_state == PowerState.RUNNING
        and instance.fault is not None
        and _STALE.search(instance.fault) is not None
    )


def _names(instances: dict[str, Instance]) -> str:
    return _shown([f"{each.name} ({each.uuid})" for each in instances.values()])


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
