# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``python -m tests.schedules.breakages``: does each deliberate breakage still get caught?

Each one of breakages.yaml is made in a copy of the tree.  It counts as caught when a schedule,
or the test that is named for it, fails.  README.md shows the table that this prints.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Schedules from the first one on that are tried where the given seed catches nothing.
_TRIED = 400
#: Seconds for one of these, or for a test: what is broken may never end.
_PATIENCE_S = 900
_SCENARIO = "tests/scenarios/test_scenarios.py::test_the_story_is_the_expected_one"
_PARTS = ("hacore", "sandbox", "tests", "etc", "setup.cfg", "pyproject.toml")


@dataclasses.dataclass(frozen=True)
class Breakage:
    """One deliberate breakage, as breakages.yaml explains it."""

    breaks: str
    edits: str
    seed: int | None = None
    scenario: str = ""
    test: str = ""
    note: str = ""


def main() -> int:
    """Return 1 if a breakage was not caught."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.schedules.breakages", description=__doc__
    )
    parser.add_argument("--only", default="", help="those whose name has this in it")
    only = parser.parse_args().only
    missed = 0
    print("| broken on purpose | found by | as |\n|---|---|---|")
    for breakage in all_of_them():
        if only in breakage.breaks:
            caught = _caught(breakage)
            missed += caught is None
            print(f"| {breakage.breaks} | {caught or '**nothing** |'} |", flush=True)
    return 1 if missed else 0


def all_of_them() -> list[Breakage]:
    """Return what breakages.yaml lists."""
    rows = yaml.safe_load(pathlib.Path(__file__).with_suffix(".yaml").read_text())
    return [Breakage(**row) for row in rows]


def _caught(breakage: Breakage) -> str | None:
    """Return what caught it and, for the next column, how; or None."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for part in _PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        make(breakage, copy / "hacore")
        if breakage.seed is None:
            return _caught_by_test(copy, breakage)
        return _caught_by_schedule(copy, breakage.seed)


def _caught_by_test(copy: pathlib.Path, breakage: Breakage) -> str | None:
    test = breakage.test or f"{_SCENARIO}[{breakage.scenario}]"
    if _run(copy, ["-m", "pytest", "-q", test]).returncode != 1:
        return None  # 1: tests failed; another status is no verdict
    if breakage.scenario:
        return f"the scenario `{breakage.scenario}` | {breakage.note}"
    return f"`{test.partition('::')[0]}` | {breakage.note}"


def _caught_by_schedule(copy: pathlib.Path, seed: int) -> str | None:
    schedules = ["-m", "tests.schedules"]
    for some in (
        ["--first", str(seed), "--count", "1"],
        ["--count", str(_TRIED), "--jobs", "2", "--fail-fast"],
    ):
        found = re.search(r"^seed (\d+): (.*)$", _run(copy, schedules + some).stdout, re.M)
        if found:
            return f"{found[1]} | {found[2]}"
    return None


def make(breakage: Breakage, folder: pathlib.Path) -> None:
    """Make it below `folder`; exit where what it edits is not there."""
    for edit in breakage.edits.strip().split("\n\n"):
        _edit(folder, edit.splitlines())


def _edit(folder: pathlib.Path, edit: list[str]) -> None:
    """Replace lines that stand once below `folder`, at whatever indentation."""
    old = [re.escape(line[1:]) for line in edit if line.startswith("-")]
    new = [line[1:] for line in edit if line.startswith("+")]
    block = re.compile("^( *)" + "\n\\1".join(old) + "$", re.M)
    files = [path for path in folder.rglob("*.py") for _ in block.finditer(path.read_text())]
    if len(files) != 1:
        sys.exit(
            f"This stands {len(files)} times below hacore/, not once; correct the breakage:\n"
            + "\n".join(edit)
        )
    text = block.sub(lambda at: "\n".join(at[1] + line for line in new), files[0].read_text())
    files[0].write_text(text)


def _run(copy: pathlib.Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(copy), str(copy / "sandbox")])
    arguments = [sys.executable, *command]
    try:
        return subprocess.run(
            arguments,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:  # no verdict
        return subprocess.CompletedProcess(arguments, returncode=-1, stdout="")


if __name__ == "__main__":
    sys.exit(main())
