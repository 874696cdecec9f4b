# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore's commands as real processes, a cloud for them, and what they tell systemd."""

import contextlib
import dataclasses
import os
import pathlib
import select
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping

from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.db import schema
from hacore.db.engine import Database
from tests.e2e.daemons import Daemon

#: Options by name, by group.
Configuration = Mapping[str, Mapping[str, object]]

_START_S = 60.0


def command(name: str) -> str:
    """The path of one of hacore's commands, as installed beside the tests' Python."""
    return str(pathlib.Path(sysconfig.get_path("scripts")) / name)


@contextlib.contextmanager
def sandbox(
    folder: pathlib.Path, *options: str, program: str | None = None
) -> Iterator[dict[str, str]]:
    """Serve a simulated cloud; yields the [nova] section to log in to it.

    :param program: hacore-sandbox of another environment.
    """
    serve = [program or command("hacore-sandbox"), "serve", "--port", "0", "--preset", "instant"]
    daemon = Daemon("hacore-sandbox", [*serve, *options], folder / "sandbox.log")
    try:
        daemon.wait_until_it_says("region_name", _START_S)
        lines = daemon.text().splitlines()
        section = lines[lines.index("[nova]") + 1 :]
        yield dict(line.split(" = ", 1) for line in section if " = " in line)
    finally:
        daemon.end()


def write(path: pathlib.Path, configuration: Configuration) -> pathlib.Path:
    """Write a configuration file; an option whose value is None is left out."""
    lines: list[str] = []
    for group, options in configuration.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in options.items() if value is not None]
    path.write_text("\n".join(lines) + "\n")
    return path


def changed(configuration: Configuration, changes: Configuration) -> Configuration:
    """Return a configuration with some options changed; None takes one away."""
    groups = {**configuration, **changes}
    return {group: {**configuration.get(group, {}), **changes.get(group, {})} for group in groups}


def make_tables(url: str) -> None:
    """Bring a database to the schema of this version."""
    conf = cfg.ConfigOpts()
    hacore_conf.register(conf)
    conf([], project="hacore", default_config_files=[], default_config_dirs=[])
    conf.set_override("connection", url, group="database")
    database = Database(conf.database)
    schema.sync(database)
    database.dispose()


class Supervisor:
    """The end of systemd's notification socket that systemd holds."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self.environment = {"NOTIFY_SOCKET": str(self._path)}
        #: What was told so far, in order.
        self.told: list[str] = []

    def wait_for(self, line: str, timeout_s: float) -> None:
        """Read until `line` is told; AssertionError with all that was told otherwise."""
        deadline = time.monotonic() + timeout_s
        while line not in self.told:
            remaining_s = deadline - time.monotonic()
            assert remaining_s > 0, f"no {line} within {timeout_s:g} s, only {self.told}"
            self._read(remaining_s)

    def all_told(self) -> list[str]:
        """Everything that was told, once those who tell have ended."""
        while self._read(0):
            pass
        return self.told

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._socket], [], [], timeout_s)
        if ready:
            self.told += self._socket.recv(4096).decode().splitlines()
        return bool(ready)

    def close(self) -> None:
        self._socket.close()
        self._path.unlink()


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    output: str
    error: str
    told: list[str]


def run(
    folder: pathlib.Path, arguments: list[str], environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command that is to end by itself."""
    supervisor = Supervisor(folder)
    try:
        done = subprocess.run(
            [command(arguments[0]), *arguments[1:]],
            env={**os.environ, **supervisor.environment, **(environment or {})},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
            start_new_session=True,
        )
        return Ended(done.returncode, done.stdout, done.stderr, supervisor.all_told())
    finally:
        supervisor.close()
