# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A program is run under a deadline and a guard, and nothing of it is left behind."""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading

import pytest

from hacore.clock import SystemClock
from hacore.errors import LeaseLost
from hacore.fencing import programs as programs_module
from hacore.fencing.agents import ask
from hacore.fencing.devices import Device
from hacore.fencing.programs import CannotRun, Command, Programs
from hacore.nova.retry import Unguarded
from hacore.states import PowerVerdict
from tests.e2e.daemons import wait_for
from tests.unit.fencing.conftest import Box, Read, device_of, is_running, processes_with


def ended(pid: int) -> None:
    wait_for(f"the end of process {pid}", lambda: not is_running(pid), 10, 0.02)


def test_an_agent_is_given_everything_over_its_input(
    device: Device, box: Box, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/certificates")
    monkeypatch.setenv("OS_PASSWORD", "of-nova")
    assert ask(device, "status", 20, programs).verdict == PowerVerdict.ON
    (call,) = box.calls()
    assert call["argv"] == [device.agent.program]
    assert call["environment"].keys() - {"LC_CTYPE"} == {"PATH", "REQUESTS_CA_BUNDLE"}
    assert call["given"]["action"] == "status"
    assert call["given"]["password"] == "s3cret"
    assert call["given"]["power_timeout"] == "11"


def test_all_that_an_agent_started_ends_at_its_deadline(
    device: Device, box: Box, programs: Programs
) -> None:
    box.set(mode="hang")
    answer = ask(device, "off", 1.5, programs)
    assert answer.verdict == PowerVerdict.UNREACHABLE
    assert "did not answer within 1.5 s and the agent was killed" in answer.sentence
    child = box.child()
    assert child is not None
    ended(child)


def test_nothing_is_left_of_an_agent_that_ended(
    device: Device, box: Box, programs: Programs
) -> None:
    box.set(mode="leaves")
    assert ask(device, "off", 20, programs).verdict == PowerVerdict.OFF
    child = box.child()
    assert child is not None
    ended(child)


class LostOnce(Unguarded):
    """The lease is lost as soon as the agent has started its child."""

    def __init__(self, box: Box) -> None:
        super().__init__(SystemClock())
        self._box = box

    def wait(self, seconds: float) -> None:
        if self._box.child():
            raise LeaseLost
        super().wait(seconds)


def test_all_ends_when_the_lease_is_lost(device: Device, box: Box) -> None:
    box.set(mode="hang")
    with pytest.raises(LeaseLost):
        ask(device, "off", 60, Programs(SystemClock(), LostOnce(box)))
    child = box.child()
    assert child is not None
    ended(child)


class Lost(Unguarded):
    def check(self) -> None:
        raise LeaseLost


def test_nothing_begins_once_the_lease_is_lost(device: Device, box: Box) -> None:
    clock = SystemClock()
    with pytest.raises(LeaseLost):
        ask(device, "off", 60, Programs(clock, Lost(clock)))
    assert box.calls() == []


_ENGINE = """
import sys, threading
from hacore import concurrency
concurrency.select()
from hacore.clock import SystemClock
from hacore.fencing.programs import Command, run
from hacore.nova.retry import Unguarded
clock = SystemClock()
command = Command(sys.argv[1], given=sys.argv[2])
started = threading.Thread(target=run, args=(command, 60, clock, Unguarded(clock)))
started.start()
started.join()
"""


def test_all_ends_when_the_engine_is_killed(device: Device, box: Box) -> None:
    """Also where the agent was started by a thread."""
    box.set(mode="hang")
    given = f"action=off\nplace={box.place}\n"
    engine = subprocess.Popen([sys.executable, "-c", _ENGINE, device.agent.program, given])
    try:
        child = wait_for("the agent's child", box.child, 30, 0.05)
        assert is_running(child)
    finally:
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    ended(child)


def test_a_thread_that_ends_ends_no_agent_of_another_one(
    device: Device, box: Box, programs: Programs
) -> None:
    """What the kernel ties to the death of a parent, it ties to that of a thread."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(device, "off", 20, programs)))
    thread.start()
    thread.join()
    assert [answer.verdict for answer in answers] == [PowerVerdict.OFF]


def test_others_go_on_while_an_agent_runs(device: Device, box: Box, programs: Programs) -> None:
    """Under eventlet too, where one that blocks would stop all."""
    box.set(mode="hang")
    rounds = []
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            rounds.append(box.child())

    thread = threading.Thread(target=work)
    thread.start()
    ask(device, "off", 1.5, programs)
    over.set()
    thread.join()
    assert any(rounds), "it never ran while the agent did"


def test_what_an_agent_says_has_an_end(device: Device, box: Box, programs: Programs) -> None:
    box.set(mode="chatters")
    assert ask(device, "status", 30, programs).verdict == PowerVerdict.ON


def test_a_password_is_in_no_list_of_processes(read: Read, box: Box, programs: Programs) -> None:
    box.set(mode="hang")
    device = device_of(read, box, password="in-no-process-list")
    thread = threading.Thread(target=ask, args=(device, "off", 3, programs))
    thread.start()
    wait_for("the agent's child", box.child, 30, 0.02)
    assert processes_with("in-no-process-list") == []
    thread.join()


def test_an_agent_leaves_no_core(programs: Programs) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("this process may leave none either")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    show = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    try:
        shown = programs.run(Command(sys.executable, ("-IS", "-c", show)), 20)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    # 1 is smaller than any core, and what the kernel takes for "none" where a program gets them
    assert shown.out == "(1, 1)\n"


def test_an_agent_that_is_not_there(programs: Programs, tmp_path: pathlib.Path) -> None:
    with pytest.raises(CannotRun, match=r"fence_none cannot be run: .*No such file"):
        programs.run(Command(str(tmp_path / "fence_none"), given="password=s3cret\n"), 5)


def test_no_descriptor_is_left_open(device: Device, programs: Programs) -> None:
    ask(device, "status", 20, programs)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        ask(device, "status", 20, programs)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_supervisor_without_a_job_ends() -> None:
    path = pathlib.Path(programs_module.__file__).with_name("supervisor.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def parent(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_outcome_is_unknown_when_the_supervisor_is_killed(
    device: Device, box: Box, programs: Programs
) -> None:
    """The order may have been sent; the agent ends all the same."""
    box.set(mode="hang")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(device, "off", 60, programs)))
    thread.start()
    child = wait_for("the agent's child", box.child, 30, 0.02)
    agent = parent(child)
    os.kill(parent(agent), signal.SIGKILL)
    thread.join()
    ended(agent)
    os.kill(child, signal.SIGKILL)  # of a session of its own: nobody is left who knows it
    (answer,) = answers
    assert answer.verdict == PowerVerdict.UNKNOWN
    assert "(exit -9: its supervisor ended without an answer)" in answer.sentence


def test_no_process_can_be_started(programs: Programs) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(CannotRun) as caught:
            programs.run(Command("/bin/true"), 5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(caught.value) == (
        "/bin/true cannot be run: Too many open files; check the limits of the engine's unit"
    )


def test_a_supervisor_that_hangs_is_killed(
    device: Device, box: Box, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs_module, "_END_S", 0.5)
    box.set(mode="hang")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(device, "off", 4, programs)))
    thread.start()
    child = wait_for("the agent's child", box.child, 30, 0.02)
    agent = parent(child)
    os.kill(parent(agent), signal.SIGSTOP)
    thread.join()
    ended(agent)
    os.kill(child, signal.SIGKILL)
    assert [answer.verdict for answer in answers] == [PowerVerdict.UNKNOWN]
