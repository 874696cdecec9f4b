# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The BMCs of the sandbox as fencing devices, asked in simulated time instead of by processes."""

import pathlib
import tempfile

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
[bmc]
hosts = {hosts}
agent = {agent}
ip = 127.0.0.1
plug = {{host}}
username = admin
password = {password}
"""


class SimulatedAgents:
    """Runs the sandbox's agent, as far as hacore can tell."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def __call__(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        given = dict(line.split("=", 1) for line in command.given.splitlines())
        match given["action"]:
            case "metadata":
                return Ended(0, fence_agent.metadata())
            case "validate-all":
                return Ended(0)
        bmc = self._cloud.bmcs.get(given["plug"])
        end = clock.monotonic() + deadline_s
        guard.wait(_TAKES_S)
        if bmc.mode == "dead":
            guard.wait(deadline_s - _TAKES_S)
            return Ended(None)
        if given["password"] != "admin":
            said = f'Sent: {given["password"]}\n"GET /bmc HTTP/1.1" 401 0'  # as some agents do
            return Ended(1, err=f"{said}\nERROR: Unable to connect")
        return self._switch(bmc, end, clock, guard) if given["action"] == "off" else self._read(bmc)

    def _read(self, bmc: Bmc) -> Ended:
        self._cloud.advance()
        power = self._cloud.bmcs.power(bmc)
        return Ended(2 if power == "off" else 0, f"Status: {power.upper()}\n")

    def _switch(self, bmc: Bmc, end: float, clock: Clock, guard: Guard) -> Ended:
        if self._is_off(bmc):
            return Ended(0, "Success: Already OFF\n")
        self._cloud.bmcs.order(bmc, "off", "admin")
        while not self._is_off(bmc):
            if clock.monotonic() >= end - 3:
                return Ended(1, err="ERROR: Failed: Timed out waiting to power OFF")
            guard.wait(_LOOK_S)
        return Ended(0, "Success: Powered OFF\n")

    def _is_off(self, bmc: Bmc) -> bool:
        self._cloud.advance()
        return self._cloud.bmcs.power(bmc) == "off"


class Devices:
    """A file of devices, and the agent that it names."""

    def __init__(self, conf: cfg.ConfigOpts, cloud: Cloud, hosts: str) -> None:
        self._conf, self._agents = conf, SimulatedAgents(cloud)
        self._folder = pathlib.Path(tempfile.mkdtemp(dir=conf.state_path))
        agent = self._folder / fence_agent.NAME
        agent.write_text("")
        agent.chmod(0o755)
        self._hosts = hosts
        self.write("admin")
        conf.set_override("devices_file", str(self._file), group="fencing")

    @property
    def _file(self) -> pathlib.Path:
        return self._folder / "fencing.ini"

    def write(self, password: str) -> None:
        """Write the file, with this password."""
        self._file.touch(mode=0o600)
        self._file.write_text(
            _DEVICES.format(hosts=self._hosts, agent=fence_agent.NAME, password=password)
        )

    def fencing(self, clock: Clock) -> Fencing:
        """Return what an engine has of them."""
        return Fencing(self._conf, clock, self._agents, [str(self._folder)])
