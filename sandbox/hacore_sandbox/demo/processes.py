# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The processes of the demo, with their ports, configuration and folder.

Invariant: after `Deployment.__exit__`, for whatever reason, none of its processes runs.
"""

import contextlib
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import requests

from hacore.clock import Clock
from hacore_sandbox.demo.clients import Hacore, Sandbox
from hacore_sandbox.demo.records import DemoError
from hacore_sandbox.fence_agent import NAME as FENCE_AGENT

ACCOUNT = "hacore"
#: What hacore takes for Nova's report interval: Nova's times are whole seconds, and a shorter one
#: could not be seen.
REPORT_INTERVAL_S = 1.0

_START_S = 30.0  #: for a child to answer; takes two seconds on an idle machine
_END_S = 10.0  #: for a child to end after SIGTERM
_COMMAND_S = 60.0  #: for a verb of hacore-manage, which takes a second on an idle machine

_DATABASE = "sqlite:///{folder}/hacore.sqlite"
_CONFIGURATION = """\
[DEFAULT]
state_path = {folder}
auth_strategy = keystone
verify_interval = 0.5

[api]
listen = 127.0.0.1
port = {port}

[database]
connection = {database}

[keystone_authtoken]
auth_type = password
auth_url = {keystone}
www_authenticate_uri = {keystone}
service_token_roles_required = true
{login}

[nova]
auth_type = password
auth_url = {keystone}
region_name = RegionOne
report_interval = {report_interval_s:g}
{login}
"""
#: Shorter than those of a real cloud, but each wait is there.
_FENCING = """\

[fencing]
devices_file = {file}
least_silence = 4
deadline = 10
confirm_delay = 1
"""
_DEVICES = f"""\
[bmc]
hosts = compute*
agent = {FENCE_AGENT}
ip = 127.0.0.1
ipport = {{port}}
plug = {{{{host}}}}
username = admin
password = admin
login_timeout = 2
"""
_LOGIN = f"""\
username = {ACCOUNT}
password = {ACCOUNT}
project_name = service
user_domain_id = default
project_domain_id = default"""


def _command(name: str, module: str, arguments: Sequence[str], given: str = "") -> list[str]:
    """Return the arguments of a process; not the console script, which may not be on the PATH.

    :param given: the arguments of `main`, in Python.
    """
    code = f"import sys; sys.argv[0] = {name!r}; from {module} import main; sys.exit(main({given}))"
    # -P: ignore a folder named hacore in the current one
    return [sys.executable, "-P", "-c", code, *arguments]


def _folder_of_the_agent() -> str:
    """Return where pip has put the sandbox's fence agent: not where packages put theirs."""
    for file in importlib.metadata.files("hacore-sandbox") or ():
        if file.name == FENCE_AGENT:
            return str(Path(str(file.locate())).resolve().parent)
    raise DemoError(f"{FENCE_AGENT} is not installed; install hacore-sandbox with pip.")


