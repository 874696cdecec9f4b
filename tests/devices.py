# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The BMCs of the sandbox as fencing devices, asked in simulated time instead of by processes."""

import fnmatch
import pathlib
import tempfile
import uuid
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from hacore.clock import Clock
from hacore.engine.fencing import Fencing
from hacore.fencing.programs import Command, Ended, Guard
from hacore_sandbox import fence_agent
from hacore_sandbox.bmc import Bmc
from hacore_sandbox.cloud import Cloud

#: Seconds that an agent takes, and between two looks of one that waits.
_TAKES_S, _LOOK_S = 0.2, 1.0
_DEVICES = """\
[{name}]
hosts = {hosts}
level = {level}
agent = {agent}
{options}
username = admin
password = {password}
"""
#: Of the sandbox's own agent, which shows no identity, and of one that does.
_PLUG = "ip = 127.0.0.1\nplug = {plug}"
_IPMI = "fence_ipmilan"
_LANPLUS = "ip = {host}\nlanplus = 1\ncipher = 17"
_IPMI_OPTIONS = "".join(f'<parameter name="{name}"/>' for name in ("lanplus", "cipher", "privlvl"))


def options(command: Command) -> dict[str, str]:
    """What an agent is given."""
    return dict(line.split("=", 1) for line in command.given.splitlines())


def denied(password: str) -> Ended:
    """What an agent says whose login is refused: some of them name the password."""
    return Ended(1, err=f'Sent: {password}\n"GET /bmc HTTP/1.1" 401 0\nERROR: Unable to connect')


class SimulatedAgents:
    """Runs the sandbox's agent, as far as hacore can tell."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def __call__(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        if command.program == "ipmitool":
            return self._identity(command, deadline_s, guard)
        given = options(command)
        match given["action"]:
            case "metadata":
                return Ended(0, _metadata(pathlib.Path(command.program).name))
            case "validate-all":
                return Ended(0)
        bmc = self._cloud.bmcs.get(given.get("plug") or given["ip"])
        end = clock.monotonic() + deadline_s
        guard.wait(_TAKES_S)
        if bmc.mode == "dead":
            guard.wait(deadline_s - _TAKES_S)
            return Ended(None)
        if given["password"] != "admin":
            return denied(given["password"])
        return self._switch(bmc, end, clock, guard) if given["action"] == "off" else self._read(bmc)

    def _identity(self, command: Command, deadline_s: float, guard: Guard) -> Ended:
        arguments = list(command.arguments)
        bmc = self._cloud.bmcs.get(arguments[arguments.index("-H") + 1])
        guard.wait(_TAKES_S)
        if bmc.mode == "dead":
            guard.wait(deadline_s - _TAKES_S)
            return Ended(None)
        if command.environment["IPMI_PASSWORD"] != "admin":
            return Ended(1, err="RAKP 2 HMAC is invalid")
        return Ended(0, uuid.UUID(self._cloud.bmcs.identity(bmc)).bytes.hex(" "))

    def _read(self, bmc: Bmc) -> Ended:
        self._cloud.advance()
        power = self._cloud.bmcs.power(bmc)
        return Ended(2 if power == "off" else 0, f"Status: {power.upper()}\n")

    def _switch(self, bmc: Bmc, end: float, clock: Clock, guard: Guard) -> Ended:
        if self._is_off(bmc):
            return Ended(0, "Success: Already OFF\n")
        self._send(bmc)
        while not self._is_off(bmc):
            if clock.monotonic() >= end - 3:
                return Ended(1, err="ERROR: Failed: Timed out waiting to power OFF")
            guard.wait(_LOOK_S)
        return Ended(0, "Success: Powered OFF\n")

    def _send(self, bmc: Bmc) -> None:
        self._cloud.bmcs.order(bmc, "off", "admin")

    def _is_off(self, bmc: Bmc) -> bool:
        self._cloud.advance()
        return self._cloud.bmcs.power(bmc) == "off"


def _metadata(agent: str) -> str:
    ours = fence_agent.metadata()
    if agent == fence_agent.NAME:
        return ours
    named = ours.replace(fence_agent.NAME, agent)
    return named.replace("</parameters>", f"{_IPMI_OPTIONS}</parameters>")


class Devices:
    """A file of devices, and the agent that it names.

    :param classes: by name, the hosts and the level of a class of devices, or the hosts of `bmc`:
        these are the BMCs; those of another class are outlets of a power strip, and have the name
        of the class before that of the host.
    :param with_identity: they show which box they are.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        cloud: Cloud,
        classes: str | Mapping[str, Mapping[str, Any]],
        agents: SimulatedAgents | None = None,
        *,
        with_identity: bool = False,
    ) -> None:
        self._conf, self._agents = conf, agents or SimulatedAgents(cloud)
        self._folder = pathlib.Path(tempfile.mkdtemp(dir=conf.state_path))
        self._agent = _IPMI if with_identity else fence_agent.NAME
        agent = self._folder / self._agent
        agent.write_text("")
        agent.chmod(0o755)
        self.classes: Mapping[str, Mapping[str, Any]] = (
            {"bmc": {"hosts": classes}} if isinstance(classes, str) else classes
        )
        for name, values in self.classes.items():
            for host in cloud.state.hosts if name != "bmc" else ():
                if any(fnmatch.fnmatchcase(host, one) for one in values["hosts"].split()):
                    cloud.bmcs.add(f"{name}-{host}", host)
        self.write("admin")
        conf.set_override("devices_file", str(self._file), group="fencing")

    @property
    def _file(self) -> pathlib.Path:
        return self._folder / "fencing.ini"

    def write(self, password: str, more: str = "") -> None:
        """Write the file, with this password."""
        sections = [
            _DEVICES.format(
                name=name,
                hosts=values["hosts"],
                level=values.get("level", 1),
                agent=self._agent,
                options=_LANPLUS if self._agent == _IPMI else _PLUG.format(plug=_plug(name)),
                password=password,
            )
            for name, values in self.classes.items()
        ]
        self._file.touch(mode=0o600)
        self._file.write_text("\n".join(sections) + more)

    def fencing(self, clock: Clock) -> Fencing:
        """Return what an engine has of them."""
        return Fencing(self._conf, clock, self._agents, [str(self._folder)])


def _plug(name: str) -> str:
    """The device of a class, whatever the host."""
    return "{host}" if name == "bmc" else f"{name}-{{host}}"
