# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From a seed to fencing devices of hosts, and what goes wrong with them.

Only from a seed on that is far away, and by a chance of its own: older seeds keep their stories.
"""

import random
from collections.abc import Iterable
from typing import Any

from tests.schedules.plans import Ambush, DevicePlan, FencingPlan, Happening, HostPlan

#: From this seed on schedules have devices.
FIRST = 100_001
#: Of a device; what they are called is in `tests.schedules.fencing`.
_FAULTS = ("dead", "dead", "lies", "delay", "delay", "denied", "slow", "says off", "other box")
_A_WHILE = (20.0, 60.0, 150.0, None, None)
_DOORS = (
    ("off starts", ("kill", "sigterm")),
    ("off runs", ("kill", "kill", "sigterm", "freeze")),
    ("off answered", ("kill", "kill", "sigterm", "freeze")),
    ("status answered", ("kill", "sigterm", "freeze")),
    ("fencing_orders commit", ("kill",)),
    ("proofs commit", ("kill",)),
)
_NONE = {
    "deadline": 40,
    "least_silence": 25.0,
    "retry_interval": 60.0,
    "confirm_delay_already_off": 30.0,
}


def has_devices(seed: int) -> bool:
    """Whether the hosts of this schedule have devices."""
    return seed >= FIRST


def options(seed: int) -> dict[str, Any]:
    """Draw options of [fencing]; the defaults where there are no devices."""
    pick = random.Random(f"fencing-options-{seed}").choice
    if not has_devices(seed):
        return _NONE
    return {
        "deadline": pick((10, 40)),
        "least_silence": pick((7.0, 7.0, 25.0)),
        "retry_interval": pick((15.0, 60.0)),
        "confirm_delay_already_off": pick((9.0, 30.0)),
    }


def ambush(seed: int, lease_s: float) -> list[Ambush]:
    """Draw, in every second schedule, the end of an engine at a door of a device."""
    if not has_devices(seed):
        return []
    chance = random.Random(f"fencing-ambush-{seed}")
    door, kinds = chance.choice(_DOORS)
    kind = chance.choice(kinds)
    pauses = (1.0, 10.0, lease_s + 10.0) if kind == "freeze" else (0.0, 0.0, 3.0, 30.0)
    found = Ambush("device", chance.choice((1, 1, 2)), door, kind, 0.0, chance.choice(pauses))
    return [found] if chance.randrange(2) == 0 else []


def drawn(
    seed: int, hosts: Iterable[HostPlan], happenings: Iterable[Happening]
) -> tuple[FencingPlan | None, list[Happening], float]:
    """Draw devices, what happens to them, and when the last of it has ended."""
    if not has_devices(seed):
        return None, [], 0.0
    draw = _Draw(random.Random(f"fencing-plan-{seed}"), list(hosts), list(happenings))
    devices = draw.devices()
    draw.faults()
    if seed % 4 == 2:
        draw.heard_again()
    return FencingPlan(devices, draw.switched_on_after()), draw.happenings, draw.last


class _Draw:
    def __init__(self, chance: random.Random, hosts: list[HostPlan], plan: list[Happening]) -> None:
        self._chance, self._hosts, self._plan = chance, [host.name for host in hosts], plan
        self.happenings: list[Happening] = []
        self.last = 0.0
        self._plugs: dict[str, list[str]] = {}

    def _pick(self, *options: Any) -> Any:
        return self._chance.choice(options)

    def _at(self, moment: float, what: str, lasts: float = 0.0, **facts: Any) -> None:
        moment = round(max(0.0, moment), 2)
        self.happenings.append(Happening(moment, what, facts))
        self.last = max(self.last, moment + lasts)

    def devices(self) -> tuple[DevicePlan, ...]:
        """BMCs of all hosts, or all but one; in every third schedule power strips behind them."""
        some = self._hosts if self._chance.randrange(3) else self._hosts[1:]
        made = [DevicePlan("bmc", 1, tuple(some))]
        if self._chance.randrange(3) == 0:
            strips = self._pick(("pdu-a",), ("pdu-a", "pdu-b"))
            made += [DevicePlan(name, 2, tuple(some)) for name in strips]
        for device in made:
            for host in device.hosts:
                self._plugs.setdefault(host, []).append(device.plug(host))
        return tuple(made)

    def faults(self) -> None:
        """Something is wrong with the devices of those that fail, mostly."""
        begins = {
            happening.facts["host"]: happening.at
            for happening in reversed(self._plan)
            if happening.what == "notify" and happening.facts["type"] == "COMPUTE_HOST"
        }
        for host, at in begins.items():
            dies = [each for each in self._plan if each.what == "host_dies"]
            if self._chance.randrange(4) == 0:
                for each in dies:
                    if each.facts["host"] == host:
                        self._at(each.at + self._pick(0.0, 0.5), "power_lost", host=host)
                        break
            for plug in self._plugs.get(host, ()):
                if self._chance.randrange(3):
                    self._fault(plug, at)

    def _fault(self, plug: str, begins: float) -> None:
        at = begins + self._pick(-30, -2, 0, 5, 20, 40) + self._chance.uniform(0.0, 5.0)
        fault, seconds = self._pick(*_FAULTS), self._pick(*_A_WHILE)
        facts: dict[str, Any] = {"plug": plug, "fault": fault, "seconds": seconds}
        if fault == "delay":
            facts["by_s"] = self._pick(2.0, 15.0, 60.0, 200.0)
        elif fault == "slow":
            facts["by_s"] = self._pick(3.0, 8.0, 30.0)
        elif fault == "other box":
            facts["box"] = self._pick(*self._hosts)
        self._at(at, "device_fails", seconds or 0.0, **facts)

    def heard_again(self) -> None:
        """Silent hosts are heard again about when they are switched off, or somewhat later."""
        for each in self._plan:
            if each.what == "host_dies" and each.facts["host"] in self._plugs:
                at = each.at + self._pick(10.0, 20.0, 30.0, 45.0, 60.0, 90.0)
                self._at(
                    at + self._chance.uniform(0.0, 5.0), "host_returns", host=each.facts["host"]
                )

    def switched_on_after(self) -> float | None:
        """Draw when a person switches a host on again that hacore has switched off."""
        return self._pick(None, None, None, 1.0, 5.0, 20.0, 60.0)
