# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Each deliberate breakage can still be made: what it edits stands in the code.

Whether it is caught shows ``python -m tests.schedules.breakages``.
"""

import shutil
from pathlib import Path

import pytest

from tests.schedules.breakages import ROOT, Breakage, all_of_them, make


@pytest.mark.parametrize("breakage", all_of_them(), ids=lambda breakage: breakage.breaks)
def test_it_can_be_made(breakage: Breakage, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "hacore", tmp_path / "hacore")
    make(breakage, tmp_path / "hacore")
