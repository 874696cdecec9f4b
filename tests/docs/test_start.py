# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The commands of doc/start.md, to the letter but for the ports, which others may use."""

import json
import os
import pathlib
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.daemons import Daemon, wait_for
from tests.servers import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Reader:
    """Somebody who types what the page says.

    :ivar blocks: the code of "By hand", in order: cloud, configuration, hacore, failure, question.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.api, self.cloud = free_port(), free_port()
        text = (ROOT / "doc" / "start.md").read_text().partition("## By hand")[2]
        text = text.replace("15868", str(self.api)).replace("5080", str(self.cloud))
        text = text.replace(".venv/bin/", f"{sysconfig.get_path('scripts')}/")
        self.blocks = re.findall(r"^```(?:ini)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert len(self.blocks) == 5

    def start(self, name: str, command: str) -> Daemon:
        arguments = ["sh", "-c", f"exec {command.strip()}"]
        return Daemon(name, arguments, self.folder / f"{name}.log")

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def reader(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    made = Reader(tmp_path)
    cloud = made.start("sandbox", f"{made.blocks[0].strip()} --port {made.cloud}")
    hacore = None
    try:
        cloud.wait_until_it_says("region_name", 60)
        # what it prints is what the page tells to write
        assert cloud.text().partition("[nova]")[2].split() == (
            made.blocks[1].partition("[nova]")[2].split()
        )
        text = made.blocks[1] + f"\n[api]\nport = {made.api}\n"
        (tmp_path / "hacore.conf").write_text(text)
        hacore = made.start("hacore", made.blocks[2])
        hacore.wait_until_it_says("API listens on", 60)
        yield made
    finally:
        for daemon in filter(None, (hacore, cloud)):
            daemon.end()


def test_by_hand(reader: Reader) -> None:
    url = f"url=http://127.0.0.1:{reader.api}/v1\n"
    reader.run(reader.blocks[3])

    def ended() -> dict[str, Any] | None:
        (shown,) = json.loads(reader.run(url + reader.blocks[4]))["notifications"]
        return None if shown["status"] in ("new", "running") else shown

    notification = wait_for("the recovery to end", ended, 60, 0.5)
    assert (notification["status"], notification["message"]) == (
        "finished",
        "3 evacuated, 0 skipped.",
    )
    # the host died indeed, and nothing is on it
    state = requests.get(f"http://127.0.0.1:{reader.cloud}/control/state", timeout=10).json()
    assert "compute1" not in {server["host"] for server in state["servers"]}
