# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A fence agent of the tests' own: a program in a folder of its own, run like any other."""

import dataclasses
import json
import os
import pathlib
import stat
import sys
from collections.abc import Callable
from typing import Any

import pytest

from hacore.clock import SystemClock
from hacore.fencing import file
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device, Devices
from hacore.fencing.programs import Programs
from hacore.nova.retry import Unguarded

#: What the device does is in files of the folder that the option `place` names.
_AGENT = '''#!{python} -IS
import json, os, pathlib, subprocess, sys, time

given = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin)
action = given.get("action", "reboot")
if action == "metadata":
    print("""{metadata}""")
    sys.exit(0)
if action == "validate-all":
    sys.stderr.write("ERROR: Failed: You have to enter fence address" if "ip" not in given else "")
    sys.exit("ip" not in given)
place = pathlib.Path(given["place"])
with open(place / "calls", "a") as calls:
    calls.write(json.dumps({{"given": given, "argv": sys.argv, "environment": dict(os.environ)}}))
    calls.write("\\n")
mode = (place / "mode").read_text()
power = place / "power"


def child(seconds="600"):
    """A child with a session of its own, as those of pexpect have."""
    made = subprocess.Popen(
        ["/bin/sleep", seconds], start_new_session=True, stdin=subprocess.DEVNULL
    )
    (place / "child").write_text(str(made.pid))


if mode == "hang":
    child()
    time.sleep(600)
if mode == "leaves":
    child()
if mode == "leaks":
    sys.stderr.write("DEBUG: Sent: " + given["password"] + "\\n")
    sys.exit(1)
if mode == "chatters":
    sys.stderr.write("x" * 3_000_000)
if mode == "fails":
    sys.stderr.write((place / "words").read_text())
    sys.exit(1)
if mode == "dies":
    os.abort()
now = power.read_text()
if action == "status":
    states = (place / "states").read_text().split() if (place / "states").exists() else []
    if states:
        now = states.pop(0)
        (place / "states").write_text(" ".join(states))
    print("Status: " + now.upper())
    sys.exit(2 if now == "off" else 0)
if now == "off":
    print("Success: Already OFF")
elif mode == "ignores":
    sys.stderr.write("ERROR: Failed: Timed out waiting to power OFF")
    sys.exit(1)
else:
    power.write_text("on" if mode == "lies" else "off")
    print("Success: Powered OFF")
'''

_METADATA = """<?xml version="1.0" ?>
<resource-agent name="{name}" shortdesc="of a test">
<parameters>
{parameters}
</parameters>
<actions>
{actions}
</actions>
</resource-agent>"""

OPTIONS = ("action", "ip", "ipport", "username", "password", "password_script", "plug", "place")
MORE = ("systems_uri", "lanplus", "cipher", "verbose", "ssl_insecure", "ipmitool_path")


class Agents:
    """The folder of agents."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        *,
        known_as: str | None = None,
        actions: tuple[str, ...] = ("off", "status", "metadata"),
    ) -> pathlib.Path:
        parameters = [f'<parameter name="{option}" unique="0"/>' for option in OPTIONS + MORE]
        parameters += ['<parameter name="login" deprecated="1"/>']
        parameters += ['<parameter name="username" obsoletes="login"/>']
        metadata = _METADATA.format(
            name=known_as or name,
            parameters="\n".join(parameters),
            actions="\n".join(f'<action name="{action}"/>' for action in actions),
        )
        path = self.folder / name
        path.write_text(_AGENT.format(python=sys.executable, metadata=metadata))
        path.chmod(stat.S_IRWXU)
        return path


@dataclasses.dataclass
class Box:
    """A host and its device."""

    place: pathlib.Path

    def set(self, **files: str) -> None:
        for name, text in files.items():
            (self.place / name).write_text(text)

    @property
    def power(self) -> str:
        return (self.place / "power").read_text()

    def calls(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.place / "calls").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def actions(self) -> list[str]:
        return [call["given"]["action"] for call in self.calls()]

    def child(self) -> int | None:
        """The process that the agent has left, or started."""
        try:
            return int((self.place / "child").read_text())
        except (FileNotFoundError, ValueError):
            return None


def is_running(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.fixture
def agents(tmp_path: pathlib.Path) -> Agents:
    """A folder with fence_fake."""
    folder = tmp_path / "sbin"
    folder.mkdir()
    made = Agents(folder)
    made.install("fence_fake")
    return made


@pytest.fixture
def box(tmp_path: pathlib.Path) -> Box:
    return new_box(tmp_path / "box")


def new_box(place: pathlib.Path) -> Box:
    place.mkdir()
    made = Box(place)
    made.set(power="on", mode="normal")
    return made


@pytest.fixture
def programs() -> Programs:
    clock = SystemClock()
    return Programs(clock, Unguarded(clock))


Read = Callable[[str], Devices]


@pytest.fixture
def fencing_ini(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "fencing.ini"
    path.touch(0o640)
    return path


@pytest.fixture
def read(fencing_ini: pathlib.Path, agents: Agents, programs: Programs) -> Read:
    """Reads a file of devices of this text."""

    def made(text: str) -> Devices:
        fencing_ini.write_text(text)
        return file.read(str(fencing_ini), programs, [str(agents.folder)])

    return made


@pytest.fixture
def device(read: Read, box: Box) -> Device:
    """The device of compute-1."""
    return device_of(read, box)


def device_of(read: Read, box: Box, more: str = "", password: str = "s3cret") -> Device:
    text = f"[fake]\nhosts = compute-1\nagent = fence_fake\nip = 10.0.0.1\nplace = {box.place}\n"
    text += f"username = admin\n{more}"
    text += f"password = {password}\n" if password else ""
    ((found,),) = read(text).of("compute-1")
    return found


@dataclasses.dataclass
class Orders:
    """Remembers the orders of a proof; `refuse` is raised instead of allowing one."""

    announced: list[str] = dataclasses.field(default_factory=list)
    answers: list[Answer] = dataclasses.field(default_factory=list)
    refuse: Exception | None = None

    def may_order(self, device: Device) -> None:
        if self.refuse:
            raise self.refuse

    def about_to_order(self, device: Device) -> None:
        self.announced.append(str(device.key))

    def answered(self, device: Device, answer: Answer) -> None:
        self.answers.append(answer)


def processes_with(word: str) -> list[int]:
    """Those that show a word in their command line or in their environment."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if word.encode() in (path / name).read_bytes() and int(path.name) != os.getpid():
                    found.append(int(path.name))
            except OSError:
                continue
    return found
