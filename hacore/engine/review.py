# Licensed under the Apache License, Version 2.0; see LICENSE.
"""After each look at Nova's heartbeats: does what is held go on, and is off what was switched off?

Every engine asks; what has been lifted already is not lifted again.  A look that changes
nothing writes nothing.
"""

import logging
import threading
from collections.abc import Callable

from hacore.db import census, gates, holds, mass_failure, moves, pauses, restarts
from hacore.db.census import Census
from hacore.db.holds import Held
from hacore.engine.census import seen_by
from hacore.engine.context import EngineContext
from hacore.engine.gates import limits_of
from hacore.engine.power import PowerWatch
from hacore.errors import DatabaseUnavailable
from hacore.nova.heartbeats import Pulse
from hacore.states import Hearing, Rule

LOG = logging.getLogger(__name__)

_DAY_S = 86400.0
#: What does not hold a host whose devices say off.
_BY_DEVICES = (Rule.PROOF, Rule.TOGETHER, Rule.MAJORITY)
#: The longest that devices are left alone: they lock out who logs in wrongly too often.
_SELDOM_S = 900.0


class Review:
    """Lifts the holds whose causes are gone.

    :param lifted: called when something has become due.
    :param stopped: is set when the engine stops.
    """

    def __init__(
        self, engine: EngineContext, lifted: Callable[[], None], stopped: threading.Event
    ) -> None:
        self._conf, self._db = engine.conf, engine.db
        self._watch, self._proofs = engine.watch, engine.proofs
        self._fencing = engine.fencing
        self._power = PowerWatch(engine, stopped)
        self._lifted = lifted
        #: How many hosts are missing, at this look.
        self._census: Census | None = None
        #: For how long so few have been missing, by segment and zone, at this look.
        self._below_s: dict[tuple[str, str], float | None] = {}

    def look(self) -> None:
        """Ask for all that are held."""
        try:
            self._review()
            self._power.look()
        except DatabaseUnavailable as exc:
            LOG.debug("Failed to read what is held: %s", exc)

    def _review(self) -> None:
        self._census = None
        self._below_s.clear()
        for held in holds.all_of(self._db):
            if held.for_s > self._conf.held_expire:
                holds.expire(self._db, held.uuid, self._conf.held_expire)
                continue
            if days := int(held.for_s // _DAY_S):
                holds.remind(self._db, held.uuid, days, self._conf.held_expire)
            why = self._reason(held)
            passes = held.rule == Rule.BURST and held.for_s >= mass_failure.BURST_HOLD_S
            if why and holds.lift(self._db, held.uuid, held.rule, why, passes=passes):
                self._lifted()

    def _reason(self, held: Held) -> str | None:
        """Return why it goes on, or None."""
        match held.rule:
            case Rule.PAUSE:
                paused = pauses.of_segment(self._db, held.segment_uuid)
                return None if paused else "recoveries are not paused any more."
            case Rule.RESTARTS:
                return self._restarts(held)
            case Rule.OWN_HOST:
                elsewhere = held.host not in self._conf.own_hosts
                return f"this engine does not run on {held.host}." if elsewhere else None
            case Rule.BACKLOG:
                return "it is known which hosts Nova hears." if self._watch.known() else None
        if self._proofs.of(held.host_uuid, held.uuid) is not None:
            return f"it is proved that {held.host} is off."
        pulse = self._watch.pulse(held.host)
        if pulse is None or not self._watch.fresh() or not self._watch.known():
            return None
        return self._by_pulse(held, pulse)

    def _by_pulse(self, held: Held, pulse: Pulse) -> str | None:
        """The same for what waits for the heartbeat of its host."""
        silent = pulse.hearing is Hearing.SILENT
        if held.rule is Rule.PROOF and silent and not self._fencing.needs_proof(held.host):
            return f"Nova does not hear {held.host} any more."
        if silent and held.rule in _BY_DEVICES and (why := self._devices(held)):
            return why
        if held.rule is Rule.PROOF and moves.have_begun(self._db, held.uuid):
            return None
        well = self._watch.illness() is None and not self._watch.settling_s()
        if well and pulse.hearing is Hearing.HEARD:
            return f"Nova hears {held.host}."  # and nothing is evacuated
        match held.rule:
            case Rule.NOVA:
                return f"Nova does not hear {held.host}." if silent else None
            case Rule.BURST:
                over = held.for_s >= mass_failure.BURST_HOLD_S
                return f"held for {held.for_s:.0f} s." if over else None
            case Rule.MAJORITY:
                return self._majority(held, pulse.zone)
        return None

    def _devices(self, held: Held) -> str | None:
        """Ask the devices of a host again after a while, ever more seldom if that is refused."""
        again_s: float = self._conf.fencing.retry_interval
        if held.rule is not Rule.PROOF or gates.was_denied(self._db, held.uuid):
            again_s = min(max(again_s, held.total_s / 2), _SELDOM_S)
        if held.for_s < again_s or not self._fencing.levels(held.host):
            return None
        return f"the devices of {held.host} are asked again."

    def _majority(self, held: Held, zone: str) -> str | None:
        key = held.segment_uuid, zone
        if key not in self._below_s:
            self._census = self._census or census.take(self._db, seen_by(self._watch))
            self._below_s[key] = mass_failure.below_for_s(
                self._db,
                self._census.of(held.host, held.segment_uuid, ""),
                limits_of(self._conf),
            )
        below_s = self._below_s[key]
        if below_s is None or below_s < mass_failure.BELOW_S:
            return None
        return f"few enough hosts have been missing for {below_s:.0f} s."

    def _restarts(self, held: Held) -> str | None:
        options = self._conf.instance_failure
        instance_uuid = str(held.payload.get("instance_uuid"))
        found = restarts.of_instance(self._db, instance_uuid, options.restart_window)
        if options.max_restarts and found.count >= options.max_restarts:
            return None
        return f"{found.count} restarts within {options.restart_window} s."
