# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a seed says, as values.

Moments and durations are seconds of the simulated world.  Everything that goes
wrong has ended at `Plan.healed_at`; engines run from then on.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class HostPlan:
    """A compute host, and the segment that it belongs to."""

    name: str
    segment: int
    reserved: bool
    disabled: bool  #: in Nova, as operators keep reserved hosts
    capacity: int


@dataclasses.dataclass(frozen=True)
class InstancePlan:
    """An instance before anything happens."""

    name: str
    host: str
    states: dict[str, Any]
    ha: bool
    lock: str | None  #: owner, or admin: another administrator


@dataclasses.dataclass(frozen=True)
class DevicePlan:
    """A class of fencing devices: the BMCs, or the outlets of a power strip."""

    name: str
    level: int
    hosts: tuple[str, ...]

    def plug(self, host: str) -> str:
        """The name of the device of a host, in the sandbox."""
        return host if self.name == "bmc" else f"{self.name}-{host}"


@dataclasses.dataclass(frozen=True)
class FencingPlan:
    """The devices of hosts.

    :ivar switched_on_after_s: a person switches a host on again that hacore has switched off.
    """

    devices: tuple[DevicePlan, ...]
    switched_on_after_s: float | None


@dataclasses.dataclass(frozen=True)
class Happening:
    """Something that happens at a moment; `what` is a method of `hosts`, `faults`, ..."""

    at: float
    what: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        facts = ", ".join(f"{key} {value}" for key, value in self.facts.items())
        return f"{self.what}: {facts}"


@dataclasses.dataclass(frozen=True)
class EnginePlan:
    """An engine, and the ends that its lives come to; see `Crash`."""

    name: str
    starts_at: float
    crashes: tuple["Crash", ...]


@dataclasses.dataclass(frozen=True)
class Crash:
    """What happens to one life of an engine: at its n-th door, or at a moment.

    A door is the end of a transaction, or the beginning or end of a call to
    Nova or Keystone.  `kill` and `sigterm` end this life, and the next one
    starts after `pause_s`; `freeze` stops it for so long.
    """

    kind: str  #: kill, sigterm, freeze
    door: int
    pause_s: float


@dataclasses.dataclass(frozen=True)
class Ambush:
    """What happens to the engine, whichever it is, that is the n-th to do something.

    ==================  ============================  =======================================
    kind                lies in wait for              what happens
    ==================  ============================  =======================================
    ``reauth``          a call that changes           its token is revoked, and the engine
                                                      freezes while it gets a new one: `how` is
                                                      ``asking`` or ``answered``
    ``power``           a transaction: `of` is        its machine is off before the commit, and
                        claim, renewal or any         the database keeps its locks for `by_s`
    ``late lock``       a lock call                   Nova gets it `by_s` later; `how` the
                                                      engine ends: kill, sigterm, freeze, or not
    ``lost call``       a call that changes; `of`     `how`: Nova gets it late, at once or
                        is its action, or any         never; SIGTERM follows
    ``cell``            a list of instances (`of` is  Nova cannot reach the cell of any host for
                        list) or records              `by_s`: from the list on, or after it, as
                                                      `how` says: ``before`` or ``after``
    ``device``          `of`: an order to a device,   `how` the engine ends: kill, sigterm, freeze
                        an answer of one, a commit
                        of an order or a proof
    ==================  ============================  =======================================
    """

    kind: str
    number: int
    of: str
    how: str
    by_s: float
    pause_s: float  #: as of `Crash`


#: Names of the ambushes for the summary.
TOLD = {
    "reauth": "engine frozen in re-authentication",
    "power": "power loss in a transaction",
    "late lock": "late lock",
    "cell": "a cell is down while instances or records are listed",
    "device": "an engine's end at a fencing device",
    "lost call": "SIGTERM after a lost call",
}


#: Nova's report interval, for engines: with fewer looks at its heartbeats the worlds go on faster.
INTERVAL_S = 2.0
#: For what is held: until an operator has looked, and looked once more.
_HELD_S = 600
#: For devices, in each attempt: silence, reads, and two levels that do not answer.
_DEVICES_S = 200


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a seed says."""

    seed: int
    options: dict[str, dict[str, Any]]  #: by group, then name
    cloud: dict[str, Any]  #: hacore_sandbox.settings, over those of `instant`
    segments: tuple[dict[str, Any], ...]
    hosts: tuple[HostPlan, ...]
    instances: tuple[InstancePlan, ...]
    engines: tuple[EnginePlan, ...]
    happenings: tuple[Happening, ...]
    healed_at: float
    wakes: bool  #: the wake-up calls arrive
    ambushes: tuple[Ambush, ...] = ()
    sees_dead: bool = False  #: an engine that starts can tell that its predecessor is dead
    fencing: FencingPlan | None = None

    @property
    def bound_s(self) -> float:
        """How long after `healed_at` a notification may be under way, generously."""
        default, host_failure = self.options["DEFAULT"], len(self.instances)
        attempt_s = (
            default["wait_period_after_service_update"]
            + default["process_unfinished_notifications_interval"]
            + default["wait_period_after_power_on"]
            + (default["wait_period_after_evacuation"] + 2 * default["wait_period_after_power_off"])
            * (1 + host_failure // default["host_failure_recovery_threads"])
            + 60
            + (_DEVICES_S if self.fencing else 0)
        )
        notifications = sum(happening.what == "notify" for happening in self.happenings)
        serial_s = attempt_s * default["max_recovery_attempts"] * max(1, notifications)
        return float(serial_s + 2 * default["claim_lease"] + 300 + _HELD_S)