class Child:
    """A process that runs a command; see `_command`."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], log: Path, given: str = ""
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                _command(name, module, arguments, given),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"},
                # Ctrl-C reaches the demo only, which then ends its children in order
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise DemoError with the last line of its log if the process has ended."""
        # WNOWAIT: until it is reaped, its process group id is not used again
        exited = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if exited is not None:
            how = "exit status" if exited.si_code == os.CLD_EXITED else "signal"
            raise DemoError(f"{self.name} has ended ({how} {exited.si_status}); {self.last_line()}")

    def last_line(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        return f'its log ends with "{written[-1][:400]}".' if written else "its log is empty."

    def wait_until_it_answers(self, url: str, clock: Clock) -> None:
        """Return once `url` answers; raise DemoError after _START_S."""
        deadline = clock.monotonic() + _START_S
        with requests.Session() as session:
            session.trust_env = False  # no proxy for 127.0.0.1
            while clock.monotonic() < deadline:
                self.check()
                with contextlib.suppress(requests.RequestException):
                    session.get(url, timeout=1.0)
                    return
                clock.wait(threading.Event(), 0.05)
        raise DemoError(
            f"Timed out after {_START_S:.0f} s waiting for {self.name} to answer; "
            f"{self.last_line()}"
        )

    def end(self) -> None:
        """Terminate the process; kill it with its children if it does not end."""
        try:
            self.check()
            self._process.terminate()
            self._process.wait(_END_S)
        except (DemoError, subprocess.TimeoutExpired):
            pass
        finally:
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


class Deployment:
    """The simulated cloud and hacore, on a port each; a context manager.

    :param folder: empty; for the database, the configuration and the logs.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._file = folder / "hacore.conf"
        self._clock = clock
        self._open = contextlib.ExitStack()
        self._children: list[Child] = []
        self._hacore_port = self._reserve_port()

    def __enter__(self) -> "Deployment":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def start_sandbox(self, hosts: int) -> Sandbox:
        """Start the simulated cloud; return once it answers."""
        port = self._reserve_port()
        url = f"http://127.0.0.1:{port}"
        arguments = ["serve", "--port", str(port), "--preset", "demo", "--hosts", str(hosts)]
        arguments += ["--instance-ha-url", f"{self._hacore_url}/v1"]
        child = self._start("hacore-sandbox", "hacore_sandbox.cli", arguments)
        child.wait_until_it_answers(f"{url}/control/settings", self._clock)
        client = Sandbox(child.name, url, child.check)
        self._open.callback(client.close)
        return client

    def start_hacore(
        self,
        sandbox: Sandbox,
        report_interval_s: float = REPORT_INTERVAL_S,
        *,
        fences: bool = False,
    ) -> Hacore:
        """Start hacore-standalone for this cloud; return once it answers, with a token.

        :param report_interval_s: see REPORT_INTERVAL_S.
        :param fences: whether it has the BMCs of the cloud as devices.
        """
        text = _CONFIGURATION.format(
            folder=self._folder,
            database=_DATABASE.format(folder=self._folder),
            port=self._hacore_port,
            keystone=f"{sandbox.url}/identity/v3",
            report_interval_s=report_interval_s,
            login=_LOGIN,
        )
        folder = self._folder / "hacore.conf.d"
        given = ""
        if fences:
            text += _FENCING.format(file=self._write_devices(sandbox))
            given = f"agent_folders={[_folder_of_the_agent()]!r}"
        self._file.write_text(text)
        folder.mkdir()  # empty, so that /etc/hacore is not read
        arguments = ["--config-file", str(self._file), "--config-dir", str(folder)]
        child = self._start("hacore-standalone", "hacore.cmd.standalone", arguments, given)
        child.wait_until_it_answers(self._hacore_url, self._clock)
        client = Hacore(child.name, self._hacore_url, child.check)
        self._open.callback(client.close)
        client.log_in(sandbox.token(ACCOUNT))
        return client

    def manage(self, arguments: Sequence[str], columns: int) -> str:
        """Run a verb of hacore-manage on a terminal that is so wide; return its output.

        Raises DemoError with its last line where it fails.
        """
        try:
            done = subprocess.run(
                _command(
                    "hacore-manage",
                    "hacore.cmd.manage",
                    ["--config-file", str(self._file), *arguments],
                ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_S,
                check=False,
                env={
                    **os.environ,
                    "COLUMNS": str(columns),
                    # whatever /etc/hacore says: it has no option that ignores it
                    "OS_DATABASE__CONNECTION": _DATABASE.format(folder=self._folder),
                },
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as exc:
            verb = " ".join(arguments)
            raise DemoError(
                f"Timed out after {_COMMAND_S:.0f} s waiting for hacore-manage {verb}."
            ) from exc
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise DemoError(
                f"hacore-manage {' '.join(arguments)} has failed (exit status "
                f"{done.returncode}): {said[-1]}."
            )
        return done.stdout

    def check(self) -> None:
        """Raise DemoError if a process has ended."""
        for child in self._children:
            child.check()

    @property
    def _hacore_url(self) -> str:
        return f"http://127.0.0.1:{self._hacore_port}"

    def _write_devices(self, sandbox: Sandbox) -> Path:
        """Write the file of devices: the BMC of each host."""
        file = self._folder / "fencing.ini"
        file.touch(0o600)  # it holds a password: hacore refuses one that others may read
        file.write_text(_DEVICES.format(port=urllib.parse.urlsplit(sandbox.url).port))
        return file

    def _start(self, name: str, module: str, arguments: Sequence[str], given: str = "") -> Child:
        child = Child(name, module, arguments, self._folder / f"{name}.log", given)
        self._open.callback(child.end)
        self._children.append(child)
        return child

    def _reserve_port(self) -> int:
        """A free port that no other process gets: bound, but not listening."""
        held = self._open.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
