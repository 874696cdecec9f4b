# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The base class of hacore's own tasks."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from taskflow import task

from hacore.db import recoveries
from hacore.engine.context import Context, OperationContext, RecoveryContext
from hacore.errors import RecoveryFailed
from hacore.nova import Nova, Service

T = TypeVar("T")
C = TypeVar("C", bound=Context)


class _Task(task.Task, Generic[C]):
    """What tasks of recoveries and of operations have in common."""

    #: The engine need not record what taskflow reports of its progress: see `update_details`.
    records_progress = True

    def __init__(self, context: C, novaclient: Nova, **_kwargs: Any) -> None:
        super().__init__(name=type(self).__name__)
        self.context = context
        self.novaclient = novaclient

    def update_details(self, message: str, progress: float | None = None) -> None:
        """Record what happens in the history (Masakari's name for it).

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


class Task(_Task[RecoveryContext]):
    """Base of hacore's own tasks of recoveries.

    A third-party task may use it too; any ``taskflow.task.Task`` is as good.
    """


class OperationTask(_Task[OperationContext]):
    """Base of tasks of operations."""


class ComputeServiceTask(Task):
    """Base of tasks that change the compute service of the host."""

    def compute_service(self, host_name: str) -> Service:
        """Read it.  Raises RecoveryFailed when Nova has none."""
        service = self.novaclient.service(host_name)
        if service is None:  # a wrong name, and not a host to be kept off maintenance
            recoveries.end_maintenance(self.context.db, self.context.claim)
            raise RecoveryFailed(f"Nova has no nova-compute service on host {host_name}.")
        return service
