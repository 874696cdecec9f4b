# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reads every few minutes the devices of hosts that were switched off, until they are returned.

One engine does: the one that writes what it sees of Nova's heartbeats.  A recovery that is under
way asks for itself, and more often (`hacore.engine.fencing.HostFencing.confirm`).
"""

import logging
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hacore.db import power
from hacore.db.power import Left
from hacore.engine.known_devices import KnownDevices
from hacore.engine.lease import Until
from hacore.errors import DatabaseUnavailable, Interrupted
from hacore.states import PowerVerdict

if TYPE_CHECKING:  # it has what this works with
    from hacore.engine.context import EngineContext

LOG = logging.getLogger(__name__)

_EVERY_S = 300.0
#: Of all that an engine may ask at once: a recovery does not wait for these.
_SHARE = 4


class PowerWatch:
    """Asks whether hosts that are to be off are on.

    :param stopped: is set when the engine stops: the agents that run end then.
    """

    def __init__(self, engine: "EngineContext", stopped: threading.Event) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._prover = engine.fencing.prover(engine.db, Until(engine.clock, stopped))
        self._looked_at = -math.inf
        self._reading: list[Any] = []  #: futures

    def look(self) -> None:
        """Ask, where the last time was long ago; waits for no device."""
        now = self._clock.monotonic()
        if not self._engine.watch.writes or now - self._looked_at < _EVERY_S:
            return
        if not all(future.done() for future in self._reading):
            return
        self._looked_at = now
        hosts = power.left(self._engine.db)
        readers = max(1, self._engine.conf.fencing.workers // _SHARE)
        shares = filter(None, (hosts[first::readers] for first in range(readers)))
        self._reading = [self._engine.calls.submit(self._read_all, share) for share in shares]

    def _read_all(self, hosts: Sequence[Left]) -> None:
        try:
            known = KnownDevices.read(self._engine.db)
            for host in hosts:
                self._read(host, known)
        except (DatabaseUnavailable, Interrupted) as exc:  # they are asked again, or all is over
            LOG.info("Whether hosts are off still was not read: %s", exc)
        except Exception:  # nobody waits for the future
            LOG.exception("Unexpected exception while the devices of hosts were read")

    def _read(self, host: Left, known: KnownDevices) -> None:
        """One device that says on is enough; one that cannot be read says nothing."""
        answers = [
            known.ask(self._prover, device)
            for device in self._engine.fencing.devices(host.host)
            if device.name in host.devices
        ]
        for answer in answers:
            if answer.verdict is PowerVerdict.ON:
                said = f"{answer.device.place} says that it is on"
                power.is_on(self._engine.db, host, said)
                return
        if answers and all(answer.verdict is PowerVerdict.OFF for answer in answers):
            power.is_off(self._engine.db, host, f"{answers[0].device.place} says that it is off")
