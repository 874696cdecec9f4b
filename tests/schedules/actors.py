# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The clock of the schedules: which of those that may go on does is drawn.

Actors are greenlets: thousands of them a second cost next to nothing.  They
switch only at `wait`, never within a transaction.
"""

import random
import threading
from collections.abc import Callable
from typing import Any

import greenlet

from tests.simulation import Killed, Simulation, _Actor

#: As good as for ever, in seconds.
EVER = 1e7


class Actors(Simulation):
    """A `Simulation` that draws who goes on, and whose engines can freeze."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._frozen: dict[str, float] = {}
        self._main = greenlet.getcurrent()

    # ------------------------------------------------------------ actors

    @property
    def current(self) -> _Actor | None:
        """Who runs; None: the driver itself."""
        return self._current

    def spawn(self, group: str, body: Callable[..., Any], *args: Any) -> None:
        """Run `body` as an actor, from the present moment on; it works on what its maker does."""
        super().spawn(group, body, *args)
        self._actors[-1].claim = getattr(self._current, "claim", None)

    def spawn_for(self, claim: tuple[str, int], group: str, body: Any, *args: Any) -> None:
        """Run `body` as an actor that works on `claim`: uuid of a notification, and attempt."""
        super().spawn(group, body, *args)
        self._actors[-1].claim = claim

    def freeze(self, group: str, seconds: float) -> None:
        """Stop all of `group` where they wait, as SIGSTOP does; they wake up later."""
        self._frozen[group] = self._now + seconds

    def check_alive(self) -> None:
        """Raise Killed in an actor that is dead: its last breath must touch nothing."""
        if self._current is not None and self._current.killed:
            raise Killed

    # ----------------------------------------------------------- running

    def _step(self) -> None:
        ready = [actor for actor in self._actors if self._may_go_on(actor)]
        if ready:
            self._resume(self._chance.choice(ready))
            return
        self._leap([self._next_moment(actor) for actor in self._actors])

    def _may_go_on(self, actor: _Actor) -> bool:
        frozen = self._frozen.get(actor.group, 0.0) > self._now and not actor.killed
        return not frozen and super()._may_go_on(actor)

    def _next_moment(self, actor: _Actor) -> float:
        wake_at = actor.wake_at
        if actor.event is not None and actor.event.is_set():
            wake_at = self._now
        return max(wake_at, self._frozen.get(actor.group, 0.0))

    def _resume(self, actor: _Actor) -> None:
        self._current = actor
        if actor.thread is None:
            actor.thread = greenlet.greenlet(lambda: self._body(actor), parent=self._main)
        actor.thread.switch()
        self._current = None
        if actor.ended:
            self._actors.remove(actor)
            if actor.error is not None:
                raise actor.error

    def _park(self, actor: _Actor) -> None:
        self._main.switch()
        if actor.killed:
            raise Killed


class Lock:
    """A lock that actors wait for in simulated time; for locks that are held during a call."""

    def __init__(self, clock: Actors) -> None:
        self._clock = clock
        self._free = threading.Event()
        self._free.set()

    def __enter__(self) -> None:
        while not self._free.is_set():
            self._clock.wait(self._free, EVER)
        self._free.clear()

    def __exit__(self, *_exc: object) -> None:
        self._free.set()


class _Future:
    """The part of `concurrent.futures.Future` that hacore uses."""

    def __init__(self, clock: Actors) -> None:
        self._clock = clock
        self._ended = threading.Event()
        self._result: Any = None
        self._exception: BaseException | None = None

    def run(self, body: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self._result = body(*args)
        except Exception as exc:
            self._exception = exc
        self._ended.set()

    def done(self) -> bool:
        return self._ended.is_set()

    def exception(self) -> BaseException | None:
        while not self.done():
            self._clock.wait(self._ended, EVER)
        return self._exception

    def result(self) -> Any:
        exception = self.exception()
        if exception is not None:
            raise exception
        return self._result


class Pool:
    """An executor whose threads are actors of the engine that submits."""

    def __init__(self, clock: Actors, group: str) -> None:
        self._clock = clock
        self._group = group

    def submit(self, body: Callable[..., Any], /, *args: Any) -> _Future:
        future = _Future(self._clock)
        self._clock.spawn(self._group, future.run, body, args)
        return future
