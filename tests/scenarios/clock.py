# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The world's clock, engines that freeze, and machines whose clocks are wrong."""

import datetime
import threading

from tests.simulation import Killed, Simulation, _Actor


class WorldClock(Simulation):
    """A `Simulation` in which a group of actors can be stopped for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._frozen: dict[str, float] = {}

    @property
    def group(self) -> str | None:
        """Whose actor runs; None: the world itself."""
        return self._current.group if self._current is not None else None

    def freeze(self, group: str, seconds: float) -> None:
        """Let none of `group` go on for so long, as SIGSTOP does; it may be who calls this."""
        self._frozen[group] = self._now + seconds
        if self.group == group:
            self.pass_time(0)

    def kill(self, group: str) -> None:
        super().kill(group)
        self.check_alive()

    def check_alive(self) -> None:
        """Raise Killed in an actor that is dead, so that its last breath touches nothing."""
        if self._current is not None and self._current.killed:
            raise Killed

    def _step(self) -> None:
        ready = next((actor for actor in self._actors if self._may_go_on(actor)), None)
        if ready is not None:
            self._resume(ready)
        else:
            self._leap([self._moment(actor) for actor in self._actors])

    def _may_go_on(self, actor: _Actor) -> bool:
        frozen = self._frozen.get(actor.group, 0.0) > self._now
        return actor.killed or (not frozen and super()._may_go_on(actor))

    def _moment(self, actor: _Actor) -> float:
        woken = actor.event is not None and actor.event.is_set()
        wake_at = self._now if woken else actor.wake_at
        return max(wake_at, self._frozen.get(actor.group, 0.0))


class MachineClock:
    """What one machine shows: the world's time, and `off_s` more on its wall clock."""

    def __init__(self, world: WorldClock) -> None:
        self._world = world
        self.off_s = 0.0

    def now(self) -> datetime.datetime:
        return self._world.now() + datetime.timedelta(seconds=self.off_s)

    def monotonic(self) -> float:
        return self._world.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return self._world.wait(event, timeout_s)
