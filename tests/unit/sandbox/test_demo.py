# Licensed under the Apache License, Version 2.0; see LICENSE.
"""`hacore-sandbox demo`: what it prints, what it leaves behind, and that it does not lie."""

import dataclasses
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hacore.clock import SystemClock
from hacore_sandbox import cli
from hacore_sandbox.demo import checks
from hacore_sandbox.demo.lines import Lines
from hacore_sandbox.demo.records import (
    Bmc,
    CloudState,
    Host,
    Instance,
    Move,
    Outcome,
    Recovery,
    Task,
)
from hacore_sandbox.demo.screen import Screen

COMMAND = (sys.executable, "-P", "-m", "hacore_sandbox.cli", "demo")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which temporary folders are made in tmp_path."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


# -- the whole demo, in a pipe


def run(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def test_host(env: dict[str, str], tmp_path: Path) -> None:
    began = time.monotonic()
    status, out = run(env)
    assert status == 0, out
    assert time.monotonic() - began < 30
    assert "\x1b" not in out
    assert "\r" not in out
    rows = re.findall(
        r"^(vm-\d+) +compute1 +compute[234] +(active|stopped) +\d+\.\d s +succeeded$", out, re.M
    )
    assert [name for name, _ in rows] == [f"vm-{n}" for n in range(1, 21)]
    assert [name for name, state in rows if state == "stopped"] == ["vm-10", "vm-20"]
    for name, _ in rows:  # each one's way, as it happened
        assert len(re.findall(rf"s  {name}: compute1 -> compute[234] \(\d+ of 20\)$", out, re.M))
    assert "s  EvacuateInstancesTask: SUCCESS, 100%\n" in out
    assert "s  Notification finished: 20 evacuated, 0 skipped.\n" in out
    assert out.splitlines()[-1].startswith("OK: Every instance is back (20 of 20)")
    assert list(tmp_path.iterdir()) == []


def test_instance(env: dict[str, str], tmp_path: Path) -> None:
    status, out = run(env, "--scenario", "instance")
    assert status == 0, out
    assert "\x1b" not in out
    assert re.search(r"^vm-1 +compute1 +compute1 +active +\d+\.\d s +finished$", out, re.M)
    assert "s  ConfirmInstanceActiveTask: SUCCESS, 100%\n" in out
    assert out.splitlines()[-1].startswith("OK: vm-1 runs again")
    assert list(tmp_path.iterdir()) == []


def test_process(env: dict[str, str], tmp_path: Path) -> None:
    status, out = run(env, "--scenario", "process", "--instances", "7")
    assert status == 0, out
    assert "\x1b" not in out
    assert re.search(r"^nova-compute of compute1 in Nova +enabled +disabled$", out, re.M)
    assert re.search(r"^compute1 in hacore +in service +on maintenance$", out, re.M)
    assert re.search(r"^instances running on compute1 +7 +7$", out, re.M)
    assert out.splitlines()[-1].startswith("OK: Nova has scheduled nothing to compute1 since")
    assert list(tmp_path.iterdir()) == []


def test_mass_failure(env: dict[str, str], tmp_path: Path) -> None:
    status, out = run(env, "--scenario", "mass-failure", "--instances", "13")
    assert status == 0, out
    assert "\x1b" not in out
    assert "s  All 6 recoveries are held, and nothing has been evacuated\n" in out
    assert re.search(r"s  \$ hacore-manage recovery list --held\n +Uuid +[0-9a-f-]{36}\n", out)
    assert re.search(r"^ +Message +Held \(majority\): 6 of 10 hosts of ", out, re.M)
    assert "\n         (and 5 more)\n" in out
    (uuid,) = re.findall(r"s  \$ hacore-manage explain (\S+)$", out, re.M)
    assert re.search(r"^ +[\d-]+ [\d:]+  limits: hold$", out, re.M)
    assert f"s  $ hacore-manage recovery approve {uuid} --reason 'compute1 is off" in out
    assert "         Approved: majority, for up to 6 missing hosts; it stands for 15 min.\n" in out
    moved = re.findall(r"s  (vm-\d+): compute1 -> compute(?:7|8|9|10) \(\d of 3\)$", out, re.M)
    assert sorted(moved) == ["vm-1", "vm-13", "vm-7"]
    assert re.search(r"^compute1 +off +finished +3 +0$", out, re.M)
    others = re.findall(r"^compute[2-6] +on +(?:held \(majority\)|error|running) +2 +2$", out, re.M)
    assert len(others) == 5
    assert out.splitlines()[-1].startswith(
        "OK: Nothing was evacuated before an operator had looked"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_mass_failure_that_is_not_held(env: dict[str, str]) -> None:
    """Without the limit: what the demo shows is not so, and it says that."""
    status, out = run({**env, "OS_MASS_FAILURE__MAX_SHARE": "0"}, "--scenario", "mass-failure")
    assert status == 1, out
    last = out.splitlines()[-1]
    assert last.startswith("FAILED: The recovery of compute6 is finished, not held (majority) (")
    assert "compute6 is disabled in Nova." in last


def test_fencing(env: dict[str, str], tmp_path: Path) -> None:
    status, out = run(env, "--scenario", "fencing", "--instances", "7")
    assert status == 0, out
    assert "\x1b" not in out
    assert re.search(
        r"s  The proof: compute1 is off: bmc \(.*\) has switched it off, and said so 2 times", out
    )
    held = " ".join(out.split())
    assert "Held (proof): nothing proves that compute2 is off: level 1: compute2, device " in held
    assert "bmc (fence_hacore_sandbox at 127.0.0.1): it does not answer" in held
    assert "'hacore-manage host confirm-off compute2'" in held
    assert "s  $ hacore-manage host confirm-off compute2 --reason " in out
    assert out.count("s  Notification finished: ") == 2
    assert re.search(r"^compute1 +off +off +finished +4 +0$", out, re.M)
    assert re.search(r"^compute2 +off +- +finished +3 +0$", out, re.M)
    assert out.splitlines()[-1].startswith("OK: compute1 was switched off by its own device, and")
    assert list(tmp_path.iterdir()) == []


def test_fencing_that_nobody_requires(env: dict[str, str]) -> None:
    """Without a proof: what the demo shows is not so, and it says that."""
    status, out = run({**env, "OS_FENCING__REQUIRE_PROOF": "never"}, "--scenario", "fencing")
    assert status == 1, out
    assert out.splitlines()[-1].startswith("FAILED: ")
    assert "The BMC of compute1 was ordered: nothing." in out.splitlines()[-1]


def test_a_failed_evacuation_is_told(env: dict[str, str], tmp_path: Path) -> None:
    """The simulated cloud is made to fail from outside, as the demo runs."""
    with started(env, "--instances", "2") as demo:
        url = address(demo, "A simulated cloud")
        request(url + "/control/faults", {"evacuations": [{"kind": "no_valid_host", "times": 1}]})
        out, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1
    last = out.splitlines()[-1]
    assert last.startswith("FAILED: The notification is error, not finished. 1 of 2 instances ")
    assert "is still on compute1" in last
    kept = re.search(r"The logs are in (\S+)\.$", last)
    assert kept is not None, last
    assert Path(kept[1]).parent == tmp_path
    assert (Path(kept[1]) / "hacore-standalone.log").read_text()


def test_hacore_that_does_not_start(env: dict[str, str]) -> None:
    status, out = run({**env, "HACORE_CONCURRENCY": "none"})
    assert status == 1
    last = out.splitlines()[-1]
    assert last.startswith("FAILED: hacore-standalone has ended (exit status 1); its log ends")
    assert "HACORE_CONCURRENCY" in last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped(env: dict[str, str], tmp_path: Path, number: signal.Signals) -> None:
    with started(env) as demo:
        addresses = [address(demo, "A simulated cloud"), address(demo, "hacore-standalone at")]
        demo.send_signal(number)
        out, _ = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert out.splitlines()[-1] == "FAILED: Stopped. All processes are ended and all files removed."
    for url in addresses:
        host, _, port = url.removeprefix("http://").partition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
    assert list(tmp_path.iterdir()) == []


def test_nobody_reads_on(env: dict[str, str], tmp_path: Path) -> None:
    with started(env, "--scenario", "process") as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.wait(timeout=60) == 1
    assert list(tmp_path.iterdir()) == []


def test_terminal(env: dict[str, str]) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--scenario", "process"],
        env={**env, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    ) as demo:
        os.close(follower)
        out = b"".join(read_all(leader)).decode()
        assert demo.wait(timeout=60) == 0
    os.close(leader)
    assert "Nova has scheduled nothing to compute1 since" in out
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")  # the cursor is back


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("0", "1001", "many", "-1"):
        with pytest.raises(SystemExit) as exit_:
            cli.main(["demo", f"--instances={wrong}"])
        assert exit_.value.code == 2
        assert "a number from 1 to 1000" in capsys.readouterr().err


def started(env: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def address(demo: "subprocess.Popen[str]", of: str) -> str:
    """Read on to the line that names the address of something."""
    assert demo.stdout is not None
    for line in demo.stdout:
        found = re.search(rf"{of}.*(http://127\.0\.0\.1:\d+)", line)
        if found:
            return found[1]
    raise AssertionError(f"the demo ended before it told the address of {of}")


def request(url: str, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method="PUT")):
        pass


def read_all(leader: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:  # EIO: the other end is closed
            return
        if not data:
            return
        yield data


# -- the verdict


def instance(number: int, host: str | None = "compute1", **changes: Any) -> Instance:
    return dataclasses.replace(
        Instance(f"uuid-{number}", f"vm-{number}", host, "active", None, True, False), **changes
    )


def truth(*instances: Instance, disabled: str | None = None, dead: str | None = None) -> CloudState:
    hosts = [
        Host(name, alive=name != dead, disabled=name == disabled, disabled_reason=None)
        for name in ("compute1", "compute2", "compute3")
    ]
    return CloudState({host.name: host for host in hosts}, {one.uuid: one for one in instances})


def move(number: int, dest: str | None = "compute2", status: str = "succeeded") -> Move:
    return Move(f"uuid-{number}", f"vm-{number}", "compute1", dest, status, None, 5.0)


def recovery(*moves: Move, status: str = "finished") -> Recovery:
    return Recovery("uuid", status, "20 evacuated, 0 skipped.", (), moves, 6.0)


def judged(*after: Instance, moves: tuple[Move, ...] = (move(1), move(2))) -> list[str]:
    """The verdict on two instances of compute1, and one of compute2, in `after`."""
    before = truth(instance(1), instance(2), instance(3, "compute2"))
    now = truth(*after, disabled="compute1", dead="compute1")
    outcome = Outcome(before, now, recovery(*moves), frozenset({"compute1"}))
    return checks.evacuated(outcome, "compute1")


MOVED, OTHER = instance(2, "compute2"), instance(3, "compute2")


def test_all_is_well() -> None:
    assert judged(instance(1, "compute2"), MOVED, OTHER) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (instance(1, "compute1"), "vm-1 is still on compute1"),
        (instance(1, None), "vm-1 is on no host"),
        (instance(1, "compute2", locked=True), "vm-1 is locked."),
        (instance(1, "compute2", vm_state="error"), "vm-1 is error, not active."),
        (instance(1, "compute2", guest_up=False), "vm-1 does not run."),
        (instance(1, "compute2", task_state="rebuilding"), "vm-1 is busy (rebuilding)."),
        (instance(1, "compute3"), "vm-1 is on compute3, but on compute2 according to hacore."),
    ],
)
def test_an_instance_that_is_not_right(wrong: Instance, sentence: str) -> None:
    (said,) = judged(wrong, MOVED, OTHER)
    assert said.startswith("1 of 3 instances is wrong: ")
    assert sentence in said


def test_an_instance_that_is_gone() -> None:
    assert judged(MOVED, OTHER) == ["1 of 3 instances is wrong: vm-1 no longer exists."]


def test_an_instance_on_another_dead_host() -> None:
    before = truth(instance(1))
    now = truth(instance(1, "compute3"), disabled="compute1", dead="compute3")
    outcome = Outcome(before, now, recovery(move(1, "compute3")), frozenset({"compute1"}))
    (said,) = checks.evacuated(outcome, "compute1")
    assert "vm-1 is on compute3, which is dead" in said


def test_an_instance_that_was_not_to_be_touched() -> None:
    (said,) = judged(instance(1, "compute2"), MOVED, instance(3, "compute3"))
    assert "vm-3 was moved from compute2 to compute3" in said


def test_hacore_must_agree() -> None:
    here = instance(1, "compute2"), MOVED, OTHER
    assert "vm-1 has no move in hacore" in judged(*here, moves=(move(2),))[0]
    failed = move(1, None, "failed")
    assert "vm-1 has a move that is failed" in judged(*here, moves=(failed, move(2)))[0]


def test_the_notification_must_be_finished() -> None:
    now = truth(instance(1, "compute2"), disabled="compute1")
    for status in ("error", "failed", "ignored", "running"):
        ended = recovery(move(1), status=status)
        outcome = Outcome(truth(instance(1)), now, ended, frozenset({"compute1"}))
        said = checks.evacuated(outcome, "compute1")
        assert said == [f"The notification is {status}, not finished."]


def test_the_host_must_be_out_of_service() -> None:
    here = truth(instance(1))
    for_nothing = Outcome(here, here, recovery(), frozenset())
    assert checks.taken_out(for_nothing, "compute1") == [
        "compute1 is enabled in Nova.",
        "compute1 is not on maintenance in hacore.",
    ]
    other = Outcome(here, truth(instance(1), disabled="compute2"), recovery(), frozenset())
    assert checks.restarted(other) == ["compute2 is disabled in Nova."]


HELD = "Held (majority): 6 of 10 hosts of segment demo are missing."


def test_what_must_be_held() -> None:
    before = truth(instance(1), instance(2, "compute2"))
    held = Recovery("uuid", "error", HELD, (), (), 6.0)
    dead = instance(1, guest_up=False)
    now = Outcome(before, truth(dead, instance(2, "compute2")), held, frozenset())
    assert held.held == "majority"
    assert checks.held(now, {"compute1": held}, "compute1") == []
    for message, said in (
        ("Nova refused.", "error, not held (majority) (Nova refused)."),
        ("Held (burst): 10 hosts.", "error, not held (majority) (Held (burst): 10 hosts)."),
    ):
        other = dataclasses.replace(held, message=message)
        assert checks.held(now, {"compute1": other}, "compute1") == [
            f"The recovery of compute1 is {said}"
        ]
    later = Outcome(before, truth(dead, instance(2), disabled="compute2"), held, frozenset())
    (host, instances) = checks.held(later, {"compute1": held}, "compute1")
    assert host == "compute2 is disabled in Nova."
    assert "vm-2 was moved from compute2 to compute1" in instances


def test_one_order_to_one_device() -> None:
    ordered, other = Bmc("off", ("off",)), Bmc("on", ())
    assert checks.ordered_off({"compute1": ordered, "compute2": other}, "compute1") == []
    assert checks.ordered_off({"compute1": other, "compute2": ordered}, "compute1") == [
        "The BMC of compute1 was ordered: nothing.",
        "The BMC of compute2 was ordered: off.",
    ]
    twice = Bmc("off", ("off", "off"))
    (said,) = checks.ordered_off({"compute1": twice}, "compute1")
    assert said == "The BMC of compute1 was ordered: off, off."


def test_what_is_held_moves_nothing() -> None:
    held = dataclasses.replace(recovery(move(1), status="error"), message=HELD)
    assert checks.moved_nothing({"compute2": held}) == ["The recovery of compute2 has moves: 1."]
    assert dataclasses.replace(held, status="failed").held is None


def test_many_that_are_not_right_are_counted() -> None:
    before = truth(*(instance(n) for n in range(1, 9)))
    (said,) = checks.restarted(Outcome(before, truth(), recovery(), frozenset()))
    assert said.startswith("8 of 8 instances are wrong: vm-1 no longer exists; ")
    assert said.endswith("; vm-5 no longer exists; and 3 more.")


# -- what is read, and how it is shown

NOTIFICATION: dict[str, Any] = {
    "notification_uuid": "uuid",
    "status": "running",
    "message": None,
    "created_at": "2026-01-31T12:00:00.000000",
    "updated_at": None,
    "recovery_workflow_details": [
        {
            "name": "EvacuateInstancesTask",
            "state": "RUNNING",
            "progress": 0.5,
            "progress_details": [
                {"message": "Evacuating 2 instances."},
                {"message": "Instance uuid-1 moved from compute1 to compute2."},
                {"message": "Instance uuid-2: No valid host was found."},
            ],
        }
    ],
}
VMOVE: dict[str, Any] = {
    "instance_uuid": "uuid-1",
    "instance_name": "vm-1",
    "source_host": "compute1",
    "dest_host": "compute2",
    "status": "succeeded",
    "message": None,
    "end_time": "2026-01-31T12:00:07.500000",
}
LOST = {
    **VMOVE,
    "instance_uuid": "uuid-2",
    "instance_name": "vm-2",
    "dest_host": None,
    "status": "failed",
    "message": "No valid host was found.",
}


def test_what_ends_a_move_is_told_once() -> None:
    read = Recovery.read(NOTIFICATION, [VMOVE, LOST])
    assert [one.ended_after_s for one in read.moves] == [7.5, 7.5]
    assert read.tasks[0].messages == ("Evacuating 2 instances.",)


class Still:
    """A clock that stands."""

    def monotonic(self) -> float:
        return 0.0


def test_lines_tell_each_event_once() -> None:
    out = io.StringIO()
    lines = Lines(out, Still())  # type: ignore[arg-type]
    for messages, moves in ((1, []), (1, [VMOVE]), (2, [VMOVE, LOST]), (3, [VMOVE, LOST])):
        (step,) = NOTIFICATION["recovery_workflow_details"]
        step = {**step, "progress_details": step["progress_details"][:messages]}
        notification = {**NOTIFICATION, "recovery_workflow_details": [step]}
        lines.recovery(Recovery.read(notification, moves), 0.0)
    told = [line.split("s  ", 1)[1] for line in out.getvalue().splitlines()]
    assert told == [
        "EvacuateInstancesTask: RUNNING",
        "EvacuateInstancesTask: Evacuating 2 instances.",
        "vm-1: compute1 -> compute2 (1 of 1)",
        "vm-2: failed on compute1: No valid host was found. (2 of 2)",
    ]


def test_lines_of_a_second_recovery_begin_with_its_first_event() -> None:
    out = io.StringIO()
    lines = Lines(out, Still())  # type: ignore[arg-type]
    read = Recovery.read(NOTIFICATION, [VMOVE])
    lines.recovery(read, 0.0)
    first = out.getvalue()
    lines.recovery(dataclasses.replace(read, uuid="another"), 0.0)
    assert out.getvalue() == 2 * first


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_command_and_its_output(width: int) -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=width, height=24), SystemClock())
    screen.command("hacore-manage explain 7")
    screen.output("\n".join(("x" * screen.columns, "    Nova has not heard it.")))
    screen.close()
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert [line for line in lines if line] == [
        "$ hacore-manage explain 7",
        f"   {'x' * screen.columns}",
        "       Nova has not heard it.",
    ]
    assert screen.columns == min(width - 3, 100)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("count", [1, 20, 1000])
def test_the_screen_is_never_too_full(width: int, count: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=24, force_terminal=True)
    screen = Screen(console, SystemClock())
    tasks = (Task("EvacuateInstancesTask", "RUNNING", 0.5, ("Evacuating.",)),)
    moves = tuple(move(n, None, "ongoing") for n in range(1, count + 1))
    screen.recovery(dataclasses.replace(recovery(*moves, status="running"), tasks=tasks), 3.0)
    shown = console.render_lines(screen._progress, pad=False)
    screen.close()
    text = "\n".join("".join(segment.text for segment in line) for line in shown)
    assert len(shown) <= 24
    assert "vm-1 " in text
    assert ("more" in text) == (count == 1000 or (width == 40 and count == 20))
