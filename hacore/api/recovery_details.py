# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``recovery_workflow_details``: the steps of a recovery in Masakari's form."""

from collections.abc import Iterable
from typing import Any

from hacore.db import history
from hacore.db.history import StepRun
from hacore.db.models import HistoryEntry


def serialize(entries: Iterable[HistoryEntry]) -> list[dict[str, Any]]:
    """Return the steps in the order in which they first ran, each as it ran last."""
    newest = {run.step: run for run in history.step_runs(entries)}
    return [_step(run) for run in newest.values()]


def _step(run: StepRun) -> dict[str, Any]:
    progress = 0.0
    details = []
    for entry in run.entries:
        progress = progress if entry.progress is None else entry.progress
        if entry.message is not None:
            details.append(
                {
                    "timestamp": entry.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
                    "message": entry.message,
                    "progress": str(progress),  # Masakari's clients expect a string here
                }
            )
    return {
        "name": run.step,
        "state": run.state,
        "progress": progress,
        "progress_details": details,
    }
