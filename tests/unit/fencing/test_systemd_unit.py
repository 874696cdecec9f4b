# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Agents run under the units that are shipped: these let through what the supervisor needs."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

import pytest

from hacore.fencing.devices import Device
from tests.unit.fencing.conftest import Box

ROOT = pathlib.Path(__file__).resolve().parents[3]
UNITS = [ROOT / "etc" / "systemd" / f"hacore-{name}.service" for name in ("engine", "standalone")]

#: What the supervisor, and hacore for it, asks of the kernel.
_CALLS = {
    *("prctl", "setsid", "kill", "wait4", "prlimit64", "memfd_create", "execve", "pipe2"),
    *("clone", "vfork", "getdents64", "openat", "select", "getppid"),
}
#: What would take from an agent its file, its network, its processes or /proc.
_NOT_SET = {
    *("InaccessiblePaths", "IPAddressDeny", "LimitNPROC", "MemoryDenyWriteExecute"),
    *("PrivateNetwork", "PrivateUsers", "RestrictFileSystems", "TasksMax", "TemporaryFileSystem"),
}


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def unit(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """The values of each setting of a unit, in their order."""
    settings: dict[str, list[str]] = {}
    for line in request.param.read_text().splitlines():
        key, found, value = line.partition("=")
        if found and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


def test_an_agent_has_its_network_its_file_and_its_processes(unit: dict[str, list[str]]) -> None:
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} <= set(unit["RestrictAddressFamilies"][0].split())
    assert not _NOT_SET & unit.keys()
    assert unit["ProtectSystem"] == ["strict"]  # /etc/hacore may be read
    # its own processes are visible, and it can end no others
    assert unit["ProtectProc"] == ["invisible"]
    assert unit["User"] == ["hacore"]


def test_an_agent_gets_no_privileges(unit: dict[str, list[str]]) -> None:
    """It runs what packages have installed, and sends what a device answers to hacore."""
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["UMask"] == ["0077"]


def test_the_supervisor_may_make_its_system_calls(unit: dict[str, list[str]]) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    allowed: set[str] = set()
    for value in unit["SystemCallFilter"]:
        if value.startswith("~"):
            allowed -= _calls(value[1:])
        else:
            allowed |= _calls(value)
    assert allowed >= _CALLS


def _calls(name: str) -> set[str]:
    """The system calls of a set, and of the sets in it."""
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in shown.splitlines()[1:]]
    return set().union(*(_calls(line) for line in lines if line and not line.startswith("#")))


# -- the same settings, by hand

#: In namespaces of its own: ProtectSystem=strict, ProtectProc=invisible, NoNewPrivileges=yes and
#: CapabilityBoundingSet=.  The place stands for the device, which has to be written.
_CONFINE = """\
set -e
mount --bind "$1" "$1"
findmnt -rno TARGET | sort -u | while read -r mount; do
    case "$mount" in /proc*|/sys*|/dev*|"$1") ;; *) mount -o remount,bind,ro "$mount";; esac
done
mount -t proc -o hidepid=invisible proc /proc
shift
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
_ENGINE = """
import pathlib, sys
from hacore import concurrency
concurrency.select()
from hacore.clock import SystemClock
from hacore.fencing.programs import Command, run
from hacore.nova.retry import Unguarded

program, given, deadline_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
try:
    pathlib.Path(program).write_text("")
except OSError as exc:
    print(exc.strerror)
status = dict(line.split(":\\t") for line in open("/proc/self/status") if ":\\t" in line)
print(status["NoNewPrivs"].strip(), int(status["CapEff"], 16), int(status["CapBnd"], 16))
clock = SystemClock()
ended = run(Command(program, given=given), deadline_s, clock, Unguarded(clock))
print(ended.code, ended.out.strip())
left = [path for path in pathlib.Path("/proc").glob("[0-9]*/stat")
        if path.read_text().rpartition(")")[2].split()[0] not in "ZX"]
print(len(left))  # this process, the first one of the namespace
"""
_CONFINED = "Read-only file system\n1 0 0\n"


@dataclasses.dataclass(frozen=True)
class Confined:
    """An engine that runs an agent, confined."""

    device: Device
    box: Box

    def order_off(self, deadline_s: float) -> str:
        given = f"action=off\nplace={self.box.place}\n"
        engine = [sys.executable, "-c", _ENGINE, self.device.agent.program, given, str(deadline_s)]
        return subprocess.run(
            [*_UNSHARE, "sh", "-c", _CONFINE, "sh", str(self.box.place), *engine],
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
            check=True,
        ).stdout


@pytest.fixture
def confined(device: Device, box: Box) -> Confined:
    probe = [*_UNSHARE, "sh", "-c", _CONFINE, "sh", str(box.place), "true"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        pytest.skip(f"needs {exc.filename}")
    if done.returncode:
        pytest.skip(f"this machine lets nobody make namespaces: {done.stderr.strip()}")
    return Confined(device, box)


def test_an_order_under_the_settings_of_the_unit(confined: Confined) -> None:
    assert confined.order_off(30) == f"{_CONFINED}0 Success: Powered OFF\n1\n"
    assert confined.box.power == "off"


@pytest.mark.parametrize("mode", ["hang", "leaves"])
def test_nothing_is_left_under_the_settings_of_the_unit(confined: Confined, mode: str) -> None:
    """The child of the agent has a session of its own; the engine alone is left."""
    confined.box.set(mode=mode)
    code = "None" if mode == "hang" else "0 Success: Powered OFF"
    ended = [line.strip() for line in confined.order_off(6).splitlines()]
    assert ended == [*_CONFINED.splitlines(), code, "1"]
