# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The fencing devices of a schedule: the agents of `tests.devices` with faults and doors.

A device may be ``dead``, take orders and ignore them (``lies``) or carry them out late (``delay``),
refuse the login (``denied``), be ``slow``, say off whatever is so (``says off``), or be in another
host than its own (``other box``).
"""

from typing import Any

from hacore.clock import Clock
from hacore.fencing.programs import Command, Ended, Guard
from hacore_sandbox.bmc import MODES, Bmc
from hacore_sandbox.cloud import Cloud
from tests.devices import SimulatedAgents, denied, options
from tests.schedules.device_checks import DeviceChecks
from tests.schedules.transports import Doors


class WatchedAgents(SimulatedAgents):
    """Agents that the checks see, and at whose doors engines end."""

    def __init__(self, cloud: Cloud, doors: Doors, checks: DeviceChecks) -> None:
        super().__init__(cloud)
        self._doors, self._checks = doors, checks
        self._faults: dict[str, tuple[str, float]] = {}

    def fails(self, plug: str, fault: str, by_s: float = 0.0, box: str = "") -> None:
        """From now on something is wrong with a device; a fault of before is over."""
        bmcs = self._cloud.bmcs
        host = self._checks.host_of(plug)
        changes: dict[str, Any] = {"mode": fault if fault in MODES else "normal"}
        changes["box"] = box or host
        if fault == "delay":
            changes["delay_s"] = by_s
        bmcs.change(plug, changes)
        self._faults[plug] = fault, by_s

    def is_well(self, plug: str) -> None:
        """Nothing is wrong with a device any more."""
        self.fails(plug, "normal")

    def __call__(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        given = options(command)
        action = given["action"]
        if action not in ("status", "off"):
            return super().__call__(command, deadline_s, clock, guard)
        self._door(f"{action} starts", "call")
        guard.check()
        self._cloud.advance()
        self._checks.asks(given["plug"], action)
        ended = self._answer(command, deadline_s, clock, guard)
        self._checks.answered(given["plug"], action, ended)
        self._door(f"{action} answered", "answer")
        return ended

    def _answer(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        fault, by_s = self._faults.get(options(command)["plug"], ("", 0.0))
        if fault == "denied":
            return denied(options(command)["password"])
        if fault == "slow":
            guard.wait(min(by_s, deadline_s))
            if by_s >= deadline_s:
                return Ended(None)
        return super().__call__(command, deadline_s, clock, guard)

    def _is_off(self, bmc: Bmc) -> bool:
        return self._says_off(bmc) or super()._is_off(bmc)

    def _read(self, bmc: Bmc) -> Ended:
        return Ended(2, "Status: OFF\n") if self._says_off(bmc) else super()._read(bmc)

    def _says_off(self, bmc: Bmc) -> bool:
        return self._faults.get(bmc.name, ("",))[0] == "says off"

    def _send(self, bmc: Bmc) -> None:
        self._checks.ordered(bmc.name)
        super()._send(bmc)
        self._door("off runs", "answer")

    def _door(self, of: str, kind: str) -> None:
        doors = self._doors
        doors.clock.check_alive()
        ambush = doors.ambushed("device", of)
        if ambush is not None:
            doors.strike(ambush, ambush.how)
        doors.passed(kind)
