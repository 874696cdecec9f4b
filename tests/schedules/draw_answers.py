# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From a seed to answers that are not to be believed, and to alarms that are not.

Drawn by a chance of their own: what `draw` draws stays as it is.
"""

import random
from collections.abc import Iterable
from typing import Any

from hacore_sandbox.model import LIVE_STATUSES
from tests.schedules.plans import Ambush, Happening, HostPlan, InstancePlan

VM_DOWN = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}
#: How long it lasts; None: for ever.
_A_WHILE = (5.0, 20.0, 60.0, 60.0, 300.0)
_LISTS = ("servers/detail", "servers/detail", "os-migrations", "os-services", ".")
_ACTIONS = (
    "unlock", "unlock", "lock", "lock", "evacuate", "evacuate", "os-stop", "os-stop", "os-start",
    "os-start", "os-resetState", "os-resetState",
)  # fmt: skip
#: vm_states from which there are evacuations.
_EVACUATED = ("active", "stopped", "error", "paused", "suspended", "rescued", "resized")
#: What Nova says of one instance that it does not evacuate.
_REFUSALS = {
    404: "Compute host compute4 not found.",
    409: "Cannot 'evacuate' instance while it is in task_state powering-on",
    500: "Unexpected API Error. <class 'oslo_messaging.exceptions.MessagingTimeout'>",
}


def drawn(
    seed: int,
    hosts: Iterable[HostPlan],
    instances: Iterable[InstancePlan],
    happenings: Iterable[Happening],
) -> tuple[list[Happening], float]:
    """Draw what goes wrong besides; return it, and when the last of it has ended.

    :param happenings: of the plan so far; it goes wrong around the first report of a host.
    """
    draw = _Draw(random.Random(f"answers-{seed}"), list(hosts), list(instances), list(happenings))
    for one_in, kind in (
        (8, draw.unfiltered),
        (8, draw.html_reads),
        (5, draw.html_writes),
        (8, draw.truncated),
        (11, draw.cell_down),
        (3, draw.one_instance),
        (5, draw.live_migration),
        (14, draw.alarm_of_another_host),
        (14, draw.alarm_after_a_restart),
    ):
        if draw.chance.randrange(one_in) == 0:
            kind()
    return draw.happenings, draw.last


def cell_ambush(seed: int) -> list[Ambush]:
    """Draw, in every eighth schedule, a cell that is down just when something is listed."""
    chance = random.Random(f"cell-{seed}")
    number, how = chance.choice((1, 1, 1, 2, 2, 3, 5)), chance.choice(("before", "after"))
    by_s = chance.choice((0.4, 0.4, 5.0, 20.0, 60.0))
    ambush = Ambush("cell", number, chance.choice(("list", "records")), how, by_s, 0.0)
    return [ambush] if chance.randrange(8) == 0 else []


class _Draw:
    def __init__(
        self,
        chance: random.Random,
        hosts: list[HostPlan],
        instances: list[InstancePlan],
        plan: list[Happening],
    ) -> None:
        self.chance = chance
        self.happenings: list[Happening] = []
        self.last = 0.0
        self._hosts = hosts
        self._instances = instances
        reports = [happening for happening in plan if happening.what == "notify"]
        dead = {happening.facts["host"] for happening in plan if happening.what == "host_dies"}
        of_hosts = [
            happening
            for happening in reports
            if happening.facts["type"] == "COMPUTE_HOST" and happening.facts["host"] in dead
        ]
        first = min(of_hosts or reports, key=lambda happening: happening.at, default=None)
        #: When there is something to be asked of Nova, and of which host.
        self._begins = first.at if first else chance.uniform(0.0, 30.0)
        self._host = first.facts["host"] if of_hosts and first else None
        self._dies_at = min(
            (
                happening.at
                for happening in plan
                if happening.what == "host_dies" and happening.facts["host"] == self._host
            ),
            default=0.0,
        )

    def _pick(self, *options: Any) -> Any:
        return self.chance.choice(options)

    def _at(self, moment: float, what: str, lasts: float = 0.0, **facts: Any) -> None:
        moment = round(max(0.0, moment), 2)
        self.happenings.append(Happening(moment, what, facts))
        self.last = max(self.last, moment + lasts)

    def _answers(self, rule: dict[str, Any], seconds: float | None, **facts: Any) -> None:
        at = self._begins + self._pick(-20, -2, 0, 0, 1, 5, 20) + self.chance.uniform(0.0, 2.0)
        self._at(at, "answers_go_wrong", seconds or 0.0, rule=rule, seconds=seconds, **facts)

    # -------------------------------------------------------------- lists

    def unfiltered(self) -> None:
        rule = {
            "method": "GET",
            "path": self._pick(*_LISTS),
            "answer": "unfiltered",
            "ratio": self._pick(0.3, 1.0, 1.0),
        }
        self._answers(rule, self._pick(*_A_WHILE, *_A_WHILE, None), kind="unfiltered list")

    def html_reads(self) -> None:
        rule = {
            "method": "GET",
            "path": self._pick(*_LISTS, "servers/[^/]+$"),
            "answer": "html",
            "ratio": self._pick(0.2, 0.8, 1.0),
        }
        self._answers(rule, self._pick(*_A_WHILE), kind="HTML to a read")

    def truncated(self) -> None:
        rule = {
            "path": self._pick(*_LISTS, "servers/[^/]+$"),
            "answer": "truncated",
            "ratio": self._pick(0.2, 0.8, 1.0),
        }
        self._answers(rule, self._pick(*_A_WHILE), kind="truncated answer")

    def cell_down(self) -> None:
        """All hosts are in one cell, for Nova evacuates within a cell; now and then it is one."""
        hosts = [host.name for host in self._hosts]
        if self._host and self.chance.randrange(4) == 0:
            hosts = [self._host]
        seconds = self._pick(*_A_WHILE)
        at = self._begins + self._pick(-20, -2, 0, 0, 1, 5, 20) + self.chance.uniform(0.0, 2.0)
        self._at(at, "cell_down", seconds, hosts=hosts, seconds=seconds)

    # -------------------------------------------------------------- calls

    def html_writes(self) -> None:
        action = self._pick(*_ACTIONS, "service")
        rule: dict[str, Any] = {"method": "POST", "path": "action", "body": f'"{action}"'}
        if action == "service":
            rule = {"method": "PUT", "path": "os-services"}
        rule |= {
            "answer": "html",
            "act": self._pick(True, False),
            "ratio": self._pick(0.5, 1.0, 1.0),
        }
        # how soon it comes to that call is not known
        lasts = self._pick(20.0, 60.0, 120.0, 300.0)
        self._at(self._begins, "answers_go_wrong", lasts, rule=rule, seconds=lasts,
                 kind=f"HTML to {action}")  # fmt: skip

    def one_instance(self) -> None:
        """Nova does not evacuate it, mostly for ever."""
        on_it = [
            each
            for each in self._instances
            if each.host == self._host and each.states["vm_state"] in _EVACUATED
        ]
        on_it = [each for each in on_it if each.ha] or on_it
        if not on_it:
            return
        status = self._pick(*_REFUSALS)
        rule = {
            "method": "POST",
            "path": "action",
            "body": '"evacuate"',
            "status": status,
            "message": _REFUSALS[status],
        }
        seconds = self._pick(None, None, None, 60.0, 300.0)
        self._at(0.0, "answers_go_wrong", seconds or 0.0, rule=rule, seconds=seconds,
                 instance=self._pick(*on_it).name, kind=f"{status} for one instance")  # fmt: skip

    def live_migration(self) -> None:
        """An instance is on its way from the host that dies."""
        idle = [
            each
            for each in self._instances
            if each.host == self._host and each.states == {"vm_state": "active"}
        ]
        if not idle or self._dies_at == 0:
            return
        others = [host.name for host in self._hosts if host.name != self._host]
        self._at(0.0, "live_migrates", instance=self._pick(*idle).name,
                 host=self._pick(*others), status=self._pick(*LIVE_STATUSES))  # fmt: skip

    # ------------------------------------------------------------- alarms

    def alarm_of_another_host(self) -> None:
        """A copy of an instance that ended elsewhere is taken for it."""
        if not self._instances:
            return
        instance = self._pick(*self._instances)
        other = self._pick(*[host.name for host in self._hosts if host.name != instance.host])
        payload = {**VM_DOWN, "instance": instance.name}
        self._at(self.chance.uniform(0.0, 60.0), "notify", type="VM", host=other, payload=payload)
        self._at(0.0, "note", kind="alarm of another host")

    def alarm_after_a_restart(self) -> None:
        """A guest dies, its owner reboots it, and the alarm comes late; or the one that is late."""
        healthy = [
            each
            for each in self._instances
            if each.states.get("vm_state") == "active" and "task_state" not in each.states
        ]
        if not healthy:
            return
        instance = self._pick(*healthy)
        dies_at = self.chance.uniform(0.0, 60.0)
        self._at(dies_at, "guest_dies", instance=instance.name)
        reboot_at = dies_at + self._pick(1.0, 5.0, 15.0)
        self._at(reboot_at, "owner_reboots", 10.0, instance=instance.name)
        alarm_at = reboot_at + self._pick(-0.5, 0.5, 3.0, 20.0)
        payload = {**VM_DOWN, "instance": instance.name}
        self._at(alarm_at, "notify", type="VM", host=instance.host, payload=payload)
        self._at(0.0, "note", kind="alarm of what its owner reboots")
