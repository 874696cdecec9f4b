# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore deployed: a database of its own, API and engines as processes of their own.

The servers are those of HACORE_TEST_MYSQL, a URL without a database name, and of
HACORE_TEST_RABBITMQ.
"""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from tests.e2e.daemons import Daemon, wait_for

MYSQL = os.environ.get("HACORE_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306")
RABBITMQ = os.environ.get("HACORE_TEST_RABBITMQ", "rabbit://guest:guest@127.0.0.1:5672/")

Options = dict[str, dict[str, Any]]
_START_S = 60.0


def missing_servers() -> list[str]:
    """The servers above that do not listen."""
    missing = []
    for url in (MYSQL, RABBITMQ):
        address = sa.make_url(url)
        try:
            socket.create_connection((address.host or "127.0.0.1", address.port or 0), 2).close()
        except OSError:
            missing.append(address.render_as_string())
    return missing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Deployment:
    """One hacore; `close` removes all of it.

    :param folder: for the configuration and the logs.
    :param login: how to log in at Keystone, for [nova] and [keystone_authtoken].
    :param options: by group; go before what is set here.
    """

    def __init__(
        self, folder: Path, login: Mapping[str, str], options: Options, port: int | None = None
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api: Daemon | None = None
        self.engines: dict[str, Daemon] = {}
        self._database = f"hacore_e2e_{uuid.uuid4().hex[:12]}"
        self._file = folder / "hacore.conf"
        folder.mkdir(parents=True, exist_ok=True)
        self._write(login, options)
        self._execute(f"CREATE DATABASE {self._database}")
        try:
            self.manage("db", "sync")
        except BaseException:
            self.close()
            raise

    def _write(self, login: Mapping[str, str], options: Options) -> None:
        section = {"auth_type": "password", **login}
        sections: Options = {
            "DEFAULT": {"transport_url": RABBITMQ, "verify_interval": 0.5},
            "api": {"port": self.port},
            "database": {"connection": f"{MYSQL}/{self._database}?charset=utf8mb4"},
            "keystone_authtoken": {
                **section,
                "www_authenticate_uri": login["auth_url"],
                "service_token_roles_required": "true",
            },
            "nova": {**section, "region_name": "RegionOne"},
            # what a killed engine leaves at the broker goes away after a minute
            "oslo_messaging_rabbit": {"rabbit_transient_queues_ttl": 60},
        }
        for group, values in options.items():
            sections.setdefault(group, {}).update(values)
        self._file.write_text(
            "\n".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
                for group, values in sections.items()
            )
        )

    def _execute(self, statement: str) -> None:
        server = sa.create_engine(MYSQL, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with server.connect() as connection:
            connection.execute(sa.text(statement))

    def read(self, statement: str) -> list[dict[str, Any]]:
        """Rows of hacore's own tables, for what the API does not show."""
        engine = sa.create_engine(f"{MYSQL}/{self._database}", poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.text(statement))]

    # ---------------------------------------------------------- processes

    def manage(self, *arguments: str) -> str:
        """hacore-manage."""
        command = [*_command("manage"), "--config-file", str(self._file), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_START_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_api(self, *, gunicorn: bool) -> Daemon:
        """Start the API: under gunicorn with two processes, or on its own server."""
        self._check_port()
        command = [*_command("api"), "--config-file", str(self._file)]
        if gunicorn:
            command = [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "4"]
            command += ["--no-control-socket", "-b", f"127.0.0.1:{self.port}"]
            command += ["hacore.cmd.wsgi:application"]
        env = {"HACORE_CONFIG_FILES": str(self._file)}
        self.api = Daemon("hacore-api", command, self.folder / "hacore-api.log", env)
        return self.api

    def wait_for_api(self) -> None:
        """Return when it answers."""

        def answers() -> bool:
            assert self.api is not None
            assert self.api.is_running(), f"the API has ended:\n{self.api.text()[-2000:]}"
            try:
                return requests.get(self.url, timeout=5).status_code in (200, 300)
            except requests.RequestException:
                return False

        wait_for("the API to answer", answers, _START_S)

    def start_engine(self, name: str = "engine") -> Daemon:
        """Start an engine, or start it again; does not wait."""
        command = [*_command("engine"), "--config-file", str(self._file)]
        self.engines[name] = Daemon(name, command, self.folder / f"{name}.log")
        return self.engines[name]

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as exc:
                raise AssertionError(f"port {self.port} is taken: {exc}") from exc

    def close(self) -> None:
        """End what runs, in order, and drop the database.  Fails for what does not end."""
        late = []
        for daemon in [*self.engines.values(), *([self.api] if self.api else [])]:
            try:
                daemon.end()
            except AssertionError as exc:
                late.append(str(exc))
        self._execute(f"DROP DATABASE IF EXISTS {self._database}")
        assert not late, late

    def logs(self) -> list[tuple[str, str]]:
        """Name and end of every log."""
        return [
            (path.name, path.read_text(errors="replace")[-20000:])
            for path in sorted(self.folder.glob("*.log"))
        ]


def _command(module: str) -> list[str]:
    """A command of hacore's; not the console script, which may not be on the PATH."""
    code = f"import sys; from hacore.cmd.{module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code]
