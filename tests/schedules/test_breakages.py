# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Each deliberate breakage still stands in the code: which check catches it is seen by hand."""

import shutil
from pathlib import Path

import pytest

from tests.schedules.breakages import ROOT, Breakage, all_of_them, break_


@pytest.mark.parametrize("breakage", all_of_them(), ids=lambda breakage: breakage.breaks)
def test_it_can_be_made(breakage: Breakage, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "hacore", tmp_path / "hacore")
    for edit in breakage.edits.strip().split("\n\n"):
        break_(tmp_path / "hacore", edit.splitlines())
