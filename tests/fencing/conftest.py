# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures: two BMCs on the loopback interface, and a file of devices that names them.

They need Debian's fence-agents, ipmitool and openipmi, and sushy-tools; see tests/services.py.
"""

import dataclasses
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from hacore.clock import SystemClock
from hacore.fencing import file
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.identity import Identity
from hacore.fencing.programs import CA_BUNDLE, Programs
from hacore.fencing.proving import Known, Outcome, Prover, Settings
from hacore.nova.retry import Unguarded
from tests.e2e.daemons import Daemon, wait_for
from tests.servers import free_port
from tests.services import skip_unless_required

HOST = "compute-1"
_PROGRAMS = ("fence_redfish", "fence_ipmilan", "ipmitool", "ipmi_sim", "openssl")
_START_S = 60.0

#: The defaults of [fencing] take minutes: .ci/long has the time.
REAL = os.environ.get("HACORE_FENCING_REAL_TIMES") == "1"
SETTINGS = Settings(40, 3, 30, False) if REAL else Settings(8, 0.5, 2, False)


@pytest.fixture(scope="session", autouse=True)
def parts() -> None:
    """What has to be installed."""
    skip_unless_required("fence-agents, ipmitool, openipmi and sushy-tools")
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    missing += [] if importlib.util.find_spec("sushy_tools") else ["sushy-tools"]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}")


@dataclasses.dataclass
class Bmc:
    """A running BMC, and the host that it switches.

    :ivar on, off: what its file says.
    """

    folder: pathlib.Path
    port: int
    on: str
    off: str

    def reset(self) -> None:
        for name, value in (("behave", "normal"), ("delay", "0"), ("power", self.on)):
            (self.folder / name).write_text(value)
        (self.folder / "pending").unlink(missing_ok=True)

    def behaves(self, how: str) -> None:
        (self.folder / "behave").write_text(how)

    def takes(self, seconds: int) -> None:
        (self.folder / "delay").write_text(str(seconds))

    def switch(self, *, on: bool) -> None:
        (self.folder / "power").write_text(self.on if on else self.off)
        (self.folder / "pending").unlink(missing_ok=True)

    def is_on(self) -> bool:
        return (self.folder / "power").read_text().strip() == self.on


def certificate(folder: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Make a certificate that signs itself, for 127.0.0.1; certificate and key."""
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    made += ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(made, check=True, capture_output=True)
    return paths


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of bmc.crt, which the Redfish service shows, and other.crt."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("bmc", "other"):
        certificate(folder, name)
    return folder


@pytest.fixture(scope="session")
def redfish_service(
    tmp_path_factory: pytest.TempPathFactory, certificates: pathlib.Path
) -> Iterator[Bmc]:
    bmc = Bmc(tmp_path_factory.mktemp("redfish"), free_port(), on="On", off="Off")
    bmc.reset()
    files = (str(certificates / "bmc.crt"), str(certificates / "bmc.key"))
    yield from _running(bmc, "redfish_emulator", "Running on", *files)


@pytest.fixture(scope="session")
def ipmi_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    bmc = Bmc(tmp_path_factory.mktemp("ipmi"), free_port(), on="1", off="0")
    bmc.reset()
    yield from _running(bmc, "ipmi_emulator", None)


def _running(bmc: Bmc, module: str, says: str | None, *arguments: str) -> Iterator[Bmc]:
    command = [sys.executable, "-m", f"tests.fencing.{module}", str(bmc.folder), str(bmc.port)]
    daemon = Daemon(module, [*command, *arguments], bmc.folder / "log", cwd=pathlib.Path.cwd())
    try:
        if says:
            daemon.wait_until_it_says(says, _START_S)
        else:  # it says nothing
            wait_for("the BMC's port", lambda: _bound(bmc.port), _START_S, 0.05)
        yield bmc
    finally:
        daemon.kill()


def _bound(port: int) -> bool:
    return f":{port:04X} " in pathlib.Path("/proc/net/udp").read_text()


@pytest.fixture
def redfish(
    redfish_service: Bmc, certificates: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Bmc:
    """The Redfish service, its host on, and its certificate trusted."""
    monkeypatch.setenv(CA_BUNDLE, str(certificates / "bmc.crt"))
    redfish_service.reset()
    return redfish_service


@pytest.fixture
def ipmi(ipmi_service: Bmc) -> Bmc:
    """The IPMI BMC, its host on."""
    ipmi_service.reset()
    return ipmi_service


@pytest.fixture
def programs() -> Programs:
    clock = SystemClock()
    return Programs(clock, Unguarded(clock))


class Operator:
    """Writes the file of devices, and has the host proved off.

    :ivar ordered: the classes of devices whose order was announced.
    :ivar answers: to the orders.
    """

    def __init__(self, folder: pathlib.Path, programs: Programs) -> None:
        self._path, self._programs = folder / "fencing.ini", programs
        self.ordered: list[str] = []
        self.answers: list[Answer] = []
        #: Called when an order was answered.
        self.then: Callable[[], None] = lambda: None

    def may_order(self, device: Device) -> None:
        """Always."""

    def about_to_order(self, device: Device) -> None:
        self.ordered.append(device.name)

    def answered(self, device: Device, answer: Answer) -> None:
        self.answers.append(answer)
        self.then()

    def levels(self, *classes: Mapping[str, str]) -> tuple[tuple[Device, ...], ...]:
        """What the file says of the host; the first class is level 1, and so on."""
        text = ""
        for level, options in enumerate(classes, 1):
            text += f"[bmc{level}]\nhosts = {HOST}\nlevel = {level}\n"
            text += "".join(f"{key} = {value}\n" for key, value in options.items())
        self._path.write_text(text)
        self._path.chmod(0o600)
        return file.read(str(self._path), self._programs).of(HOST)

    def proves(
        self,
        *classes: Mapping[str, str],
        known: Known | None = None,
        settings: Settings = SETTINGS,
    ) -> Outcome:
        prover = Prover(settings, self._programs)
        return prover.prove(self.levels(*classes), self, known or {}, {})

    def status(self, options: Mapping[str, str]) -> tuple[Answer, Identity]:
        ((device,),) = self.levels(options)
        return Prover(SETTINGS, self._programs).status(device)


@pytest.fixture
def operator(tmp_path: pathlib.Path, programs: Programs) -> Operator:
    return Operator(tmp_path, programs)
