# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the daemons tell systemd, and when; the units in etc/systemd."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.daemons import Daemon, wait_for
from tests.servers import free_port
from tests.services import REQUIRED
from tests.unit import processes
from tests.unit.processes import Configuration, Supervisor

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "etc" / "systemd").glob("*.service"))

#: What systemd-analyze security says at most, 0 (nothing is open) to 100.
_EXPOSURE = 25


@pytest.fixture(scope="module")
def nova(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with processes.sandbox(tmp_path_factory.mktemp("sandbox")) as login:
        yield login


@pytest.fixture
def supervisor(tmp_path: pathlib.Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def configuration(tmp_path: pathlib.Path, nova: dict[str, str], port: int) -> Configuration:
    """A lease so short that the watchdog of the engine barks within seconds."""
    processes.make_tables(f"sqlite:///{tmp_path}/hacore.sqlite")
    return {
        "DEFAULT": {
            "auth_strategy": "noauth2",
            "transport_url": "fake://",
            "state_path": tmp_path,
            "claim_lease": 3,
        },
        "api": {"port": port},
        "database": {"connection": f"sqlite:///{tmp_path}/hacore.sqlite"},
        "nova": nova,
    }


def start(
    name: str, folder: pathlib.Path, configuration: Configuration, supervisor: Supervisor
) -> Daemon:
    file = processes.write(folder / "hacore.conf", configuration)
    command = [processes.command(name), f"--config-file={file}"]
    return Daemon(name, command, folder / f"{name}.log", supervisor.environment)


@pytest.mark.parametrize("name", ["hacore-api", "hacore-standalone"])
def test_the_api_is_ready_when_it_answers(
    name: str,
    tmp_path: pathlib.Path,
    configuration: Configuration,
    supervisor: Supervisor,
    port: int,
) -> None:
    daemon = start(name, tmp_path, configuration, supervisor)
    try:
        supervisor.wait_for("READY=1", 60)
        answer = requests.get(f"http://127.0.0.1:{port}/v1/segments", timeout=10)
        assert answer.json() == {"segments": []}
        assert supervisor.told[0] == "READY=1"
    finally:
        status = daemon.end()
    supervisor.wait_for("STOPPING=1", 1)
    assert status == 0
    assert supervisor.all_told().count("READY=1") == 1, daemon.text()


def test_the_engine_tells_that_it_lives(
    tmp_path: pathlib.Path, configuration: Configuration, supervisor: Supervisor
) -> None:
    daemon = start("hacore-engine", tmp_path, configuration, supervisor)
    try:
        supervisor.wait_for("READY=1", 60)
        supervisor.wait_for("WATCHDOG=1", 10)
        assert supervisor.told[0] == "READY=1"
        assert "STOPPING=1" not in supervisor.told
    finally:
        status = daemon.end()
    supervisor.wait_for("STOPPING=1", 1)
    assert status == 0
    assert supervisor.all_told().count("READY=1") == 1, daemon.text()


def test_sigusr1_shows_the_stacks_and_ends_nothing(
    tmp_path: pathlib.Path, configuration: Configuration, supervisor: Supervisor
) -> None:
    """To the process that systemd started; operators know the signal from other services."""
    daemon = start("hacore-engine", tmp_path, configuration, supervisor)
    try:
        supervisor.wait_for("READY=1", 60)
        os.kill(daemon.pid, signal.SIGUSR1)
        wait_for("the stacks", lambda: "most recent call first" in daemon.text(), 10)
        supervisor.wait_for("WATCHDOG=1", 10)
        assert daemon.is_running()
    finally:
        status = daemon.end()
    assert status == 0


BROKEN = """
from hacore import concurrency

concurrency.select()
from hacore.cmd import launch


class Broken:
    def start(self):
        raise OSError("it is broken")

    def stop(self):
        pass


launch.run(launch.configure("broken", []), [Broken()])
"""


def test_what_cannot_start_ends(tmp_path: pathlib.Path) -> None:
    """What no check foresaw fails in a child, where there is one: nobody tries it again."""
    daemon = Daemon("broken", [sys.executable, "-c", BROKEN], tmp_path / "broken.log")
    wait_for("the daemon to end", lambda: not daemon.is_running(), 60)
    assert daemon.end() == 1
    said = re.findall(r"^failed to start: .*$", daemon.text(), re.MULTILINE)
    assert said == ["failed to start: it is broken"]


def analyze(unit: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on a unit; skip where there is none."""
    if shutil.which("systemd-analyze") is None:
        why = "needs systemd-analyze (package systemd)"
        if REQUIRED:
            pytest.fail(why)
        pytest.skip(why)
    return subprocess.run(
        ["systemd-analyze", *arguments, str(unit)], capture_output=True, text=True, check=False
    )


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    """A unit whose command exists on this machine, as systemd-analyze wants it."""
    copy = tmp_path / request.param.name
    text, replaced = re.subn(
        rf"^ExecStart=/usr/bin/{request.param.stem}$",
        f"ExecStart={shutil.which('true')}",
        request.param.read_text(),
        flags=re.MULTILINE,
    )
    assert replaced == 1
    copy.write_text(text)
    return copy


def test_systemd_understands_the_unit(unit: pathlib.Path) -> None:
    done = analyze(unit, "verify", "--man=no")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_hardened(unit: pathlib.Path) -> None:
    done = analyze(unit, "security", "--offline=true", f"--threshold={_EXPOSURE}")
    assert done.returncode == 0, done.stdout


def test_a_unit_for_every_daemon() -> None:
    assert [unit.stem for unit in UNITS] == ["hacore-api", "hacore-engine", "hacore-standalone"]


@pytest.mark.parametrize("path", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_leaves_time(path: pathlib.Path) -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))
    assert settings["Type"] == "notify"
    assert settings["NotifyAccess"] == "all"
    # oslo.service's graceful_shutdown_timeout is 60 s
    assert int(settings["TimeoutStopSec"]) > 60
    # the slower of the two: the engine's claim_lease / 3 = 20 s
    assert int(settings["WatchdogSec"]) >= 3 * 20
    assert settings["Restart"] == "always"
    assert settings["StartLimitIntervalSec"] == "0"
