# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The API, in process and over HTTP, without keystone; Nova is a list of names."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from falcon import testing
from keystoneauth1 import session
from keystoneauth1.identity import v3
from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.api.app import make_app
from hacore.api.server import make_server
from hacore.clock import SystemClock
from hacore.db.engine import Database
from hacore.errors import HacoreError
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.rest import Rest
from hacore_sandbox.server import SandboxServer
from hacore_sandbox.settings import PRESETS

COMPUTES = ("compute1", "compute2", "compute3", "compute4")


class Computes:
    """What the API asks Nova: whether it has a compute service of a name."""

    def __init__(self) -> None:
        self.names = set(COMPUTES)
        self.asked: list[str] = []
        self.error: HacoreError | None = None

    def host_names(self) -> list[str]:
        return sorted(self.names)

    def service(self, host: str) -> object | None:
        self.asked.append(host)
        if self.error is not None:
            raise self.error
        return object() if host in self.names else None


@pytest.fixture
def nova() -> Computes:
    return Computes()


@pytest.fixture
def wakes() -> list[str]:
    """Grows by one entry each time that the API wakes the engines."""
    return []


@pytest.fixture
def app(conf: cfg.ConfigOpts, db: Database, nova: Computes, wakes: list[str]) -> WSGIApplication:
    conf.set_override("auth_strategy", "noauth2")
    return make_app(conf, db, nova, lambda: wakes.append("wake"))


def lintable(app: WSGIApplication) -> WSGIApplication:
    """Remove the Content-Type of a 204, which the contract has and wsgiref's linter refuses."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if status.startswith("204"):
                headers = [header for header in headers if header[0].lower() != "content-type"]
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return call


class Client:
    """Asks the API; answers are falcon's results, with `.json`, `.status_code`, `.headers`."""

    def __init__(self, app: WSGIApplication, version: str | None = None) -> None:
        self._app = lintable(app)
        self._headers = {"OpenStack-API-Version": f"instance-ha {version}"} if version else {}

    def at(self, version: str) -> "Client":
        """Return a client that asks for a microversion."""
        return Client(self._app, version)

    def ask(self, method: str, path: str, **kw: Any) -> testing.Result:
        headers = {**self._headers, **kw.pop("headers", {})}
        path, _, query = path.partition("?")
        return testing.simulate_request(
            self._app, method, path, query_string=query, headers=headers, **kw
        )

    def get(self, path: str, **kw: Any) -> testing.Result:
        return self.ask("GET", path, **kw)

    def post(self, path: str, body: Any, **kw: Any) -> testing.Result:
        return self.ask("POST", path, json=body, **kw)

    def put(self, path: str, body: Any, **kw: Any) -> testing.Result:
        return self.ask("PUT", path, json=body, **kw)

    def delete(self, path: str, **kw: Any) -> testing.Result:
        return self.ask("DELETE", path, **kw)

    # What most tests begin with.

    def segment(self, name: str = "rack", **values: Any) -> dict[str, Any]:
        body = {"name": name, "recovery_method": "auto", "service_type": "COMPUTE", **values}
        return self._made(self.post("/v1/segments", {"segment": body}), "segment")

    def host(
        self, segment: dict[str, Any], name: str = "compute1", **values: Any
    ) -> dict[str, Any]:
        body = {"name": name, "type": "COMPUTE", "control_attributes": "SSH", **values}
        answer = self.post(f"/v1/segments/{segment['uuid']}/hosts", {"host": body})
        return self._made(answer, "host")

    def notification(self, **values: Any) -> dict[str, Any]:
        answer = self.post("/v1/notifications", {"notification": report(**values)})
        return self._made(answer, "notification")

    @staticmethod
    def _made(answer: testing.Result, key: str) -> dict[str, Any]:
        assert answer.status_code in (201, 202), answer.text
        made: dict[str, Any] = answer.json[key]
        return made


def report(**values: Any) -> dict[str, Any]:
    """A notification as a monitor writes it."""
    return {
        "type": "COMPUTE_HOST",
        "hostname": "compute1",
        "generated_time": "2026-01-01T00:00:00",
        "payload": {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"},
        **values,
    }


@pytest.fixture
def client(app: WSGIApplication) -> Client:
    return Client(app)


@pytest.fixture
def serve() -> Iterator[Callable[[WSGIApplication], str]]:
    """Serves an application over HTTP on a free port and returns its URL."""
    running = []

    def start(app: WSGIApplication) -> str:
        server = make_server(("127.0.0.1", 0), app, threads=8, most_body=114688)
        server.prepare()
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.bind_addr[1]}"

    yield start
    for server, thread in running:
        server.stop()
        thread.join(timeout=10)


@pytest.fixture
def url(serve: Callable[[WSGIApplication], str], app: WSGIApplication) -> str:
    """The API over HTTP."""
    return serve(app)


class Keystone:
    """The sandbox's keystone over HTTP."""

    def __init__(self) -> None:
        self.cloud = Cloud(SystemClock(), PRESETS["instant"], seed=1)
        self._server = SandboxServer(Rest(self.cloud))
        self.url = f"{self._server.url}/identity/v3"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def advertise(self, url: str) -> None:
        """Name the instance-ha endpoint in the catalogue."""
        self.stop()
        self._server = SandboxServer(
            Rest(self.cloud, instance_ha_url=url), port=self._server.server_address[1]
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def auth(self, user: str, project: str) -> v3.Password:
        return v3.Password(
            auth_url=self.url,
            username=user,
            password=user,
            project_name=project,
            user_domain_id="default",
            project_domain_id="default",
        )

    def token(self, user: str, project: str) -> str:
        return str(session.Session(auth=self.auth(user, project)).get_token())

    def project_id(self, auth: v3.Password) -> str:
        return str(session.Session(auth=auth).get_project_id())

    def expire(self, token: str) -> None:
        """Let a token expire now."""
        mine = {"X-Auth-Token": self.token("hacore", "service"), "X-Subject-Token": token}
        session.Session().delete(f"{self.url}/auth/tokens", headers=mine)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    running = Keystone()
    yield running
    running.stop()


@pytest.fixture
def keystone_app(
    db: Database, database_url: str, nova: Computes, keystone: Keystone, tmp_path: Path
) -> WSGIApplication:
    """The API as it is deployed: tokens are checked by keystonemiddleware."""
    path = tmp_path / "hacore.conf"
    path.write_text(
        f"""
        [DEFAULT]
        auth_strategy = keystone
        [keystone_authtoken]
        auth_type = password
        auth_url = {keystone.url}
        www_authenticate_uri = {keystone.url}
        username = hacore
        password = hacore
        project_name = service
        user_domain_id = default
        project_domain_id = default
        service_token_roles = service
        service_token_roles_required = true
        """.replace("\n        ", "\n")
    )
    options = cfg.ConfigOpts()
    hacore_conf.register(options)
    options([f"--config-file={path}"], project="hacore")
    return make_app(options, db, nova, lambda: None)
