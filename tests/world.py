# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore's own code and the sandbox's cloud in one simulated world.

Nova is faked at the HTTP boundary and nowhere else: novaclient's requests go
to the sandbox's REST layer instead of a socket.
"""

import json
import random
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from http.client import RemoteDisconnected
from typing import Any

import requests
from futurist import SynchronousExecutor
from oslo_config import cfg
from requests.adapters import BaseAdapter
from urllib3.exceptions import ProtocolError

from hacore import events
from hacore.clock import Clock
from hacore.db import history, holds, moves
from hacore.db.engine import Database
from hacore.db.models import Host, Move, Notification
from hacore.engine.context import EngineContext
from hacore.engine.flows import Flows
from hacore.engine.log_context import Pool
from hacore.engine.operation import Operator
from hacore.engine.queue import Queue
from hacore.engine.recovery import Recoverer
from hacore.engine.review import Review
from hacore.engine.watch import Watch
from hacore.errors import DatabaseUnavailable
from hacore.nova import Nova
from hacore.states import LIVE
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.model import Server
from hacore_sandbox.rest import Rest
from hacore_sandbox.settings import PRESETS
from hacore_sandbox.wire import Response
from tests import factories
from tests.devices import Devices
from tests.simulation import Simulation

URL = "http://sandbox"
#: Seconds between two looks at Nova's heartbeats, in report intervals and at most: as few looks as
#: an engine can do with.
LOOK, LONGEST_LOOK_S = 1.65, 3.3
#: Until an engine that has nothing to do sees that another one has held a recovery.
_IDLE_S = 120.0


class SandboxAdapter(BaseAdapter):
    """Hands requests to the sandbox's REST layer; its delays are simulated time."""

    def __init__(self, rest: Rest, clock: Simulation) -> None:
        super().__init__()
        self._rest = rest
        self._clock = clock

    def send(
        self, request: Any, *, timeout: float | None = None, **_options: Any
    ) -> requests.Response:
        url = urllib.parse.urlsplit(request.url)
        body = request.body or b""
        answer = self._rest.handle(
            request.method,
            url.path,
            url.query,
            {"host": url.netloc, **{k.lower(): str(v) for k, v in _text(request.headers).items()}},
            body.encode() if isinstance(body, str) else body,
        )
        if timeout is not None and answer.delay_s > timeout:
            self._clock.pass_time(timeout)
            raise requests.exceptions.ReadTimeout(f"no answer within {timeout:g} s")
        if answer.delay_s:
            self._clock.pass_time(answer.delay_s)
        if answer.drop:
            raise broken_off()
        response = requests.Response()
        response.status_code = answer.status
        kind = "text/html" if isinstance(answer.body, str) else "application/json"
        response.headers.update({"Content-Type": kind, **answer.headers})
        response._content = b"" if answer.body is None else _encoded(answer.body)
        response.request, response.url = request, request.url
        return response

    def deliver_late(self, request: Any, by_s: float, told: Callable[[int], None]) -> None:
        """Let a request reach Nova or Keystone after `by_s`, whoever is left to hear the answer.

        :param told: called with the status then.
        """
        url = urllib.parse.urlsplit(request.url)
        headers = {k.lower(): str(v) for k, v in _text(request.headers).items()}
        body = request.body or b""
        body_bytes = body.encode() if isinstance(body, str) else body

        def deliver() -> None:
            given = {"host": url.netloc, **headers}
            answer = self._rest.handle(request.method, url.path, url.query, given, body_bytes)
            told(answer.status)

        self._clock.at(self._clock.monotonic() + by_s, deliver)

    def close(self) -> None:
        """Nothing is open."""


def broken_off() -> requests.exceptions.ConnectionError:
    """What an engine sees of a request whose answer never comes."""
    return requests.exceptions.ConnectionError(
        ProtocolError("Connection aborted.", RemoteDisconnected("no answer"))
    )


def _text(headers: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        (k.decode() if isinstance(k, bytes) else k): (v.decode() if isinstance(v, bytes) else v)
        for k, v in headers.items()
    }


