# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The API behind each of its web servers, a Keystone that knows a few tokens, a raw client."""

import contextlib
import datetime
import http.server
import importlib.util
import json
import re
import shutil
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.db import schema
from hacore.db.engine import Database
from hacore.db.models import Base, Host, Move, Notification, Operation, Pause, Segment
from tests import factories
from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.deployment import wsgi_command
from tests.servers import free_port

KINDS = ("cheroot", "gunicorn", "uwsgi")

#: Who has a token, and what Keystone says of it; the token is the name.
CALLERS = {
    "reader": ["reader"],
    "member": ["member", "reader"],
    "service": ["service"],
    "admin": ["admin", "member", "reader"],
    "system": ["admin", "member", "reader"],  # of the system: of no project
    "auditor": ["reader"],  # of the system, too
    "nova": ["admin", "service", "member", "reader"],  # a service that is an administrator
}
OF_THE_SYSTEM = ("system", "auditor")
_PATIENCE_S = 60.0
_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

#: What is in each database.
IDS = {
    "segment_id": "5e900000-0000-4000-8000-000000000001",
    "host_id": "40570000-0000-4000-8000-000000000002",
    "notification_id": "40710000-0000-4000-8000-000000000003",
    "vmove_id": "30fe0000-0000-4000-8000-000000000004",
    "operation_id": "09e40000-0000-4000-8000-000000000005",
    "version_id": "v1.0",
    "alias": "segments",
}


def project_of(caller: str) -> str:
    """The id of the project that a caller's token is for."""
    return caller.encode().hex().ljust(32, "0")


