# Licensed under the Apache License, Version 2.0; see LICENSE.
"""MariaDB and RabbitMQ servers of a test's own, which it may stop and kill.

They listen on free ports of the loopback interface and keep what they know in a folder
of the test, so that they are what they were when they are started again.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import sqlalchemy as sa

from tests.e2e.daemons import Daemon, wait_for

_START_S = 60.0


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str, *folders: str) -> str:
    """Where it is.  Raises FileNotFoundError, which names it."""
    path = os.pathsep.join([*folders, os.environ["PATH"], "/usr/sbin"])
    if found := shutil.which(name, path=path):
        return found
    raise FileNotFoundError(f"there is no {name}: install MariaDB's and RabbitMQ's servers")


class MariaDB:
    """A running server; `start` also starts it again after `stop` or `kill`.

    :ivar url: SQLAlchemy's, without a database name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port = free_port()
        self.url = f"mysql+pymysql://root@127.0.0.1:{port}"
        self._user = ["--user=root"] if os.geteuid() == 0 else []
        self._options = [
            *("--no-defaults", f"--datadir={folder}/data", *self._user),
            *("--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/sock"),
            *("--skip-name-resolve", "--character-set-server=utf8mb4", "--max-connections=300"),
        ]
        folder.mkdir(parents=True)
        subprocess.run(
            [
                *(_program("mariadb-install-db"), "--no-defaults", *self._user),
                *(f"--datadir={folder}/data", "--skip-test-db"),
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
        )
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        self._daemon = Daemon(
            "MariaDB", [_program("mariadbd"), *self._options], self._folder / "mariadb.log"
        )
        server = sa.create_engine(self.url, poolclass=sa.NullPool)

        def answers() -> bool:
            assert self._daemon.is_running(), self._daemon.text()
            try:
                server.connect().close()
            except sa.exc.OperationalError:
                return False
            return True

        wait_for("MariaDB to answer", answers, _START_S)

    def stop(self) -> None:
        """In order."""
        assert self._daemon.end() == 0, self._daemon.text()

    def kill(self) -> None:
        """As when its machine dies."""
        self._daemon.kill()


class RabbitMQ:
    """A running broker, which keeps its durable queues; as MariaDB.

    :ivar url: a transport_url.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port, self._epmd_port = free_port(), free_port()
        self.url = f"rabbit://guest:guest@127.0.0.1:{port}/"
        folder.mkdir(parents=True)
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        self._environment = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"hacore{port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
            "RABBITMQ_CTL_ERL_ARGS": loopback,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "LANG": "C.UTF-8",
        }
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{port}\nlog.console = true\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
        )
        (folder / "plugins").write_text("[].\n")
        self.start()

    def start(self) -> None:
        """Returns when it takes logins."""
        # Debian's command of this name changes the user and the folders
        program = _program("rabbitmq-server", "/usr/lib/rabbitmq/bin")
        self._daemon = Daemon(
            "RabbitMQ", [program], self._folder / "rabbitmq.log", self._environment
        )
        self._daemon.wait_until_it_says("Server startup complete", _START_S)

    def stop(self) -> None:
        """In order."""
        assert self._daemon.end() == 0, self._daemon.text()

    def kill(self) -> None:
        """As when its machine dies."""
        self._daemon.kill()

    def queues(self) -> dict[str, str]:
        """The type of each, classic or quorum, by its name."""
        done = subprocess.run(
            [
                *(_program("rabbitmqctl", "/usr/lib/rabbitmq/bin"), "--quiet"),
                *("list_queues", "--no-table-headers", "name", "type"),
            ],
            env={**os.environ, **self._environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return dict(line.split("\t") for line in done.stdout.splitlines())

    def close(self) -> None:
        """End it, and the port mapper that Erlang has left running for it."""
        self.stop()
        subprocess.run(
            [_program("epmd"), "-port", str(self._epmd_port), "-kill"],
            check=True,
            capture_output=True,
        )
