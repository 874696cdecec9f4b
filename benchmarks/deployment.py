# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is measured: a database of its own, a simulated Nova, and real hacore-api processes.

The servers are those of the tests: HACORE_TEST_MYSQL, HACORE_TEST_POSTGRESQL and
HACORE_TEST_RABBITMQ.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.db import hosts, schema, segments
from hacore.db.engine import Database
from tests import databases
from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.deployment import RABBITMQ
from tests.servers import free_port

KINDS = ("mysql", "postgresql", "sqlite")
_START_S = 60.0
_CONFIGURATION = """\
[DEFAULT]
auth_strategy = noauth2
transport_url = {bus}
[api]
port = {port}
[database]
connection = {connection}
[nova]
auth_type = password
auth_url = {nova}/identity/v3
username = hacore
password = hacore
project_name = service
user_domain_id = default
project_domain_id = default
region_name = RegionOne
"""


@contextlib.contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database, which is dropped at the end."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/hacore.sqlite"
        return
    server, name = databases.SERVERS[kind], databases.name()
    try:
        yield databases.create(server, name)
    finally:
        databases.drop(server, name)


class Deployment:
    """hacore on one database, with registered hosts; `close` ends its processes.

    :ivar db: the database, for what is quicker without the API.
    """

    def __init__(self, folder: Path, connection: str, host_names: list[str]) -> None:
        self._folder = folder
        self._connection = connection
        options = cfg.ConfigOpts()
        hacore_conf.register(options)
        options([], project="hacore", default_config_files=[], default_config_dirs=[])
        options.set_override("connection", connection, group="database")
        self.db = Database(options.database)
        schema.sync(self.db)
        values = {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
        segment = segments.create(self.db, values)
        for name in host_names:
            values = {"name": name, "type": "COMPUTE", "control_attributes": "SSH"}
            hosts.create(self.db, segment.uuid, values)
        self._daemons = [
            Daemon(
                "hacore-sandbox",
                [*_command("hacore_sandbox.cli"), "serve", "--port", "0", "--preset", "instant"],
                folder / "sandbox.log",
            )
        ]
        self._daemons[0].wait_until_it_says("region_name", _START_S)
        self._nova = self._daemons[0].text().split()[2]

    def start_api(self, connection: str | None = None) -> "Api":
        """Start one more process of hacore-api; returns when it answers.

        :param connection: the URL at which it finds the database, if not the same as the others'.
        """
        port = free_port()
        file = self._folder / f"hacore-{port}.conf"
        file.write_text(
            _CONFIGURATION.format(
                bus=RABBITMQ, port=port, connection=connection or self._connection, nova=self._nova
            )
        )
        command = [*_command("hacore.cmd.api"), "--config-file", str(file)]
        started = time.monotonic()
        daemon = Daemon("hacore-api", command, file.with_suffix(".log"))
        self._daemons.append(daemon)
        url = f"http://127.0.0.1:{port}"
        with requests.Session() as http:
            http.trust_env = False

            def answers() -> bool:
                assert daemon.is_running(), f"the API has ended:\n{daemon.text()[-2000:]}"
                try:
                    return http.get(url, timeout=5).status_code in (200, 300)
                except requests.ConnectionError:
                    return False

            wait_for("the API to answer", answers, _START_S, 0.01)
        return Api(url, daemon, time.monotonic() - started)

    def close(self) -> None:
        """End what runs, also when one of them does not end in time."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.db.dispose)
            for daemon in self._daemons:
                stack.callback(daemon.end)


class Api:
    """A running hacore-api.

    :ivar start_s: from the start of the command to the first answer.
    """

    def __init__(self, url: str, daemon: Daemon, start_s: float) -> None:
        self.url = url
        self.start_s = start_s
        self._daemon = daemon

    def resident_mb(self) -> float:
        """Resident memory of the process that answers."""
        for line in Path(f"/proc/{self._worker()}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the kernel does not say VmRSS")

    def cpu_s(self) -> float:
        """Processor time that it has used up."""
        fields = Path(f"/proc/{self._worker()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _worker(self) -> str:
        """The launcher's only child."""
        threads = Path(f"/proc/{self._daemon.pid}/task").iterdir()
        (worker,) = (pid for each in threads for pid in (each / "children").read_text().split())
        return worker


def _command(module: str) -> list[str]:
    """A command of hacore's; not the console script, which may not be on the PATH."""
    code = f"import sys; from {module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code]
