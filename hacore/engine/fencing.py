# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Proves the host of a recovery off through its own devices; see doc/fencing.md.

Each order is written down before it is sent, and asked for right before: it is not sent to a host
that Nova hears, nor to more of them than may have failed.
"""

import contextlib
import dataclasses
import itertools
import logging
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.clock import Clock
from hacore.db import devices as rows
from hacore.db import orders, proofs, recoveries
from hacore.db.engine import Database
from hacore.db.leases import Held
from hacore.engine.known_devices import KnownDevices
from hacore.errors import ConfigError, DatabaseUnavailable, Interrupted
from hacore.fencing import installed, programs
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.file import DevicesFile
from hacore.fencing.programs import Command, Ended, Programs, Runner
from hacore.fencing.proving import DeviceProof, Prover, Settings
from hacore.nova.retry import Guard, Unguarded
from hacore.states import USABLE, PowerVerdict

if TYPE_CHECKING:  # it makes what is defined here
    from hacore.engine.context import Context, RecoveryContext

LOG = logging.getLogger(__name__)

#: The devices of a host are read so often while its silence is waited for: what they say since the
#: report counts.
_READ_S = 10.0
#: For so long it stands what the devices of a host say that is proved off.
_FRESH_S = 30.0
#: Until a device is asked for again that somebody else talks to.
_BUSY_S = 1.0
#: A turn lasts as long as a script for the password, two requests for the identity and one read or
#: order may take, and some: who is frozen meanwhile has lost it then.
_TURN_S, _REQUESTS = 35.0, 3
Levels = Sequence[Sequence[Device]]


class Fencing:
    """The fencing devices of all hosts, for all recoveries of an engine.

    Raises ConfigError where the file of devices is wrong.

    :param runner: runs programs; another one where devices are simulated.
    :param folders: where agents may be.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        clock: Clock,
        runner: Runner = programs.run,
        folders: Collection[str] = installed.FOLDERS,
    ) -> None:
        self._options, self._clock, self._runner = conf.fencing, clock, runner
        self._region = conf.nova.region_name
        self._slots = threading.BoundedSemaphore(conf.fencing.workers)
        self._settings = Settings.of(conf.fencing)
        self._file = DevicesFile(
            conf.fencing.devices_file, Programs(clock, Unguarded(clock), runner), folders
        )
        self._alone = threading.Lock()

    def levels(self, host: str) -> Levels:
        """Return the devices of a host, by level; empty: it has none."""
        with self._alone:
            if self._file.refresh() and self._file.problem is not None:
                LOG.error("%s", self._file.problem)
            return self._file.devices.of(host)

    def devices(self, host: str) -> tuple[Device, ...]:
        """Return the devices of a host, whatever their level."""
        return tuple(device for level in self.levels(host) for device in level)

    def needs_proof(self, host: str) -> bool:
        """Whether a host must be proved off before it is evacuated."""
        match self._options.require_proof:
            case "always":
                return True
            case "never":
                return False
        return bool(self.levels(host))

    def check(self, hosts: Iterable[str]) -> None:
        """Raise ConfigError where the file is wrong for these hosts, which are registered."""
        problems = self._file.devices.problems(hosts)
        if problems:
            raise ConfigError(f"{self._options.devices_file}: {' '.join(problems)}")
        region = self._file.devices.region
        if region is not None and region != self._region:
            raise ConfigError(
                f"{self._options.devices_file} is for region {region}, and [nova] region_name is "
                f"{self._region}: hosts of the same name would be switched off there."
            )

    @property
    def mark(self) -> str:
        """What differs once the file of devices was changed."""
        return self._file.mark

    def prover(self, db: Database, guard: Guard, claim: Held | None = None) -> Prover:
        """Return what asks devices under this guard, each in its turn.

        :param claim: that it is for.
        """
        prefix = "" if claim is None else f"{claim.uuid}/{claim.number}/"

        def turn(device: Device) -> contextlib.AbstractContextManager[bool]:
            return self._turn(db, guard, device, f"{prefix}{uuid.uuid4()}")

        return Prover(self._settings, Programs(self._clock, guard, self._run), turn)

    def reader(self, guard: Guard) -> Prover:
        """Return what reads devices of other hosts, out of turn: all that wait would read one."""
        return Prover(self._settings, Programs(self._clock, guard, self._run))

    @contextlib.contextmanager
    def _turn(self, db: Database, guard: Guard, device: Device, who: str) -> Iterator[bool]:
        """Talk to a device while nobody else does, of no engine; whether that was so at once."""
        at_once = True
        lease_s = _TURN_S + _REQUESTS * self._options.deadline
        while not rows.take(db, device.host, device.name, who, lease_s):
            at_once = False
            guard.wait(_BUSY_S)
        try:
            yield at_once
        finally:
            try:
                rows.give_back(db, device.host, device.name, who)
            except DatabaseUnavailable as exc:  # what the device has answered counts all the same
                LOG.warning("%s: its turn ends after %g s: %s", device, lease_s, exc)

    def _run(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        with self._slots:
            return self._runner(command, deadline_s, clock, guard)


@dataclasses.dataclass(frozen=True, slots=True)
class Unsettled:
    """Why a host may not be enabled: a device of it was ordered to switch it off.

    :ivar is_off: its device says so; else it cannot be read, and the order is outstanding.
    :ivar why: in words, without a full stop.
    """

    device: str
    is_off: bool
    why: str


class HostDevices:
    """The devices of the host of one claim."""

    def __init__(self, context: "Context") -> None:
        self._context = context
        self._fencing = context.engine.fencing
        self._host = context.claim.host_name
        self._prover = self._fencing.prover(context.db, context.guard, context.claim)

    @property
    def levels(self) -> Levels:
        """The devices of the host, by level."""
        return self._fencing.levels(self._host)

    @property
    def _devices(self) -> tuple[Device, ...]:
        return self._fencing.devices(self._host)

    def _known(self) -> KnownDevices:
        return KnownDevices.read(self._context.db)

    def unsettled(self) -> Unsettled | None:
        """Read each device that has an outstanding order; say why the host may not be enabled.

        None: it may; no order to switch it off is on its way.
        """
        claim = self._context.claim
        outstanding = orders.outstanding(self._context.db, claim.host_uuid)
        if not outstanding:
            return None
        known = self._known()
        devices = {device.name: device for device in self._devices}
        for order in outstanding:
            device = devices.get(order.device)
            if device is None:
                why = (
                    f"device {order.device} was ordered to switch {self._host} off, and is not in "
                    "the file of devices any more, so nobody can read whether it did"
                )
                return Unsettled(order.device, is_off=False, why=why)
            answer = known.ask(self._prover, device)
            if answer.verdict not in USABLE:
                why = (
                    f"an order to switch {self._host} off may yet be carried out: {answer.sentence}"
                )
                return Unsettled(order.device, is_off=False, why=why)
            if answer.verdict is PowerVerdict.OFF:  # not closed: whoever asks again hears the same
                why = f"hacore has switched {self._host} off ({device.place})"
                return Unsettled(order.device, is_off=True, why=why)
            orders.close(self._context.db, claim, order.device, answer.verdict)
        return None

    def give_up(self, device: str) -> None:
        """Note that nobody will know what became of the orders to a device."""
        orders.close(self._context.db, self._context.claim, device, PowerVerdict.UNKNOWN)


class HostFencing(HostDevices):
    """Those of a recovery; as `hacore.fencing.proving.Orders` it sends orders."""

    _context: "RecoveryContext"

    def __init__(self, context: "RecoveryContext") -> None:
        super().__init__(context)
        self._read: dict[tuple[str, str], list[Answer]] = {}  #: since the claim
        self._read_at: float | None = None
        #: When its devices last confirmed that the host is off, by the monotonic clock.
        self._confirmed_at: float | None = None
        self._confirming = threading.Lock()

    def look(self) -> None:
        """Read the devices where the last time was a while ago."""
        now = self._context.clock.monotonic()
        if self._read_at is None or now - self._read_at >= _READ_S:
            self._read_at = now
            known = self._known()
            for device in self._devices:
                answer = known.ask(self._prover, device)
                self._read.setdefault(device.key, []).append(answer)

    def shows_off(self) -> bool:
        """Whether a level of devices says that the host is off: none of the limits holds it."""
        self.look()
        return any(
            all(self._last(device) is PowerVerdict.OFF for device in level) for level in self.levels
        )

    def _last(self, device: Device) -> PowerVerdict | None:
        answers = self._read.get(device.key)
        return answers[-1].verdict if answers else None

    def are_on(self, hosts: Iterable[str], enough: int) -> bool:
        """Whether so many of other hosts are not off, by any level of their devices."""
        known, reader = self._known(), self._fencing.reader(self._context.guard)
        on = (
            host
            for host in hosts
            if not any(
                all(known.ask(reader, device).verdict is PowerVerdict.OFF for device in level)
                for level in self._fencing.levels(host)
            )
        )
        return len(list(itertools.islice(on, enough))) == enough

    def prove(self) -> None:
        """Switch the host off, and prove it.  Raises RecoveryHeld where that cannot be."""
        known = self._known()
        levels = known.judged(self.levels)
        outcome = self._prover.prove(levels, self, known.identities, self._read)
        if not outcome.proof:
            denied = any(answer.verdict is PowerVerdict.DENIED for answer in outcome.answers)
            raise self._context.gates.not_proved(outcome.sentences, denied=denied)
        for each in outcome.proof:
            orders.close(self._context.db, self._context.claim, each.device.name, PowerVerdict.OFF)
        pulse = self._context.engine.watch.pulse(self._host)
        proofs.of_devices(
            self._context.db,
            self._context.claim,
            pulse.beat if pulse else None,
            "; ".join(_said(each) for each in outcome.proof),
            [_details(each) for each in outcome.proof],
        )
        self._confirmed_at = self._context.clock.monotonic()

    def confirm(self) -> None:
        """Read the devices of a host that is proved off, where the last time was a while ago.

        One that says on voids every proof.  One that cannot be read voids none.
        """
        if not self._is_unconfirmed() or not self._confirming.acquire(blocking=False):
            return
        try:
            self._confirm()
        finally:
            self._confirming.release()

    def keep_confirmed(self) -> None:
        """Do the same, and wait for nothing: a device may take its time."""
        if self._is_unconfirmed() and self.levels and not self._confirming.locked():
            self._context.engine.calls.submit(self._confirm_beside)

    def _confirm_beside(self) -> None:
        try:
            self.confirm()
        except (DatabaseUnavailable, Interrupted) as exc:  # it is asked again, or all is over
            LOG.info("host %s: whether it is off still was not read: %s", self._host, exc)
        except Exception:  # nobody waits for the future
            LOG.exception("host %s: unexpected exception while its devices were read", self._host)

    def _is_unconfirmed(self) -> bool:
        at = self._confirmed_at
        return at is None or self._context.clock.monotonic() - at >= _FRESH_S

    def _confirm(self) -> None:
        devices, now = self._devices, self._context.clock.monotonic()
        proof = self._context.gates.proof() if devices else None
        if proof is None:
            return
        is_first, self._confirmed_at = self._confirmed_at is None, now
        if is_first and proof.age_s < _FRESH_S:  # of an engine that died, or of a person
            self._confirmed_at = now - proof.age_s
            return
        known = self._known()
        for device in devices:
            if proof.devices and device.name not in proof.devices:
                continue  # a level that could not prove it
            if known.ask(self._prover, device).verdict is PowerVerdict.ON:
                why = f"{device.place} says that it is on."
                host_uuid = self._context.claim.host_uuid
                proofs.void_by_device(self._context.db, host_uuid, self._host, why)

    def may_order(self, device: Device) -> None:  # noqa: ARG002 - all devices of a host alike
        """Ask once more whether the host may be switched off."""
        self._context.gates.before_order(self)

    def about_to_order(self, device: Device) -> None:
        """Write the order down."""
        recoveries.take_over(self._context.db, self._context.claim)
        orders.begin(self._context.db, self._context.claim, device.name)

    def answered(self, device: Device, answer: Answer) -> None:
        """Note that the order was carried out; any other answer leaves it outstanding."""
        if answer.verdict is PowerVerdict.OFF:
            orders.close(self._context.db, self._context.claim, device.name, answer.verdict)


def _said(proof: DeviceProof) -> str:
    """Say what a device has shown, and no more."""
    first, last = proof.reads[0], proof.reads[-1]
    over = f"{len(proof.reads)} times within {last.moment - first.moment:.0f} s"
    what = "has switched it off, and said so" if proof.ordered else "said that it is off"
    identity = "" if proof.identity.verified else "; that the device is its own is not verified"
    return f"{proof.device.place} {what} {over}{identity}"


def _details(proof: DeviceProof) -> dict[str, Any]:
    return {
        "device": proof.device.name,
        "agent": proof.device.agent.name,
        "identity": proof.identity.value,
        "verified": proof.identity.verified,
        "ordered": proof.ordered,
        "reads": [[str(read.verdict), read.at.isoformat()] for read in proof.reads],
        "digests": [read.digest for read in proof.reads],
    }
