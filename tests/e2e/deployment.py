# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore deployed: a database of its own, API and engines as processes of their own.

The servers are HACORE_TEST_MYSQL of tests.databases and HACORE_TEST_RABBITMQ, unless a
test brings its own.
"""

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from tests import databases
from tests.e2e.daemons import Daemon, wait_for
from tests.servers import free_port

MYSQL = databases.SERVERS["mysql"]
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


@dataclasses.dataclass(frozen=True)
class Servers:
    """Where they are.

    :ivar database: MariaDB's or PostgreSQL's, a URL without a database name.
    :ivar rabbitmq: a transport_url.
    """

    database: str = MYSQL
    rabbitmq: str = RABBITMQ


@dataclasses.dataclass(frozen=True)
class Api:
    """One API of a deployment."""

    daemon: Daemon
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Deployment:
    """One hacore; `close` removes all of it.

    :param folder: for the configuration and the logs.
    :param login: how to log in at Keystone, for [nova] and [keystone_authtoken].
    :param options: by group; go before what is set here, which None leaves out.
    :param port: of the first API.
    :param python: of the environment that hacore is installed in.
    :ivar url: of the first API.
    :ivar database_url: SQLAlchemy's.
    """

    def __init__(
        self,
        folder: Path,
        login: Mapping[str, str],
        options: Options,
        port: int | None = None,
        servers: Servers = Servers(),
        python: str = sys.executable,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.apis: dict[str, Api] = {}
        self.engines: dict[str, Daemon] = {}
        self._servers = servers
        self._python = python
        self._database = databases.name()
        self._file = folder / "hacore.conf"
        folder.mkdir(parents=True, exist_ok=True)
        self.database_url = databases.create(servers.database, self._database)
        try:
            self._write(login, options)
            self.manage("db", "sync")
        except BaseException:
            self.close()
            raise

    def _write(self, login: Mapping[str, str], options: Options) -> None:
        section = {"auth_type": "password", **login}
        sections: Options = {
            "DEFAULT": {"transport_url": self._servers.rabbitmq, "verify_interval": 0.5},
            "api": {"port": self.port},
            "database": {"connection": self.database_url},
            "keystone_authtoken": {
                **section,
                "www_authenticate_uri": login["auth_url"],
                "service_token_roles_required": "true",
            },
            # Nova's own there, so that no test waits until it is learned
            "nova": {**section, "region_name": "RegionOne", "report_interval": 1},
            # what a killed engine leaves at the broker goes away after a minute
            "oslo_messaging_rabbit": {"rabbit_transient_queues_ttl": 60},
        }
        for group, values in options.items():
            sections.setdefault(group, {}).update(values)
        self._file.write_text(
            "\n".join(
                f"[{group}]\n"
                + "".join(
                    f"{name} = {value}\n" for name, value in values.items() if value is not None
                )
                for group, values in sections.items()
            )
        )

    def read(self, statement: str) -> list[dict[str, Any]]:
        """Rows of hacore's own tables, for what the API does not show."""
        engine = sa.create_engine(self.database_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.text(statement))]

    # ---------------------------------------------------------- processes

    def manage(self, *arguments: str) -> str:
        """hacore-manage."""
        command = [*_command(self._python, "hacore.cmd.manage"), "--config-file", str(self._file)]
        command += arguments
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_START_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_api(
        self, name: str = "hacore-api", *, under: str | None = None, server: str | None = None
    ) -> Api:
        """Start an API, or start it again; does not wait.

        :param under: gunicorn (two processes) or uwsgi (two); else it is on its own server.
        :param server: another way to the same database, as another node of its cluster.
        """
        known = self.apis.get(name)
        port = known.port if known else free_port() if self.apis else self.port
        self._check_port(port)
        own = self._write_own(name, server, f"[api]\nport = {port}\n")
        if under is None:
            files = ["--config-file", str(self._file), "--config-file", str(own)]
            command = [*_command(self._python, "hacore.cmd.api"), *files]
        else:
            command = wsgi_command(under, port, processes=2, python=self._python)
        env = {"HACORE_CONFIG_FILES": f"{self._file};{own}"}
        # gunicorn would take the hacore of this folder for that of `python`
        daemon = Daemon(name, command, self.folder / f"{name}.log", env, self.folder)
        self.apis[name] = Api(daemon, port)
        return self.apis[name]

    def wait_for_api(self, name: str = "hacore-api") -> None:
        """Return when it answers."""
        api = self.apis[name]

        def answers() -> bool:
            assert api.daemon.is_running(), f"{name} has ended:\n{api.daemon.text()[-2000:]}"
            try:
                return requests.get(api.url, timeout=5).status_code in (200, 300)
            except requests.RequestException:
                return False

        wait_for(f"{name} to answer", answers, _START_S)

    def start_engine(
        self,
        name: str = "engine",
        *,
        server: str | None = None,
        env: Mapping[str, str] | None = None,
        main: str = "hacore.cmd.engine",
    ) -> Daemon:
        """Start an engine, or start it again; does not wait.

        :param server: as of `start_api`.
        :param env: more environment variables.
        :param main: the module whose `main` is run.
        """
        files = ["--config-file", str(self._file)]
        files += ["--config-file", str(self._write_own(name, server))]
        command = [*_command(self._python, main), *files]
        self.engines[name] = Daemon(name, command, self.folder / f"{name}.log", env)
        return self.engines[name]

    def _write_own(self, name: str, server: str | None, text: str = "") -> Path:
        own = self.folder / f"{name}.conf"
        if server is not None:
            text += f"[database]\nconnection = {server}/{self._database}\n"
        own.write_text(text)
        return own

    def _check_port(self, port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as exc:
                raise AssertionError(f"port {port} is taken: {exc}") from exc

    def close(self) -> None:
        """End what runs, in order, and drop the database.  Fails for what does not end."""
        late = []
        for daemon in [*self.engines.values(), *(api.daemon for api in self.apis.values())]:
            try:
                daemon.end()
            except AssertionError as exc:
                late.append(str(exc))
        databases.drop(self._servers.database, self._database)
        assert not late, late

    def logs(self) -> list[tuple[str, str]]:
        """Name and end of every log."""
        return [
            (path.name, path.read_text(errors="replace")[-20000:])
            for path in sorted(self.folder.glob("*.log"))
        ]


def wsgi_command(server: str, port: int, processes: int, python: str = sys.executable) -> list[str]:
    """gunicorn or uwsgi with the application, as doc/operate.md has them."""
    if server == "gunicorn":
        command = [python, "-P", "-m", "gunicorn", "-w", str(processes), "--threads", "4"]
        command += ["--no-control-socket", "-b", f"127.0.0.1:{port}"]
        return [*command, "hacore.cmd.wsgi:application"]
    command = [str(Path(python).parent / "uwsgi"), "--http-socket", f"127.0.0.1:{port}"]
    command += ["--master", "--lazy-apps", "--enable-threads"]
    command += ["--processes", str(processes), "--threads", "4"]
    command += ["--die-on-term", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]
    command += ["--add-header", "Connection: close"]
    return [*command, "--module", "hacore.cmd.wsgi:application"]


def _command(python: str, module: str) -> list[str]:
    """A command of hacore's; not the console script, which may not be on the PATH."""
    code = f"import sys; from {module} import main; sys.exit(main())"
    return [python, "-P", "-c", code]