class TokenServer:
    """The part of Keystone that keystonemiddleware uses: log in, and validate tokens."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Keystone)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v3"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


class _Keystone(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        url = f"http://{self.headers['Host']}/v3"
        endpoints = [
            {"interface": interface, "region_id": "RegionOne", "region": "RegionOne", "url": url}
            for interface in ("public", "internal", "admin")
        ]
        catalog = [{"type": "identity", "name": "keystone", "endpoints": endpoints}]
        token = {**_token("hacore", ["service"]), "catalog": catalog}
        self._answer(201, {"token": token}, "hacore's own")

    def do_GET(self) -> None:
        if not self.path.startswith("/v3/auth/tokens"):
            link = {"rel": "self", "href": f"http://{self.headers['Host']}/v3/"}
            version = {"id": "v3.14", "status": "stable", "links": [link]}
            self._answer(200, {"version": version})
            return
        name = self.headers["X-Subject-Token"]
        if name in CALLERS:
            self._answer(200, {"token": _token(name, CALLERS[name])}, name)
        else:
            self._answer(404, {"error": {"code": 404, "message": "no such token"}})

    def _answer(self, status: int, body: Any, token: str | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if token is not None:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(data)


def _token(name: str, roles: list[str]) -> dict[str, Any]:
    domain = {"id": "default", "name": "Default"}
    token: dict[str, Any] = {
        "methods": ["password"],
        "user": {"id": f"id-of-{name}", "name": name, "domain": domain},
        "roles": [{"id": f"id-of-{role}", "name": role} for role in roles],
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "expires_at": "2096-01-01T00:00:00.000000Z",
        "audit_ids": ["x"],
    }
    if name in OF_THE_SYSTEM:
        return {**token, "system": {"all": True}}
    return {**token, "project": {"id": project_of(name), "name": name, "domain": domain}}


class Server:
    """hacore-api, or the application under gunicorn or uwsgi, with a database of its own.

    :param database: a file with all tables, of which it gets a copy.
    :param options: the configuration, but for where it listens and its database.
    """

    def __init__(self, kind: str, folder: Path, database: Path, options: str) -> None:
        folder.mkdir()
        self.port = free_port()
        connection = f"sqlite:///{shutil.copy(database, folder)}"
        self._db = _open(connection)
        self.fill()
        file = folder / "hacore.conf"
        file.write_text(
            f"[api]\nport = {self.port}\n"
            f"[database]\nconnection = {connection}\nsqlite_synchronous = false\n{options}"
        )
        if kind == "cheroot":
            code = "import sys; from hacore.cmd.api import main; sys.exit(main())"
            command = [sys.executable, "-P", "-c", code, "--config-file", str(file)]
            env = {}
        else:
            command = wsgi_command(kind, self.port, processes=1)
            # green threads are for hacore's own commands
            env = {"HACORE_CONFIG_FILES": str(file), "HACORE_CONCURRENCY": "threading"}
        self._daemon = Daemon(kind, command, folder / "log", env)

    def wait(self) -> None:
        """Return when it answers."""

        def answers() -> bool:
            assert self._daemon.is_running(), self._daemon.text()[-2000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                    return True
            except OSError:
                return False

        wait_for(f"{self._daemon.name} to answer", answers, _PATIENCE_S, 0.05)

    def close(self) -> None:
        self._db.dispose()
        self._daemon.end()

    def fill(self, *, held: bool = False) -> None:
        """Leave one of each in the database: segment, host, notification, move, operation.

        :param held: the notification is held, Nova does not hear its host, and recoveries are
            paused.
        """
        segment, host = IDS["segment_id"], IDS["host_id"]
        common = {"created_at": _NOW}
        state = {"status": "finished"}
        if held:
            state = {"status": "error", "held_rule": "majority", "held_since": _NOW}
        rows = [
            Segment(
                uuid=segment, name="a", recovery_method="auto", service_type="COMPUTE", **common
            ),
            Host(
                uuid=host,
                name="compute1",
                type="COMPUTE",
                control_attributes="SSH",
                segment_uuid=segment,
                **common,
            ),
            Notification(
                uuid=IDS["notification_id"],
                type="COMPUTE_HOST",
                generated_time=_NOW,
                payload={},
                source_host_uuid=host,
                segment_uuid=segment,
                subject=f"host:{host}",
                **state,
                **common,
            ),
            Move(
                uuid=IDS["vmove_id"],
                notification_uuid=IDS["notification_id"],
                instance_uuid=IDS["vmove_id"],
                instance_name="vm",
                source_host="compute1",
                status="succeeded",
                position=0,
                vm_state="active",
                power_state=1,
                **common,
            ),
        ]
        rows.append(_operation(host))
        if held:
            rows.append(Pause(scope="all", by="a", reason="b", **common))
        with self._db.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                if table.name != "services":
                    session.execute(sa.delete(table))
            for row in rows:
                session.add(row)
                session.flush()
        if held:
            factories.look(self._db, "compute1")

    def rows(self) -> dict[str, list[Any]]:
        """The whole database, without the table of services."""
        with self._db.read() as session:
            return {
                table.name: [tuple(row) for row in session.execute(sa.select(table))]
                for table in Base.metadata.sorted_tables
                if table.name != "services"
            }


def _operation(host: str) -> Operation:
    """One that has ended: another one may begin."""
    return Operation(
        uuid=IDS["operation_id"],
        type="return",
        status="finished",
        host_uuid=host,
        by="a",
        options={},
        deadline=_NOW,
        did={},
        created_at=_NOW,
    )


@contextlib.contextmanager
def servers(folder: Path, options: str) -> Iterator[dict[str, Server]]:
    """One of each web server that is installed, started and stopped together."""
    database = folder / "hacore.sqlite"
    db = _open(f"sqlite:///{database}")
    schema.sync(db)
    db.dispose()
    started: dict[str, Server] = {}
    try:
        for kind in filter(is_there, KINDS):
            started[kind] = Server(kind, folder / kind, database, options)
        for server in started.values():
            server.wait()
        yield started
    finally:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.close, started.values()))


def _open(connection: str) -> Database:
    conf = cfg.ConfigOpts()
    hacore_conf.register(conf)
    conf([], project="hacore", default_config_files=[], default_config_dirs=[])
    conf.set_override("connection", connection, group="database")
    conf.set_override("sqlite_synchronous", False, group="database")
    return Database(conf.database)


class Answer(NamedTuple):
    status: int  # 0: the connection was closed without one
    body: bytes

    @property
    def is_a_fault_of_hacore(self) -> bool:
        """Or of the web server, or no fault."""
        return self.body.startswith(b"{") and b'{"code": %d,' % self.status in self.body


def is_there(kind: str) -> bool:
    """Whether a web server is installed."""
    if kind == "uwsgi":
        return shutil.which("uwsgi", path=str(Path(sys.executable).parent)) is not None
    return importlib.util.find_spec(kind) is not None


def ask(port: int, request: bytes) -> Answer:
    """Send bytes as they are; read until the server closes."""
    answer = b""
    with socket.socket() as sock:
        sock.settimeout(_PATIENCE_S)
        sock.connect(("127.0.0.1", port))
        # a server may close, with what it has not read yet, as soon as it has answered
        with contextlib.suppress(ConnectionError):
            sock.sendall(request)
            while more := sock.recv(65536):
                answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    # uwsgi begins it with what it took for the client's protocol
    status = re.match(rb"[^\r\n]* (\d{3}) [A-Z]", head)
    assert status or not answer, (request, answer)
    return Answer(int(status[1]) if status else 0, body)
