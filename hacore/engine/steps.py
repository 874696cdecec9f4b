# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How the steps of a flow go: what taskflow tells of them is written down."""

from collections.abc import Callable
from typing import Any

from taskflow import states as taskflow_states
from taskflow import task as taskflow_task
from taskflow.types import failure as taskflow_failure
from taskflow.types import notifier

from hacore import metrics
from hacore.errors import (
    DatabaseUnavailable,
    HacoreError,
    Interrupted,
    RecoveryIgnored,
    RecoverySkipped,
)
from hacore.states import StepState
from hacore.tasks.base import Recovery, Task

#: taskflow's states of an atom that are told, as ours.
_TOLD = {
    taskflow_states.RUNNING: StepState.RUNNING,
    taskflow_states.SUCCESS: StepState.SUCCESS,
    taskflow_states.FAILURE: StepState.FAILURE,
    taskflow_states.REVERTED: StepState.REVERTED,
    taskflow_states.REVERT_FAILURE: StepState.REVERT_FAILURE,
}

_UNDONE = frozenset({StepState.REVERTED, StepState.REVERT_FAILURE})


class Steps:
    """Listens to an engine of taskflow, and stops it where nothing can be written down.

    A step that was interrupted has not failed: the flow is suspended then, so
    that taskflow does not revert what was done.

    :param tasks: of the flow.
    :ivar interrupted: why the flow was suspended, if it was.
    :ivar failure: what the last step raised that failed.
    """

    def __init__(self, recovery: Recovery, engine: Any, tasks: list[Any]) -> None:
        self._recovery = recovery
        self._engine = engine
        self._undoable = {task.name for task in tasks if _reverts(task)}
        self._begun = 0.0
        self.interrupted: HacoreError | None = None
        self.failure: Exception | None = None
        engine.atom_notifier.register(notifier.Notifier.ANY, self._changed)
        for task in tasks:
            self._hold(task)
            if not isinstance(task, Task):  # ours tell by themselves
                task.notifier.register(taskflow_task.EVENT_UPDATE_PROGRESS, self._progress(task))

    def _changed(self, state: str, details: dict[str, Any]) -> None:
        """An atom of the flow is in `state` now."""
        told = _TOLD.get(state)
        if told is None or self.interrupted is not None:
            return
        result = details.get("result")
        message = None
        if isinstance(result, taskflow_failure.Failure):
            if isinstance(result.exception, Interrupted | DatabaseUnavailable):
                self._interrupt(result.exception)
                return
            message, self.failure = result.exception_str, result.exception
            if isinstance(self.failure, RecoverySkipped | RecoveryIgnored):
                told = StepState.SUCCESS  # it has found out that there is nothing to do
        progress = 1.0 if told == StepState.SUCCESS else None
        try:
            # of a retry there is nothing to tell, nor of an undoing that undoes nothing
            name = details.get("task_name")
            if name is not None and (told not in _UNDONE or name in self._undoable):
                self._measure(name, told)
                self._recovery.record(name, message, progress, told)
        except (Interrupted, DatabaseUnavailable) as exc:  # taskflow swallows what it calls raises
            self._interrupt(exc)

    def _measure(self, step: str, state: StepState) -> None:
        now = self._recovery.clock.monotonic()
        if state == StepState.RUNNING:
            self._begun = now
        elif state not in _UNDONE:
            metrics.STEP_SECONDS.labels(step, state).observe(now - self._begun)

    def _interrupt(self, why: HacoreError) -> None:
        self.interrupted = why
        self._engine.suspend()

    def _hold(self, task: Any) -> None:
        """Keep `task` from being done where it could not be noted that it begins.

        A suspended flow still does the step that is next.
        """
        pre_execute = task.pre_execute

        def check() -> None:
            if self.interrupted is not None:
                raise self.interrupted
            pre_execute()

        task.pre_execute = check

    def _progress(self, task: Any) -> Callable[[str, dict[str, Any]], None]:
        """Return what to call when `task` updates its progress."""

        def changed(_event: str, details: dict[str, Any]) -> None:
            self._recovery.record(task.name, None, float(details["progress"]))

        return changed


def _reverts(task: taskflow_task.Task) -> bool:
    """Whether the task has something to undo."""
    return type(task).revert is not taskflow_task.Task.revert