def _encoded(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def log_in(conf: cfg.ConfigOpts, url: str = URL) -> None:
    """Set the [nova] options to the sandbox's account."""
    from keystoneauth1 import loading

    conf.register_opts(loading.get_auth_plugin_conf_options("password"), group="nova")
    for name, value in {
        "auth_url": f"{url}/identity/v3",
        "username": "hacore",
        "password": "hacore",
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }.items():
        conf.set_override(name, value, group="nova")


class Looks:
    """What `Watch.run` does, but only while that can matter: hours pass without a look.

    :param runs: whether the engine does.
    """

    def __init__(
        self, clock: Clock, watch: Watch, queue: Queue, db: Database, runs: Callable[[], bool]
    ) -> None:
        self._clock, self._watch, self._queue, self._db = clock, watch, queue, db
        self._runs = runs
        self._look_s = min(LOOK * watch.interval_s, LONGEST_LOOK_S)
        self._woken = threading.Event()

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    def run(self) -> None:
        """Look while the engine has something to do, or anything is held; the body of an actor."""
        never = threading.Event()
        while self._runs():
            self._woken.clear()
            if self._queue.is_busy or self._may_be_held():
                began = self._clock.monotonic()
                self._watch.look()
                took_s = self._clock.monotonic() - began
                self._clock.wait(never, max(self._look_s - took_s, self._look_s / 2))
            else:
                self._clock.wait(self._woken, _IDLE_S)

    def _may_be_held(self) -> bool:
        try:
            return bool(holds.all_of(self._db))
        except DatabaseUnavailable:
            return True


class World:
    """A cloud, a database, and as many engines as a test starts."""

    #: Nova's, for engines, where a test sets none.
    report_interval_s = 1.0

    def __init__(
        self, conf: cfg.ConfigOpts, db: Database, clock: Simulation, **settings: Any
    ) -> None:
        log_in(conf)
        if conf.nova.report_interval is None:
            conf.set_override("report_interval", self.report_interval_s, "nova")
        self.conf, self.db, self.clock = conf, db, clock
        preset = PRESETS["instant"]
        self.cloud = Cloud(clock, type(preset)(**{**vars(preset), **settings}), seed=1)
        self.rest = Rest(self.cloud)
        self.hosts: dict[str, Host] = {}
        self.devices: Devices | None = None
        self.always_looks = False  #: engines look at heartbeats all the time, as in real life
        self.told: list[events.Event] = []  # on the bus
        self._segment = factories.segment(db)
        self._queues: dict[str, Queue] = {}

    # ------------------------------------------------------------- cloud

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the sandbox's control API."""
        answer = self.rest.handle(
            method, f"/control{path}", "", {}, json.dumps(body or {}).encode()
        )
        assert answer.status < 300, answer.body
        return answer.body

    def act(self, user: str, uuid: str, action: dict[str, Any]) -> None:
        """A user of the cloud, as `demo`, who owns all servers, asks Nova for something."""
        who = {"methods": ["password"], "password": {"user": {"name": user, "password": user}}}
        token = self._post("/identity/v3/auth/tokens", {"auth": {"identity": who}}, {})
        headers = {
            "x-auth-token": token.headers["X-Subject-Token"],
            "openstack-api-version": "compute 2.90",
        }
        answer = self._post(f"/compute/v2.1/servers/{uuid}/action", action, headers)
        assert answer.status == 202, answer.body

    def _post(self, path: str, body: Any, headers: dict[str, str]) -> Response:
        return self.rest.handle("POST", path, "", headers, json.dumps(body).encode())

    def boot(self, count: int = 1, host: str = "compute1", **values: Any) -> list[str]:
        """Create servers that are there already; return their uuids."""
        values.setdefault("metadata", {"HA_Enabled": "True"})
        answer = self.control("POST", "/servers", {"count": count, "hosts": [host], **values})
        return list(answer["ids"])

    def server(self, uuid: str) -> Server:
        """What the cloud itself knows of a server, now."""
        self.cloud.advance()
        return self.cloud.state.servers[uuid]

    def kill(self, host: str = "compute1") -> None:
        """The host dies."""
        self.control("POST", f"/hosts/{host}/kill")

    def faults(self, **faults: Any) -> None:
        """Make the cloud misbehave; see hacore_sandbox.control."""
        self.control("PUT", "/faults", faults)

    def calls(self, method: str, path_end: str) -> int:
        """How many calls Nova and Keystone have got."""
        return sum(
            row["count"]
            for row in self.control("GET", "/requests")["requests"]
            if row["method"] == method and row["route"].endswith(path_end)
        )

    # ------------------------------------------------------------ hacore

    def host(self, name: str = "compute1", **values: Any) -> Host:
        """A registered host."""
        row = factories.host(self.db, name, segment_uuid=self._segment.uuid, **values)
        self.hosts[name] = row
        return row

    def notify(self, name: str = "compute1", **values: Any) -> str:
        """A notification was accepted; return its uuid."""
        row = factories.notification(self.db, self.hosts.get(name) or self.host(name), **values)
        self.wake()
        return str(row.uuid)

    def wake(self) -> None:
        """The cast over the message bus reaches every engine."""
        for queue in self._queues.values():
            queue.wake()

    def engine(self, name: str = "a") -> Queue:
        """Start an engine."""
        nova = Nova(
            self.conf,
            clock=self.clock_of(name),
            rng=random.Random(1),
            http=self.http_of(name),
        )
        watch = Watch(self.conf, self.db, nova, self.clock_of(name), name)
        context = EngineContext(
            self.conf,
            self.db,
            nova,
            self.clock_of(name),
            self.pool_of(name),
            watch,
            self.devices and self.devices.fencing(self.clock_of(name)),
        )
        watch.looked = Review(context, self.wake, threading.Event()).look
        flows = Flows(self.conf)
        recoverer = Recoverer(context, flows, events.Events(self.told.append), self.wake)
        operator = Operator(context, flows, self.wake)

        def submit(body: Any, *args: Any) -> None:
            looks.wake()
            self.clock.spawn(name, body, *args)

        queue = Queue(
            self.conf,
            self.db,
            self.clock_of(name),
            name,
            submit,
            recoverer.recover,
            operator.operate,
        )
        looks = Looks(
            self.clock_of(name), watch, queue, self.db, lambda: self._queues.get(name) is queue
        )
        self.clock.spawn(name, queue.run)
        self.clock.spawn(name, queue.keep_leases, lambda: None)
        self._queues[name] = queue
        if self.always_looks:
            self.clock.spawn(name, watch.run, threading.Event())
        else:
            self.clock.spawn(name, looks.run)
        return queue

    def clock_of(self, engine: str) -> Clock:
        """What an engine knows of time."""
        return self.clock

    def http_of(self, engine: str) -> SandboxAdapter:
        """What carries an engine's requests."""
        return SandboxAdapter(self.rest, self.clock)

    def pool_of(self, engine: str) -> Pool:
        """Where an engine's calls for single instances run."""
        return SynchronousExecutor()

    def kill_engine(self, name: str = "a") -> None:
        """kill -9."""
        self._queues.pop(name)
        self.clock.kill(name)

    def stop_engine(self, name: str = "a") -> None:
        """SIGTERM."""
        self.clock.spawn(f"{name}-stop", self._queues.pop(name).stop, 60)

    # ------------------------------------------------------------- truth

    def notification(self, uuid: str) -> Notification:
        """The row as it is now."""
        with self.db.read() as session:
            return session.query(Notification).filter_by(uuid=uuid).one()

    def recover(self, uuid: str, limit_s: float = 3600) -> Notification:
        """Let the world go on until the notification has ended; return it."""
        self.clock.run(lambda: self.notification(uuid).status not in LIVE, limit_s)
        return self.notification(uuid)

    def moves(self, uuid: str) -> dict[str, Move]:
        """The moves by instance."""
        return {move.instance_uuid: move for move in moves.all_of(self.db, uuid)}

    def story(self, uuid: str) -> list[str]:
        """The messages of the recovery."""
        with self.db.read() as session:
            return [row.message for row in history.of(session, uuid) if row.message]

    def registered(self, name: str = "compute1") -> Host:
        """The host's row as it is now."""
        with self.db.read() as session:
            return session.query(Host).filter_by(name=name).one()

    def service(self, name: str = "compute1") -> Any:
        """The cloud's compute service."""
        return self.cloud.state.host(name).service
