# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore promises of its orders to fencing devices, and of the proofs that come of them.

What devices were asked, and what they said, is known from the simulated agents.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from hacore.fencing.programs import Ended
from hacore.states import ProofKind
from tests.schedules.plans import FencingPlan

if TYPE_CHECKING:  # it has one
    from tests.schedules.call_checks import CallChecks

#: Seconds for which a proof of another recovery stands; [fencing] proof_lifetime.
_LIFETIME_S = 900.0
_ROUNDING_S = 0.01


@dataclasses.dataclass
class Asked:
    """A run of an agent.

    :ivar verdict: on or off, where it said so.
    """

    at: float
    claim: tuple[str, int] | None
    action: str
    verdict: str | None = None
    sent: bool = False  #: the order has reached the device


class DeviceChecks:
    """Watches the devices of one schedule.  `plan` None: there are none."""

    def __init__(
        self, checks: "CallChecks", plan: FencingPlan | None, options: dict[str, Any]
    ) -> None:
        self._checks = checks
        self._clock, self._cloud = checks._clock, checks._cloud
        self._confirm_s = 3.0
        self._already_off_s = options["confirm_delay_already_off"]
        self._needs_all = options["require_proof"] == "always"
        self._hosts: dict[str, str] = {}  #: by plug
        self._names: dict[str, str] = {}  #: of the devices, by plug
        #: The plugs of each host, by level.
        self._levels: dict[str, dict[int, list[str]]] = {}
        for device in plan.devices if plan else ():
            for host in device.hosts:
                plug = device.plug(host)
                self._hosts[plug], self._names[plug] = host, device.name
                self._levels.setdefault(host, {}).setdefault(device.level, []).append(plug)
        self._asked: dict[str, list[Asked]] = {plug: [] for plug in self._hosts}

    def host_of(self, plug: str) -> str:
        """The host that a device is said to switch."""
        return self._hosts[plug]

    def plugs_of(self, host: str) -> list[str]:
        """The devices of a host."""
        return [plug for level in self._levels.get(host, {}).values() for plug in level]

    def needs_proof(self, host: str) -> bool:
        """Whether a host must be proved off before it is evacuated."""
        return self._needs_all or host in self._levels

    # ------------------------------------------------------------- agents

    def asks(self, plug: str, action: str) -> None:
        """An agent is started."""
        actor = self._clock.current
        claim = getattr(actor, "claim", None)
        if action == "off":
            self._is_silent(plug)
            self._is_written_down(plug)
            self._is_read(plug)
        self._asked[plug].append(Asked(self._clock.monotonic(), claim, action))

    def ordered(self, plug: str) -> None:
        """Its order has reached the device."""
        self._asked[plug][-1].sent = True

    def answered(self, plug: str, action: str, ended: Ended) -> None:
        """An agent has ended."""
        claim = getattr(self._clock.current, "claim", None)
        asked = next(
            each
            for each in reversed(self._asked[plug])
            if (each.claim, each.action) == (claim, action)
        )
        if ended.code in (0, 2):
            asked.verdict = "off" if "OFF" in ended.out else "on"

    def _is_silent(self, plug: str) -> None:
        """No order is sent to a device of a host that Nova hears."""
        service = self._cloud.state.host(self._hosts[plug]).service
        now = self._cloud.now
        if now - service.reports_from < self._checks.heard_s:
            # one heartbeat may be an old one; and another device of the level may have switched it
            # off by now
            return
        age_s = now - self._cloud.state.last_report(service)
        if age_s < self._checks.silent_s(service, now - age_s):
            self._checks.broken(
                f"{self._hosts[plug]} is switched off ({plug}), and its last heartbeat was "
                f"{age_s:.1f} s ago"
            )

    def _is_written_down(self, plug: str) -> None:
        """An order is recorded before it is sent."""
        if not any(
            row["device"] == self._names[plug] for row in self.outstanding(self._hosts[plug])
        ):
            self._checks.broken(f"an order to {plug} is sent before it is written down")

    def _is_read(self, plug: str) -> None:
        """No second order is sent to a device that was not read since the first one."""
        if self._is_unread(plug):
            self._checks.broken(f"a second order is sent to {plug}, which was not read since")

    def _is_unread(self, plug: str) -> bool:
        """Whether the state of a device was not seen since an order was sent to it."""
        unread = False
        for asked in self._asked[plug]:
            if asked.action == "off":
                unread = asked.verdict != "off"
            elif asked.verdict is not None:
                unread = False
        return unread

    # ----------------------------------------------------------- database

    def outstanding(self, host: str) -> list[dict[str, Any]]:
        """The orders to devices of a host that are recorded as outstanding."""
        uuid = next(row["uuid"] for row in self._rows("hosts") if row["name"] == host)
        return [
            row
            for row in self._rows("fencing_orders")
            if row["host_uuid"] == uuid and row["closed_at"] is None
        ]

    def _rows(self, table: str) -> list[dict[str, Any]]:
        return list(self._checks.rows[table].values())

    def proved(self, row: dict[str, Any], claim: tuple[str, int] | None) -> None:
        """A proof is written down: devices must have shown it."""
        if row["kind"] != ProofKind.POWER_OFF:
            return
        host = self._checks.rows["hosts"][row["host_uuid"]]["name"]
        if not any(
            all(self._has_shown_off(plug, claim) for plug in level)
            for level in self._levels.get(host, {}).values()
        ):
            self._checks.broken(f"{host} is said to be proved off, and no level has shown it")

    def _has_shown_off(self, plug: str, claim: tuple[str, int] | None) -> bool:
        """Whether a device has said off often and long enough, to this claim, and nothing else."""
        reads: list[float] = []
        sent = False
        for asked in self._asked[plug]:
            if asked.claim != claim:
                continue
            if asked.action == "off":
                reads, sent = [], asked.sent
            elif asked.verdict == "off":
                reads.append(asked.at)
            else:
                reads = []
        span_s = reads[-1] - reads[0] if reads else 0.0
        if sent:
            return len(reads) >= 2 and span_s > self._confirm_s - 1.0
        return len(reads) >= 3 and span_s > self._already_off_s - 1.0

    # --------------------------------------------------------------- Nova

    def evacuates(self, row: dict[str, Any]) -> None:
        """No evacuate call without a valid proof where one is required."""
        host = self._checks.rows["hosts"][row["source_host_uuid"]]["name"]
        if not self.needs_proof(host):
            return
        proofs = [
            proof
            for proof in self._rows("proofs")
            if proof["host_uuid"] == row["source_host_uuid"] and proof["void_at"] is None
        ]
        now = self._clock.monotonic()
        valid = [
            proof
            for proof in proofs
            if proof["notification_uuid"] == row["uuid"]
            or now - self._checks._seconds(proof["created_at"]) <= _LIFETIME_S
        ]
        if not valid:
            self._checks.broken(f"an evacuation from {host}, which nothing has proved off")
            return
        service = self._cloud.state.host(host).service
        since = max(self._checks._seconds(proof["created_at"]) for proof in valid)
        heard_s = self._cloud.now - max(service.reports_from, since)
        if service.alive and heard_s > self._checks.heard_s:
            self._checks.broken(
                f"an evacuation from {host}, which was proved off, and has been heard for "
                f"{heard_s:.1f} s since"
            )

    def enables(self, host: str) -> None:
        """No host is enabled while an order to switch it off may yet be carried out."""
        for row in self.outstanding(host):
            self._checks.broken(
                f"{host} is enabled while an order to its device {row['device']} is outstanding"
            )
        for plug in self.plugs_of(host):
            if self._is_unread(plug):
                self._checks.broken(f"{host} is enabled, and {plug} was not read since its order")
