# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Figures at the end of a run, and logs of a test that failed."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.e2e.deployment import Deployment

_FIGURES = pytest.StashKey[list[str]]()
DEPLOYMENT = pytest.StashKey[Deployment]()


class Figures:
    """Lines to be printed when all tests have run."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._test = request.node.name
        self._lines = request.config.stash.setdefault(_FIGURES, [])

    def add(self, text: str) -> None:
        self._lines.append(f"{self._test}: {text}")


def print_figures(terminal: Any, config: pytest.Config) -> None:
    lines = config.stash.get(_FIGURES, [])
    if lines:
        terminal.section("figures")
        terminal.write("\n".join(lines) + "\n")
        lines.clear()  # more than one conftest prints


def attach_logs(item: pytest.Item) -> Generator[None, Any, Any]:
    """The body of a hook wrapper around pytest_runtest_makereport."""
    report = yield
    deployment = item.stash.get(DEPLOYMENT, None)
    if report.failed and deployment is not None:
        report.sections += deployment.logs()
    return report
