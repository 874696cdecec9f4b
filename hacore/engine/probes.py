# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reads each fencing device from time to time: what does not work is found by day.

The engine that writes the heartbeats does it for all, one device after the other.  A probe changes
nothing at the device.
"""

import dataclasses
import logging
import threading
import zlib

from hacore.db import devices, hosts, watch
from hacore.db.devices import Probe, Seen
from hacore.db.engine import Database
from hacore.engine.context import EngineContext
from hacore.engine.fencing import Fencing
from hacore.engine.known_devices import KnownDevices, refuted, shared
from hacore.engine.lease import Until
from hacore.engine.watch import Watch
from hacore.errors import DatabaseUnavailable, Interrupted
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.identity import Identity
from hacore.fencing.proving import Prover
from hacore.nova.retry import Guard
from hacore.states import USABLE, Hearing, PowerVerdict

LOG = logging.getLogger(__name__)

#: Seconds between two looks for devices that are due, and the part of the interval, if that is
#: less.
_LONGEST_PAUSE_S, _PAUSES = 60.0, 10
#: Report intervals in which a host that Nova hears is heard twice.
_HEARD_TWICE = 3.5


class Probes:
    """Probes the devices of registered hosts.

    :param owner: name of this engine, unlike any other's.
    """

    def __init__(self, engine: EngineContext, owner: str) -> None:
        self._db, self._clock, self._fencing = engine.db, engine.clock, engine.fencing
        self._watch, self._owner = engine.watch, owner
        self._interval_s: int = engine.conf.fencing.probe_interval

    def run(self, stopped: threading.Event) -> None:
        """Probe what is due until `stopped`; the body of a thread."""
        if not self._interval_s:
            return
        guard = Until(self._clock, stopped)
        pause_s = min(_LONGEST_PAUSE_S, self._interval_s / _PAUSES)
        while not stopped.is_set():
            try:
                self.probe_due(guard)
            except Interrupted:
                return
            except DatabaseUnavailable as exc:
                LOG.debug("Failed to read which fencing devices are due: %s", exc)
            except Exception:  # the top of a thread that must not end
                LOG.exception("Unexpected exception while probing fencing devices")
            self._clock.wait(stopped, pause_s)

    def probe_due(self, guard: Guard) -> None:
        """Probe each device that is due, where this engine is the one that does it."""
        if not watch.is_written_by(self._db, self._owner):
            return
        found = [
            device
            for host in hosts.registered(self._db)
            for device in self._fencing.devices(host.name)
        ]
        seen = {each.key: each for each in devices.all_of(self._db)}
        if gone := seen.keys() - {device.key for device in found}:
            devices.remove(self._db, gone)
        for device in found:
            if self._is_due(device, seen.get(device.key)):
                guard.check()
                if not watch.is_written_by(self._db, self._owner):
                    return
                probe(self._db, self._fencing, guard, device, self._watch)

    def _is_due(self, device: Device, seen: Seen | None) -> bool:
        if seen is None or seen.age_s is None:
            return True
        if seen.is_left_alone(self._fencing.mark):
            return False
        if seen.file_mark != self._fencing.mark and not seen.is_usable:
            return True  # the file has changed: perhaps for this device
        # each at a moment of its own within the interval, the same in each
        phase_s = zlib.crc32(" ".join(device.key).encode()) % self._interval_s
        since_s = (self._clock.now().timestamp() - phase_s) % self._interval_s
        return seen.age_s > since_s


def probe(
    db: Database, fencing: Fencing, guard: Guard, device: Device, heard: Watch | None
) -> Probe:
    """Read a device, write down what it shows, and return that.

    :param heard: which hosts Nova hears; None: that is not known here.
    """
    known = KnownDevices.read(db)
    seen, before = known.seen(device), known.identities.get(device.key)
    # what is known of a box that two hosts share is worth nothing: it is learned again
    shares = before is not None and not before.verified and known.shares(device.host, before.value)
    asked = _Asked(fencing.prover(db, guard), device, None if shares else before)
    answer, shown = asked.status()
    is_refuted = seen is not None and seen.refuted_at is not None
    if answer.verdict is PowerVerdict.ON:
        is_refuted = False
    elif answer.verdict is PowerVerdict.OFF and heard is not None:
        is_refuted = is_refuted or _is_heard_meanwhile(asked, answer, heard, guard)
    verdict, sentence = answer.verdict, answer.sentence
    if verdict in USABLE:
        if others := known.shares(device.host, shown.value):
            verdict, sentence = _wrong(device, shared(shown.value, others))
        elif is_refuted:
            verdict, sentence = _wrong(device, refuted(device.host))
    made = Probe(
        host=device.host,
        device=device.name,
        level=device.level,
        agent=device.agent.name,
        verdict=verdict,
        sentence=sentence,
        can_off=shown.can_off,
        identity=shown.value,
        verified=shown.verified,
        learn=bool(shares),
        refuted=is_refuted,
        file_mark=fencing.mark,
    )
    devices.record(db, made)
    return made


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A device that is asked, maybe twice."""

    prover: Prover
    device: Device
    known: Identity | None

    def status(self) -> tuple[Answer, Identity]:
        return self.prover.status(self.device, self.known)


def _is_heard_meanwhile(asked: _Asked, off: Answer, heard: Watch, guard: Guard) -> bool:
    """Whether Nova hears the host after its device has said off, and the device says so still."""
    host = asked.device.host
    pulse = heard.pulse(host)
    if pulse is None or pulse.hearing is not Hearing.HEARD:
        return False
    guard.wait(_HEARD_TWICE * heard.interval_s)
    return heard.heard_since(host, off.moment) and asked.status()[0].verdict is PowerVerdict.OFF


def _wrong(device: Device, why: str) -> tuple[PowerVerdict, str]:
    return PowerVerdict.WRONG_BOX, f"{device}: {why}"
