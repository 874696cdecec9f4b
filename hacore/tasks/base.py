# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a step is given: the recovery it belongs to, and the base class of ours."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from oslo_config import cfg
from taskflow import task

from hacore.clock import Clock
from hacore.db import recoveries
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.errors import RecoveryFailed
from hacore.nova import LATE_S, Guard, Instance, Nova
from hacore.states import StepState
from hacore.tasks.watching import Watcher

T = TypeVar("T")


class Evacuate(Protocol):
    """Evacuates the open moves of a recovery; see hacore.engine.evacuation."""

    def __call__(self, recovery: "Recovery", step: str, target: str | None) -> None:
        """Work until every open move has a verdict."""


class Recovery:
    """One attempt to act on a notification; what tasks get as ``context``.

    :ivar claim: the notification, its host and segment.
    :ivar conf: all options.
    :ivar nova: Nova, bound to this recovery: it refuses when the lease is lost.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        conf: cfg.ConfigOpts,
        db: Database,
        nova: Nova,
        clock: Clock,
        guard: Guard,
        evacuate: Evacuate,
        watcher: Watcher,
    ) -> None:
        self.claim = claim
        self.conf = conf
        self.db = db
        self.nova = nova
        self.clock = clock
        self.guard = guard
        self._evacuate = evacuate
        self._watcher = watcher

    @property
    def request_id(self) -> str | None:
        """Id of the REST request that brought the notification."""
        return self.claim.request_id

    def record(
        self,
        step: str,
        message: str | None = None,
        progress: float | None = None,
        state: StepState | None = None,
    ) -> None:
        """Add a line to the story that ``recovery_workflow_details`` tells."""
        recoveries.record(
            self.db, self.claim, step, state=state, progress=progress, message=message
        )

    def tell(self, message: str) -> None:
        """Add a line that belongs to no step."""
        recoveries.record(self.db, self.claim, None, message=message)

    def reached(self, step: str, state: StepState) -> bool:
        """Whether an engine that died had brought `step` to `state` in this attempt."""
        return recoveries.reached(self.db, self.claim, step, state)

    def outwait_earlier_claims(self) -> None:
        """Wait until nothing that an earlier claim has sent can reach Nova any more.

        It has sent nothing since this claim was taken.
        """
        late_s = LATE_S - max(0.0, recoveries.seconds_since_claim(self.db, self.claim))
        if late_s > 0:
            self.guard.wait(late_s)

    def look(self, uuid: str, host: str, after: float) -> Instance:
        """Return an instance as it was after `after`; see `hacore.tasks.watching.Watcher`."""
        return self._watcher.look(self.nova, uuid, host, after)

    def instances_on(self, host: str, age_s: float = 0.0) -> dict[str, Instance]:
        """Return all instances of `host` by uuid, as Nova showed them at most `age_s` ago."""
        return self._watcher.listing(self.nova, host, self.clock.monotonic() - age_s)

    def evacuate(self, step: str, target: str | None = None) -> None:
        """Evacuate the open moves, to the host `target` or where Nova chooses."""
        self._evacuate(self, step, target)

    def poll(self, probe: Callable[[], T | None], timeout_s: float) -> T | None:
        """Call `probe` every verify_interval until it returns something; None in the end.

        Time in which Nova did not answer is not counted: it is at least asked
        once more when it is back.
        """
        interval_s = self.conf.verify_interval
        deadline = self.clock.monotonic() + timeout_s
        while True:
            asked = self.clock.monotonic()
            result = probe()
            if result is not None:
                return result
            deadline += max(0.0, self.clock.monotonic() - asked - interval_s)
            remaining_s = deadline - self.clock.monotonic()
            if remaining_s <= 0:
                return None
            self.guard.wait(min(interval_s, remaining_s))


class Task(task.Task):
    """Base of hacore's own steps.

    A third-party step may use it too; any ``taskflow.task.Task`` is as good.
    """

    def __init__(self, context: Recovery, novaclient: Nova, **_kwargs: Any) -> None:
        super().__init__(name=type(self).__name__)
        self.context = context
        self.novaclient = novaclient

    def update_details(self, message: str, progress: float | None = None) -> None:
        """Tell what happens (Masakari's name for it).

        :param progress: of this step, 0 to 1.
        """
        self.context.record(self.name, message, progress)

    def wait_until(
        self, probe: Callable[[], T | None], timeout_s: float, otherwise: Callable[[], str]
    ) -> T:
        """Poll; raise RecoveryFailed with the sentence of `otherwise` after `timeout_s`."""
        result = self.context.poll(probe, timeout_s)
        if result is None:
            raise RecoveryFailed(otherwise())
        return result
