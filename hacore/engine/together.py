# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which hosts fell silent together: a switch that fails takes many at once, and they live."""

from hacore.engine.watch import Watch
from hacore.states import Hearing

#: So many hosts that fell silent within so many seconds, and are on, are behind a failed switch.
HOSTS, WITHIN_S = 3, 30.0


def suspects(watch: Watch, host: str) -> int:
    """Return how many other hosts are suspect, and neither silent yet nor heard again."""
    return sum(pulse.hearing is Hearing.SUSPECT and pulse.host != host for pulse in watch.pulses())


def fell_silent_with(watch: Watch, host: str) -> list[str]:
    """Return the other hosts whose last heartbeats came at about the same time."""
    mine = watch.pulse(host)
    if mine is None or mine.age_s is None:
        return []
    return [
        pulse.host
        for pulse in watch.pulses()
        if pulse.host != host
        and pulse.hearing in (Hearing.SUSPECT, Hearing.SILENT)
        and pulse.age_s is not None
        and abs(pulse.age_s - mine.age_s) <= WITHIN_S
    ]
