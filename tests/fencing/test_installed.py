# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The file of devices against the agents that Debian has: examples, refusals, passwords."""

import logging
import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest

from hacore.errors import ConfigError
from hacore.fencing import file, installed
from hacore.fencing.programs import Programs
from tests.fencing import PASSWORD, test_ipmi, test_redfish
from tests.fencing.conftest import Bmc, Operator
from tests.unit.fencing.conftest import processes_with

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "doc" / "fencing.md").read_text()
EXAMPLES = [text for text in re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL) if "agent =" in text]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r"\[(.*?)\]", text)[-1])
def test_an_example_of_the_documentation(
    example: str, tmp_path: pathlib.Path, programs: Programs
) -> None:
    path = tmp_path / "fencing.ini"
    path.touch(0o600)
    path.write_text(example)
    devices = file.read(str(path), programs)
    assert devices.of("compute-1")
    assert devices.problems(["compute-1", "compute-2"]) == []


@pytest.mark.parametrize("name", sorted(installed.PROVE_NOTHING))
def test_an_agent_that_proves_nothing(name: str, programs: Programs) -> None:
    with pytest.raises(installed.Unusable, match=f"{name} proves nothing|agent {name} is not in"):
        installed.find(name, programs)


@pytest.mark.parametrize("name", ["fence_rcd_serial"])
def test_an_agent_that_cannot_read(name: str, programs: Programs) -> None:
    with pytest.raises(installed.Unusable, match="no action"):
        installed.find(name, programs)


@pytest.mark.parametrize("key", ["password", "username"])
def test_an_option_that_is_missing(redfish: Bmc, operator: Operator, key: str) -> None:
    options = test_redfish.options(redfish)
    del options[key]
    with pytest.raises(ConfigError, match=r"fence_redfish refuses these options \(Failed: You hav"):
        operator.levels(options)


def test_a_password_is_seen_by_nobody(
    redfish: Bmc, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """While the agent waits for its device."""
    caplog.set_level(logging.DEBUG)
    redfish.behaves("hang")
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            seen.update(processes_with(PASSWORD))

    thread = threading.Thread(target=look)
    thread.start()
    outcome = operator.proves(test_redfish.options(redfish))
    over.set()
    thread.join()
    assert seen == set()
    assert outcome.proof == ()
    assert PASSWORD not in caplog.text + repr(outcome)


def test_nothing_is_left_of_ipmitool(ipmi: Bmc, operator: Operator) -> None:
    """It outlives its agent, where nobody looks after it."""
    ipmi.behaves("ignore")
    operator.proves(test_ipmi.options(ipmi))
    assert processes_with(f"-p\0{ipmi.port}\0") == []


_ENGINE = """
import sys, threading
from hacore import concurrency
assert concurrency.select() == "eventlet"
from hacore.clock import SystemClock
from hacore.fencing import file
from hacore.fencing.programs import Programs
from hacore.fencing.proving import Prover, Settings
from hacore.nova.retry import Unguarded

class Orders:
    def may_order(self, device): pass
    def about_to_order(self, device): print("order")
    def answered(self, device, answer): print(answer.verdict)

clock = SystemClock()
programs = Programs(clock, Unguarded(clock))
levels = file.read(sys.argv[1], programs).of("compute-1")
rounds, over = [], threading.Event()
def work():
    while not over.wait(0.01):
        rounds.append(1)
thread = threading.Thread(target=work)
thread.start()
outcome = Prover(Settings(8, 0.5, 2, False), programs).prove(levels, Orders(), {}, {})
over.set()
thread.join()
print(*outcome.sentences, len(outcome.proof), "others went on" if len(rounds) > 20 else rounds)
"""


def test_a_proof_on_green_threads(redfish: Bmc, operator: Operator, tmp_path: pathlib.Path) -> None:
    """In a process of its own: eventlet comes before anything that opens a connection."""
    operator.levels(test_redfish.options(redfish))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ENGINE, str(tmp_path / "fencing.ini")],
        env={**os.environ, "HACORE_CONCURRENCY": "eventlet"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "order\noff\n1 others went on\n", done.stderr
    assert not redfish.is_on()
