# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Proves that a host is off, through its own devices.

Level by level; in a level all devices must prove.  A device proves by two reads that say off after
its order, or by three over a longer time where the host was off without one: a host that restarts
is off for seconds, and a power signal may blink.  The invariant: no order is sent before
`Orders.may_order` and then `Orders.about_to_order` have returned for it.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hacore.fencing import agents, identity
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.identity import Identity
from hacore.fencing.programs import Programs
from hacore.states import PowerVerdict


class Orders(Protocol):
    """Whoever answers for the orders that are sent."""

    def may_order(self, device: Device) -> None:
        """Return where the device may be ordered to switch the host off; raise where not."""

    def about_to_order(self, device: Device) -> None:
        """Write the order down, right before the agent is started."""

    def answered(self, device: Device, answer: Answer) -> None:
        """Take the answer to an order.

        The order may be carried out later after every answer but off, and where the guard ended
        the agent: then this is not called.
        """


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of [fencing] that a proof depends on."""

    deadline_s: float
    confirm_delay_s: float
    confirm_delay_already_off_s: float
    require_verified: bool

    @classmethod
    def of(cls, fencing: Any) -> "Settings":
        """Take them from the group of options."""
        return cls(
            fencing.deadline,
            fencing.confirm_delay,
            fencing.confirm_delay_already_off,
            fencing.require_verified,
        )


@dataclasses.dataclass(frozen=True)
class DeviceProof:
    """What one device has shown.

    :ivar reads: those that the proof rests on, the oldest first.
    :ivar ordered: its agent has switched the host off; where that was off before, it sends nothing.
    """

    device: Device
    identity: Identity
    reads: tuple[Answer, ...]
    ordered: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a proof.

    :ivar proof: of each device of the level that proved; empty: the host is not proved off.
    :ivar answers: of each level that did not prove, the one that says why; what a sentence is for.
    """

    proof: tuple[DeviceProof, ...] = ()
    answers: tuple[Answer, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for each level that did not prove."""
        return tuple(f"level {one.device.level}: {one.sentence}." for one in self.answers)


#: By `Device.key`.
Known = Mapping[tuple[str, str], Identity]
Earlier = Mapping[tuple[str, str], Sequence[Answer]]


#: One talks to a device at a time.  Gives its turn, and whether that came without a wait.
Turns = Callable[[Device], contextlib.AbstractContextManager[bool]]


def _alone(_device: Device) -> contextlib.AbstractContextManager[bool]:
    return contextlib.nullcontext(True)


class _LevelFailed(Exception):
    """A level does not prove."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.sentence)
        self.answer = answer


class Prover:
    """Asks the devices of hosts, each in its turn."""

    def __init__(self, settings: Settings, programs: Programs, turns: Turns = _alone) -> None:
        self._settings, self._programs, self._turns = settings, programs, turns

    def status(self, device: Device, known: Identity | None = None) -> tuple[Answer, Identity]:
        """Read state and identity of one device, and change nothing.

        Its answer is wrong_box where the identity is another than the known one.
        """
        with self._turns(device):
            checked = self._checked(device, known)
            if isinstance(checked, Answer):
                return checked, Identity(None, verified=False)
            usable, shown = checked
            return self._asked(device, usable, "status"), shown

    def prove(
        self,
        levels: Sequence[Sequence[Device]],
        orders: Orders,
        known: Known,
        earlier: Earlier,
    ) -> Outcome:
        """Switch a host off and prove it, by the first level that can.

        :param known: what devices have shown before.
        :param earlier: reads since the report, the oldest first; they count where the host is off
            already.
        """
        answers: list[Answer] = []
        for level in levels:
            try:
                return Outcome(self._level(level, orders, known, earlier), tuple(answers))
            except _LevelFailed as exc:
                answers.append(exc.answer)
        return Outcome((), tuple(answers))

    def _level(
        self, level: Sequence[Device], orders: Orders, known: Known, earlier: Earlier
    ) -> tuple[DeviceProof, ...]:
        # all are looked at before one is switched: half a level proves nothing
        cases = [self._begun(device, known, earlier) for device in level]
        for case in cases:
            if not case.reads:
                self._order(case, orders)
        while (waiting := [case for case in cases if self._due(case) is not None]) != []:
            case = min(waiting, key=lambda one: self._due(one) or 0)
            self._wait_until(self._due(case) or 0)
            self._confirm(case, orders)
        return tuple(case.proof() for case in cases)

    def _begun(self, device: Device, known: Known, earlier: Earlier) -> "_Case":
        with self._turns(device):
            checked = self._checked(device, known.get(device.key))
            if isinstance(checked, Answer):
                raise _LevelFailed(checked)
            usable, shown = checked
            case = _Case(device, usable, shown)
            answer = self._read(case)
        if answer.verdict == PowerVerdict.OFF:
            case.reads = _unbroken([*earlier.get(device.key, ()), answer])
        elif answer.verdict != PowerVerdict.ON:
            raise _LevelFailed(answer)
        return case

    def _checked(self, device: Device, known: Identity | None) -> tuple[Device, Identity] | Answer:
        """Return the device with its password, and the identity that it shows."""
        if device.problem:
            return agents.misconfigured(device, device.problem, self._programs)
        usable = agents.with_password(device, self._programs)
        if isinstance(usable, Answer):
            return usable
        shown = identity.check(usable, known, self._settings.deadline_s, self._programs)
        if isinstance(shown, Answer):
            return dataclasses.replace(shown, device=device)
        if self._settings.require_verified and not shown.verified:
            return agents.misconfigured(
                device,
                "its identity is not verified, and [fencing] require_verified is set; write "
                f"identity into [{device.name} {device.host}]",
                self._programs,
            )
        return usable, shown

    def _order(self, case: "_Case", orders: Orders) -> None:
        while True:
            orders.may_order(case.device)
            with self._turns(case.device) as at_once:
                if at_once:
                    orders.about_to_order(case.device)
                    case.ordered = True
                    answer = self._ask(case, "off")
                    break
            # whether it may be switched off was asked before the wait: ask again
        orders.answered(case.device, answer)
        if answer.verdict != PowerVerdict.OFF:
            raise _LevelFailed(answer)
        case.off_before = answer.already

    def _confirm(self, case: "_Case", orders: Orders) -> None:
        with self._turns(case.device):
            answer = self._read(case)
        if answer.verdict == PowerVerdict.OFF:
            return
        if answer.verdict == PowerVerdict.ON and not case.ordered:
            case.reads = []
            self._order(case, orders)  # it was restarting
            return
        if answer.verdict == PowerVerdict.ON:
            why = "it was off and is on again; find out who switches it on"
            answer = dataclasses.replace(answer, sentence=f"{case.device}: {why}")
        raise _LevelFailed(answer)

    def _due(self, case: "_Case") -> float | None:
        """Return when a device is to be read again; None: it has proved."""
        if not case.reads:
            return self._programs.clock.monotonic()
        first, last = case.reads[0].moment, case.reads[-1].moment
        if case.has_switched_off:
            return first + self._settings.confirm_delay_s if len(case.reads) < 2 else None
        span_s = self._settings.confirm_delay_already_off_s
        if len(case.reads) < 2:
            return first + span_s / 2
        if len(case.reads) < 3 or last - first < span_s:
            return max(last, first + span_s)
        return None

    def _wait_until(self, moment: float) -> None:
        while (seconds := moment - self._programs.clock.monotonic()) > 0:
            self._programs.guard.wait(seconds)

    def _read(self, case: "_Case") -> Answer:
        answer = self._ask(case, "status")
        if answer.verdict == PowerVerdict.OFF:
            case.reads.append(answer)
        return answer

    def _ask(self, case: "_Case", action: str) -> Answer:
        return self._asked(case.device, case.usable, action)

    def _asked(self, device: Device, usable: Device, action: str) -> Answer:
        answer = agents.ask(usable, action, self._settings.deadline_s, self._programs)
        return dataclasses.replace(answer, device=device)  # as the caller knows it


@dataclasses.dataclass
class _Case:
    """A device on its way to a proof.

    :ivar usable: with the password that its script has printed.
    :ivar off_before: its agent sent no order, because the host was off.
    """

    device: Device
    usable: Device
    identity: Identity
    reads: list[Answer] = dataclasses.field(default_factory=list)
    ordered: bool = False
    off_before: bool = False

    @property
    def has_switched_off(self) -> bool:
        return self.ordered and not self.off_before

    def proof(self) -> DeviceProof:
        return DeviceProof(self.device, self.identity, tuple(self.reads), self.has_switched_off)


def _unbroken(reads: Sequence[Answer]) -> list[Answer]:
    """Return the reads since the last one that did not say off."""
    off = itertools.takewhile(lambda read: read.verdict == PowerVerdict.OFF, reversed(reads))
    return [*off][::-1]
