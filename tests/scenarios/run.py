# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From a folder to its log."""

import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios import ending, given
from tests.scenarios.steps import Director

FOLDER = Path(__file__).parent
EXPECTED = "log.expect"
#: Simulated seconds after which a story must have come to its end.
_LIMIT_S = 4 * 86400.0


def names() -> list[str]:
    """All scenarios."""
    return sorted(path.parent.name for path in FOLDER.glob("*/steps.yaml"))


def run(name: str) -> str:
    """Let a scenario happen; return its log."""
    folder = FOLDER / name
    with tempfile.TemporaryDirectory(prefix="hacore-scenario-") as scratch:
        stage = given.build(_yaml(folder / "given.yaml"), Path(scratch))
        try:
            director = Director(stage, _yaml(folder / "steps.yaml"))

            def over() -> bool:
                director.catch_up()
                if director.ended:
                    return True
                return director.waiting is None and stage.database.ended()

            stage.clock.run(over, _LIMIT_S)
            return stage.log.text(
                ending.describe(stage, director.notifications, director.operations)
            )
        finally:
            stage.close()


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())
