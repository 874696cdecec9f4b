# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Every scenario goes as its log.expect says."""

import re

import pytest

from tests.scenarios.run import EXPECTED, FOLDER, names, run

_LISTED = re.compile(r"^\* `([a-z0-9-]+)`: ", re.MULTILINE)


@pytest.mark.parametrize("name", names())
def test_the_story_is_the_expected_one(name: str) -> None:
    """After a change that is meant: ``python -m tests.scenarios regenerate``, and read the diff."""
    assert run(name).splitlines() == (FOLDER / name / EXPECTED).read_text().splitlines()


def test_the_readme_lists_every_scenario_once() -> None:
    listed = _LISTED.findall((FOLDER / "README.md").read_text())
    assert sorted(listed) == names()


def test_every_scenario_says_why_it_is_there() -> None:
    for name in names():
        files = {path.name for path in (FOLDER / name).iterdir()}
        assert files == {"README.md", "given.yaml", "steps.yaml", EXPECTED}, name
        assert (FOLDER / name / "README.md").read_text().strip(), name
