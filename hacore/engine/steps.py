# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Records how the steps of a flow go, as taskflow reports it."""

from collections.abc import Callable
from typing import Any

from taskflow import engines
from taskflow import exceptions as taskflow_exc
from taskflow import states as taskflow_states
from taskflow import task as taskflow_task
from taskflow.patterns import linear_flow
from taskflow.types import failure as taskflow_failure
from taskflow.types import notifier

from hacore import metrics
from hacore.engine.context import Context
from hacore.engine.flows import tasks_of
from hacore.errors import (
    DatabaseUnavailable,
    HacoreError,
    Interrupted,
    OperationWaits,
    RecoveryIgnored,
    RecoverySkipped,
)
from hacore.states import StepState

#: taskflow's states of an atom that are recorded, as ours.
_RECORDED = {
    taskflow_states.RUNNING: StepState.RUNNING,
    taskflow_states.SUCCESS: StepState.SUCCESS,
    taskflow_states.FAILURE: StepState.FAILURE,
    taskflow_states.REVERTED: StepState.REVERTED,
    taskflow_states.REVERT_FAILURE: StepState.REVERT_FAILURE,
}

_UNDONE = frozenset({StepState.REVERTED, StepState.REVERT_FAILURE})


#: Raised by a step, these suspend the flow: nothing is undone.
_NO_FAILURES = (Interrupted, DatabaseUnavailable, OperationWaits)


def run(flow: linear_flow.Flow, context: Context, store: dict[str, Any]) -> None:
    """Run a flow to its end.  Raises what a step raised, or Interrupted."""
    engine = engines.load(flow, engine="serial", store=store)
    steps = Steps(context, engine, list(tasks_of(flow)))
    try:
        engine.run()
    except taskflow_exc.WrappedFailure as exc:
        # several steps failed, one after the other: the last one ended it
        raise steps.failure or exc from exc
    if steps.interrupted is not None:
        raise steps.interrupted


class Steps:
    """Listens to an engine of taskflow, and stops it where nothing can be recorded.

    A step that was interrupted has not failed: the flow is suspended then, so
    that taskflow does not revert what was done.

    :param tasks: of the flow.
    :ivar interrupted: why the flow was suspended, if it was.
    :ivar failure: what the last step raised that failed.
    """

    def __init__(self, context: Context, engine: Any, tasks: list[Any]) -> None:
        self._context = context
        self._engine = engine
        self._undoable = {task.name for task in tasks if _reverts(task)}
        self._begun = 0.0
        self.interrupted: HacoreError | None = None
        self.failure: Exception | None = None
        engine.atom_notifier.register(notifier.Notifier.ANY, self._changed)
        for task in tasks:
            self._block_if_interrupted(task)
            if not getattr(task, "records_progress", False):
                task.notifier.register(taskflow_task.EVENT_UPDATE_PROGRESS, self._progress(task))

    def _changed(self, state: str, details: dict[str, Any]) -> None:
        """An atom of the flow is in `state` now."""
        recorded = _RECORDED.get(state)
        if recorded is None or self.interrupted is not None:
            return
        result = details.get("result")
        message = None
        if isinstance(result, taskflow_failure.Failure):
            if isinstance(result.exception, _NO_FAILURES):
                self._interrupt(result.exception)
                return
            message, self.failure = result.exception_str, result.exception
            if isinstance(self.failure, RecoverySkipped | RecoveryIgnored):
                recorded = StepState.SUCCESS  # it has found that there is nothing to do
        progress = 1.0 if recorded == StepState.SUCCESS else None
        try:
            # a retry has nothing to record, nor has a revert that reverts nothing
            name = details.get("task_name")
            if name is not None and (recorded not in _UNDONE or name in self._undoable):
                self._measure(name, recorded)
                self._context.record(name, message, progress, recorded)
        except (Interrupted, DatabaseUnavailable) as exc:  # taskflow swallows what it calls raises
            self._interrupt(exc)

    def _measure(self, step: str, state: StepState) -> None:
        now = self._context.clock.monotonic()
        if state == StepState.RUNNING:
            self._begun = now
        elif state not in _UNDONE:
            metrics.STEP_SECONDS.labels(step, state).observe(now - self._begun)

    def _interrupt(self, why: HacoreError) -> None:
        self.interrupted = why
        self._engine.suspend()

    def _block_if_interrupted(self, task: Any) -> None:
        """Keep `task` from running where its beginning could not be recorded.

        A suspended flow still runs the task that is next.
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
            self._context.record(task.name, None, float(details["progress"]))

        return changed


def _reverts(task: taskflow_task.Task) -> bool:
    """Whether the task has something to undo."""
    return type(task).revert is not taskflow_task.Task.revert
