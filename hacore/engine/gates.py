# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The gates of a recovery: is this what it seems, and is it safe to go on?  See doc/safety.md.

Each gate that is asked records its answer where that changes.  One that finds it unsafe raises
RecoveryHeld.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hacore.db import gates, holds, mass_failure, moves, pauses, proofs, restarts
from hacore.db.mass_failure import Limits
from hacore.db.proofs import Given
from hacore.engine import together
from hacore.errors import DatabaseBusy, DatabaseUnavailable, HostHeard, RecoveryError
from hacore.nova import Service
from hacore.nova.heartbeats import Pulse
from hacore.states import (
    SILENT_AFTER,
    Answer,
    Gate,
    Hearing,
    NotificationType,
    ProofKind,
    Rule,
)

if TYPE_CHECKING:  # they make one
    from hacore.engine.context import RecoveryContext
    from hacore.engine.fencing import HostFencing

LOG = logging.getLogger(__name__)

#: How many names a sentence repeats.
_NAMED = 5
#: Seconds from when evacuations may begin to the first call; a later one is asked for again.
_FIRST_CALL_S = 5.0
#: Seconds to wait before the first, second, ... restart of an instance within restart_window.
_PAUSES_S = (0.0, 10.0, 30.0, 60.0, 120.0)


class RecoveryHeld(RecoveryError):
    """It is not safe to go on, and the recovery waits.

    :param message: why, and when it goes on.
    """

    def __init__(self, gate: Gate, rule: Rule, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.gate, self.rule, self.facts = gate, rule, facts


class Gates:
    """The gates of one claim."""

    def __init__(self, context: "RecoveryContext") -> None:
        self._context = context
        self._watch = context.engine.watch
        self._claim = context.claim
        #: When evacuations were let begin, by the monotonic clock, and whether one has.
        self._begun_at: float | None = None
        self._called = False
        self._passed_at: float | None = None  #: when Nova had not heard the host

    # --------------------------------------------------------------- host

    def before_all(self) -> None:
        """Ask before anything is written for a failed host."""
        self.pause()
        self._own_host()
        proof = self.proof()
        if proof is None or proof.kind is not ProofKind.OPERATOR:  # whose word stands for silence
            self._nova()
        if proof is not None:
            return
        self._backlog()
        pulse = self._watch.pulse(self._claim.host_name)
        if pulse is not None and pulse.hearing is Hearing.HEARD:
            return  # it will not be evacuated
        try:
            self._limits(begins=False)
        except RecoveryHeld:
            if not self._context.fencing.shows_off():
                raise  # else it is asked again if the host has to be switched off after all

    def before_evacuating(self) -> None:
        """Ask before the first instance of the host is touched."""
        self.pause()
        self._context.fencing.confirm()
        if self.proof() is None:
            if self._needs_proof():
                raise self._unproved()
            self._limits(begins=True)
        self._begun_at = self._context.clock.monotonic()

    def before_call(self) -> None:
        """Ask before an evacuate call is sent, whoever makes it: a step may be anybody's."""
        if self._claim.type != NotificationType.COMPUTE_HOST:
            return
        if not self._called and self._is_stale():
            self.before_evacuating()
        self._context.fencing.keep_confirmed()  # a step may make many calls, one after the other
        self.before_move()
        self._called = True

    def _is_stale(self) -> bool:
        """Whether it was long ago that evacuations were let begin, or they were not."""
        begun_at = self._begun_at
        return begun_at is None or self._context.clock.monotonic() - begun_at > _FIRST_CALL_S

    def before_move(self) -> None:
        """Ask before an instance is touched, and before each evacuate call is sent.

        Once Nova has not heard the host, only that it hears it again holds the recovery.
        """
        self.pause()
        host = self._claim.host_name
        timeout_s = self._context.conf.wait_period_after_service_update
        self._context.poll(lambda: self._is_known(host) or None, timeout_s)
        pulse = self._watch.pulse(host)
        if (not self._stays_silent(pulse) or self._needs_proof()) and self.proof() is None:
            raise self._not_to_be_moved(pulse)
        self._passed_at = self._context.clock.monotonic()

    def _is_known(self, host: str) -> bool:
        """Whether enough was seen of the host to decide; an operator may have to do without."""
        pulse = self._watch.pulse(host)
        if pulse is not None and pulse.hearing is Hearing.UNKNOWN:
            return self.proof() is not None
        seen = pulse is None or not pulse.moved_unseen
        return (seen and self._watch.fresh()) or self._approved(Rule.NOVA)

    def _stays_silent(self, pulse: Pulse | None) -> bool:
        """Whether Nova does not hear the host; one that was silent need not be so again."""
        if self._is_silent(pulse):
            return True
        if self._passed_at is None or pulse is None or pulse.hearing is not Hearing.SUSPECT:
            return False
        # somebody's PUT may hide the heartbeat of a host that has been heard since
        heard = self._watch.heard_since(self._claim.host_name, self._passed_at)
        return not (pulse.moved_unseen or heard) and self._watch.fresh()

    def _not_to_be_moved(self, pulse: Pulse | None) -> RecoveryHeld:
        if pulse is not None and pulse.hearing is Hearing.HEARD:
            return self._heard_again(pulse)
        if self._needs_proof():
            return self._unproved()
        return self._held(
            Gate.LIVENESS,
            Rule.NOVA,
            f"whether Nova hears {self._claim.host_name} is not known at the moment; goes on when "
            "it is, or when an operator approves it.",
            _facts(pulse),
        )

    def _heard_again(self, pulse: Pulse) -> RecoveryHeld:
        holds.lapse(self._context.db, self._claim)
        return self._held(
            Gate.LIVENESS,
            Rule.PROOF,
            f"Nova hears {pulse.host} again (heartbeat {_age(pulse)} ago) after its evacuation has "
            "begun; goes on when it is not heard any more: switch it off, or abandon this "
            "recovery.",
            _facts(pulse),
        )

    # -------------------------------------------------------------- proof

    def proof(self) -> Given | None:
        """Return a proof that the host is off; None: there is none that stands."""
        return self._context.engine.proofs.of(self._claim.host_uuid, self._claim.uuid)

    def written(self, service: Service) -> None:
        """Note the heartbeat that Nova shows after a PUT of this recovery: it is that PUT's.

        An engine that goes on from here sees by it that the host was not heard since.
        """
        if (proof := self.proof()) is not None:
            proofs.note_beat(self._context.db, proof, service.beat)

    def proof_as_known(self) -> Given | None:
        """Return the same while something is waited for, which goes on without the database."""
        try:
            return self.proof()
        except DatabaseUnavailable:  # asked again a moment later
            return None

    def proved_by_step(self) -> None:
        """Note that a step of this recovery has proved that the host is off."""
        if self.proof() is None:
            pulse = self._watch.pulse(self._claim.host_name)
            proofs.of_step(self._context.db, self._claim, pulse.beat if pulse else None)

    def _needs_proof(self) -> bool:
        return self._context.engine.fencing.needs_proof(self._claim.host_name)

    def _unproved(self) -> RecoveryHeld:
        host = self._claim.host_name
        if (void := proofs.voided(self._context.db, self._claim)) is not None:
            return self._switched_on(void)
        return self._held(
            Gate.PROOF,
            Rule.PROOF,
            f"nothing proves that {host} is off, and [fencing] require_proof wants a proof; goes "
            "on when it is proved: see to it that it is off, then run 'hacore-manage host "
            f"confirm-off {host}'.",
            _facts(self._watch.pulse(host)),
        )

    def _switched_on(self, void: Given) -> RecoveryHeld:
        """Return what holds a recovery whose host was proved off, and is on: not by mistake."""
        host = self._claim.host_name
        return self._held(
            Gate.POWER,
            Rule.PROOF,
            f"{host} was switched on again: {(void.void_reason or '').rstrip('.')}, and it was off "
            f"at {void.at:%Y-%m-%d %H:%M} UTC; goes on when you switch it off, hacore does not do "
            "it twice. Or abandon this recovery, and bring the host back: 'hacore-manage host "
            f"return {host}'.",
            {"void_at": void.void_at.isoformat() if void.void_at else None},
        )

    def not_proved(self, sentences: Sequence[str], *, denied: bool) -> RecoveryHeld:
        """Return what holds a recovery whose host its devices do not prove off.

        :param sentences: one for each level.
        :param denied: a device has refused the login, and may lock out who tries again soon.
        """
        host = self._claim.host_name
        return self._held(
            Gate.PROOF,
            Rule.PROOF,
            f"nothing proves that {host} is off: {' '.join(sentences)} Its devices are asked "
            "again; goes on when one proves it, or when you do: see to it that it is off, then run "
            f"'hacore-manage host confirm-off {host}'.",
            {"denied": denied},
        )

    def before_order(self, fencing: "HostFencing") -> None:
        """Ask before a device is ordered to switch the host off."""
        self.pause()
        if (void := proofs.voided(self._context.db, self._claim)) is not None:
            raise self._switched_on(void)
        host, options = self._claim.host_name, self._context.conf.fencing
        timeout_s = self._context.conf.wait_period_after_service_update
        quiet = self._context.poll(lambda: self._is_quiet(host, options) or None, timeout_s)
        if quiet is None:
            raise self.not_silent(host, timeout_s)
        self._together(fencing)
        self._limits(begins=True)
        if not self._is_quiet(host, options):  # that took a while
            raise self.not_silent(host, timeout_s)

    def _is_quiet(self, host: str, options: Any) -> bool:
        """Whether Nova has not heard the host for long enough to switch it off."""
        pulse = self._watch.pulse(host)
        old = pulse is not None and (pulse.age_s or 0.0) >= options.least_silence
        return old and self._is_silent(pulse)

    def _together(self, fencing: "HostFencing") -> None:
        """Hold where hosts fell silent together and are on: a switch has failed, and not they."""
        host = self._claim.host_name
        self._context.poll(
            lambda: None if together.suspects(self._watch, host) >= together.HOSTS - 1 else True,
            SILENT_AFTER * self._watch.interval_s,
        )
        others = together.fell_silent_with(self._watch, host)
        if len(others) < together.HOSTS - 1 or self._approved(Rule.TOGETHER):
            return
        if fencing.are_on(others, together.HOSTS - 1):
            raise self._held(
                Gate.LIMITS,
                Rule.TOGETHER,
                f"{len(others) + 1} hosts fell silent within {together.WITHIN_S:g} s ({host}, "
                f"{', '.join(others[:_NAMED])}), and their devices do not say that they are "
                f"off: this may be a failed switch and not failed hosts; goes on when a device "
                f"of {host} says off, when Nova hears it, or when an operator approves it.",
                {"hosts": [host, *others]},
            )

    # ----------------------------------------------------------- liveness

    def is_silent(self, host: str) -> bool:
        """Whether Nova does not hear the host, or it is proved off, or an operator says so."""
        return self._is_silent(self._watch.pulse(host)) or self.proof_as_known() is not None

    def _is_silent(self, pulse: Pulse | None) -> bool:
        if pulse is None:
            return False
        if pulse.hearing is Hearing.SILENT and self._watch.fresh():
            return True
        # an operator's word stands for the rest of the silence: not against what is heard, nor
        # where this engine has not looked for long enough to hear it
        return pulse.hearing is Hearing.SUSPECT and self._approved(Rule.NOVA)

    def passed_liveness(self, host: str) -> None:
        """Record that Nova does not hear the host."""
        self._passed_at = self._context.clock.monotonic()
        pulse, proof = self._watch.pulse(host), self.proof()
        if proof is None:
            gate, text = Gate.LIVENESS, f"Nova has not heard {host} for {_age(pulse)}."
        else:
            gate, text = Gate.PROOF, proof.sentence
        gates.record(self._context.db, self._claim, gate, Answer.GO, _facts(pulse), text)

    def not_silent(self, host: str, waited_s: float) -> Exception:
        """Return what ends a claim whose host has not become silent.

        HostHeard where Nova hears it, RecoveryHeld where that is not known.
        """
        pulse = self._watch.pulse(host)
        facts = _facts(pulse)
        if pulse is not None and pulse.hearing is Hearing.HEARD:
            if moves.have_begun(self._context.db, self._claim.uuid):
                return self._heard_again(pulse)
            text = f"Nova hears {host}: its last heartbeat is {_age(pulse)} old."
            gates.record(self._context.db, self._claim, Gate.LIVENESS, Answer.STOP, facts, text)
            holds.lapse(self._context.db, self._claim)
            return HostHeard(f"{text} Nothing was evacuated.")
        illness = self._watch.illness()
        why = f" ({illness.culprit})" if illness else ""
        return self._held(
            Gate.LIVENESS,
            Rule.NOVA,
            f"for {waited_s:g} s it has not been known whether Nova hears {host}{why}; goes on "
            "when it is known, or when an operator approves it.",
            facts,
        )

    def _own_host(self) -> None:
        """Hold what only an engine on the host itself could recover: it would switch itself off."""
        host = self._claim.host_name
        if host in self._context.conf.own_hosts:
            raise self._held(
                Gate.LIVENESS,
                Rule.OWN_HOST,
                f"the only engine that is alive runs on {host} itself ([DEFAULT] own_hosts); goes "
                "on when an engine elsewhere is.",
                {"own_hosts": list(self._context.conf.own_hosts)},
            )

    def _backlog(self) -> None:
        if self._watch.known() or not self._watch.after_absence:
            return
        raise self._held(
            Gate.LIMITS,
            Rule.BACKLOG,
            "no engine ran for a while, and which hosts Nova hears is not known yet; goes on when "
            "it is.",
            {},
        )

    def _nova(self) -> None:
        illness = self._watch.illness()
        pulse = self._watch.pulse(self._claim.host_name)
        if illness is None or (pulse is not None and pulse.hearing is Hearing.SILENT):
            return  # who is silent was so well before
        if self._approved(Rule.NOVA):
            return
        raise self._held(
            Gate.LIVENESS,
            Rule.NOVA,
            f"Nova is ill, for {illness.age_s:.0f} s ({illness.culprit}), and whether it hears "
            f"{self._claim.host_name} is not known; goes on when Nova is well, or when an operator "
            "approves it.",
            {"illness": str(illness.culprit), **_facts(pulse)},
        )

    def _limits(self, *, begins: bool) -> None:
        while (decision := self._ask(begins=begins)) is None:
            self._context.guard.wait(self._watch.pause_s())
        if decision.rule is not None:
            raise self._held(Gate.LIMITS, decision.rule, decision.message, decision.facts)

    def _ask(self, *, begins: bool) -> mass_failure.Decision | None:
        """Ask the limits; None: another engine, which may be frozen, has their row locked."""
        claim, limits = self._claim, limits_of(self._context.conf)
        taken = self._context.engine.census.take()
        counts = taken.of(claim.host_name, claim.segment_uuid, claim.segment_name)
        try:
            return mass_failure.ask(self._context.db, claim, counts, limits, begins=begins)
        except DatabaseBusy as exc:
            LOG.info("notification %s: mass-failure limits: %s", self._claim.uuid, exc)
            return None

    # ---------------------------------------------------------------- all

    def pause(self) -> None:
        """Ask whether a person has paused recoveries."""
        found = pauses.of_segment(self._context.db, self._claim.segment_uuid)
        if found is None:
            return
        what = "all recoveries" if found.scope == pauses.ALL else "recoveries of this segment"
        until = f"at {found.until:%Y-%m-%d %H:%M} UTC" if found.until else "when it is resumed"
        raise self._held(
            Gate.PAUSE,
            Rule.PAUSE,
            f"{found.by} has paused {what}: {found.reason.rstrip('.')}; goes on {until}.",
            {"scope": found.scope, "by": found.by, "reason": found.reason},
        )

    def restarts(self, instance_uuid: str) -> None:
        """Ask before an instance is stopped and started; wait where it has just been."""
        options = self._context.conf.instance_failure
        if options.max_restarts == 0:
            return
        window_s = options.restart_window
        found = restarts.of_instance(self._context.db, instance_uuid, window_s)
        facts = {"restarts": found.count, "max_restarts": options.max_restarts}
        if found.count >= options.max_restarts and not self._approved(Rule.RESTARTS):
            raise self._held(
                Gate.RESTARTS,
                Rule.RESTARTS,
                f"instance {instance_uuid} was restarted {found.count} times within {window_s} s; "
                "goes on when that is fewer, or when an operator approves it.",
                facts,
            )
        pause_s = _PAUSES_S[min(found.count, len(_PAUSES_S) - 1)]
        if found.last_s is not None and found.last_s < pause_s:
            self._context.guard.wait(pause_s - found.last_s)

    def _approved(self, rule: Rule) -> bool:
        return holds.is_approved(self._context.db, self._claim, rule)

    def _held(self, gate: Gate, rule: Rule, message: str, facts: dict[str, Any]) -> RecoveryHeld:
        return RecoveryHeld(gate, rule, message, facts)


def limits_of(conf: Any) -> Limits:
    """Return the options of [mass_failure]."""
    options = conf.mass_failure
    return Limits(options.max_share, options.min_hosts, options.burst_hosts, options.burst_share)


def _age(pulse: Pulse | None) -> str:
    if pulse is None or pulse.age_s is None:
        return "an unknown time"
    return f"{pulse.age_s:.0f} s"


def _facts(pulse: Pulse | None) -> dict[str, Any]:
    if pulse is None:
        return {"hearing": Hearing.UNKNOWN}
    return {
        "hearing": pulse.hearing,
        "age_s": None if pulse.age_s is None else round(pulse.age_s, 1),
        "down": pulse.down,
    }
