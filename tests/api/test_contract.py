# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The exchanges recorded from Masakari, replayed; what differs must be documented.

With keystone: tests/e2e/test_keystone.py.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "tests" / "contract"
DOCUMENT = ROOT / "doc" / "differences-from-masakari.md"

# stories are numbered files, with their steps
EXCHANGE = re.compile(r"`(\d\d-[\w-]+/[\w.-]+)`")
#: Steps of somebody who is not an administrator need keystone.
KEYSTONE_ONLY = {"20-microversions/too-new-member"}


def documented(section: str) -> list[str]:
    text = DOCUMENT.read_text()
    begin = text.index(f"## {section}")
    return EXCHANGE.findall(text[begin : text.find("\n## ", begin)])


def replay(url: str, *arguments: str) -> tuple[set[str], str]:
    """Return the exchanges that differ, and the last line."""
    command = [sys.executable, str(CONTRACT / "replay.py"), "--endpoint", url, "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    return {line.split(": ", 1)[0] for line in lines if re.match(r"\d\d-", line)}, lines[-1]


def test_nothing_differs_but_what_is_documented(url: str) -> None:
    different, summary = replay(url, "--noauth", "admin")

    expected = set(documented("Differences that replay.py reports")) - KEYSTONE_ONLY
    assert different == expected
    assert int(summary.split()[0]) > 750


def test_documented_exchanges_exist() -> None:
    for exchange in EXCHANGE.findall(DOCUMENT.read_text()):
        story, _, step = exchange.partition("/")
        steps = json.loads((CONTRACT / f"{story}.json").read_text())["steps"]
        assert step in {each["id"] for each in steps}, exchange
