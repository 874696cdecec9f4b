# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A world in which hours pass in milliseconds, the same way every time.

`Simulation` is the clock.  The threads of the engines under test are its
actors: one runs at a time, until it waits; then the next one that may go on
does, or time leaps to the moment when one may.
"""

import datetime
import heapq
import threading
from collections.abc import Callable
from typing import Any

# Tokens of a simulated Keystone expire by this clock, and keystoneauth
# compares with the real one: it must be ahead.
START = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)


class Killed(BaseException):
    """Ends an actor as kill -9 does: no handler of ours catches it."""


class _Actor:
    def __init__(self, group: str, body: Callable[[], None], now: float) -> None:
        self.group = group
        self.wake_at = now
        self.event: threading.Event | None = None
        self.baton = threading.Semaphore(0)
        self.killed = False
        self.ended = False
        self.error: BaseException | None = None
        self.body = body
        self.thread: threading.Thread | None = None


class Simulation:
    """A `hacore.clock.Clock` that decides who runs."""

    def __init__(self) -> None:
        self._now = 0.0
        self._actors: list[_Actor] = []
        self._baton = threading.Semaphore(0)
        self._current: _Actor | None = None
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    # ------------------------------------------------------------- clock

    def now(self) -> datetime.datetime:
        return START + datetime.timedelta(seconds=self._now)

    def monotonic(self) -> float:
        return self._now

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        actor = self._current
        if actor is None:  # the test itself
            self._now += max(0.0, timeout_s)
            return event.is_set()
        actor.wake_at, actor.event = self._now + max(0.0, timeout_s), event
        self._park(actor)
        return event.is_set()

    def pass_time(self, seconds: float) -> None:
        """Let time pass for whoever runs, as a slow answer does."""
        self.wait(threading.Event(), seconds)

    # ------------------------------------------------------------ actors

    def spawn(self, group: str, body: Callable[..., Any], *args: Any) -> None:
        """Run `body` as an actor, from the present moment on."""
        self._actors.append(_Actor(group, lambda: body(*args), self._now))

    def at(self, when: float, action: Callable[[], Any]) -> None:
        """Do `action` at the moment `when`, between two actors."""
        self._planned += 1  # so that plans for one moment happen in the order they were made
        heapq.heappush(self._plans, (when, self._planned, action))

    def kill(self, group: str) -> None:
        """End all actors of `group` where they wait."""
        for actor in self._actors:
            if actor.group == group:
                actor.killed = True

    def run(self, until: Callable[[], bool], limit_s: float = 3600.0) -> None:
        """Let the world go on until `until` holds; fail after `limit_s` of its time."""
        end = self._now + limit_s
        while not until():
            assert self._now < end, f"not so within {limit_s:g} simulated seconds"
            self._step()

    def close(self) -> None:
        """End all actors."""
        for actor in self._actors:
            actor.killed = True
        while self._actors:
            self._step()

    def _step(self) -> None:
        ready = next((actor for actor in self._actors if self._may_go_on(actor)), None)
        if ready is not None:
            self._resume(ready)
            return
        self._leap([actor.wake_at for actor in self._actors])

    def _leap(self, moments: list[float]) -> None:
        """Go to the first of `moments`, or of the plans, and do what is planned for then."""
        if self._plans:
            moments.append(self._plans[0][0])
        assert moments, "nothing will ever happen any more"
        self._now = max(self._now, min(moments))
        while self._plans and self._plans[0][0] <= self._now:
            heapq.heappop(self._plans)[2]()

    def _may_go_on(self, actor: _Actor) -> bool:
        event_set = actor.event is not None and actor.event.is_set()
        return actor.killed or event_set or actor.wake_at <= self._now

    def _resume(self, actor: _Actor) -> None:
        # the next one comes first next time: nobody starves
        self._actors.remove(actor)
        self._actors.append(actor)
        self._current = actor
        if actor.thread is None:
            actor.thread = threading.Thread(target=self._body, args=(actor,), daemon=True)
            actor.thread.start()
        else:
            actor.baton.release()
        self._baton.acquire()
        self._current = None
        if actor.ended:
            actor.thread.join()
            self._actors.remove(actor)
            if actor.error is not None:
                raise actor.error

    def _body(self, actor: _Actor) -> None:
        try:
            if not actor.killed:
                actor.body()
        except Killed:
            pass
        except BaseException as exc:
            actor.error = exc
        finally:
            actor.ended = True
            self._baton.release()

    def _park(self, actor: _Actor) -> None:
        self._baton.release()
        actor.baton.acquire()
        if actor.killed:
            raise Killed
