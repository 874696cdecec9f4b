# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The REST API as a service of its own process: cheroot around the WSGI application.

Behind uwsgi or gunicorn `hacore.cmd.wsgi` takes the place of this.
"""

import gc
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from hacore import events
from hacore.api.app import make_app
from hacore.api.server import make_server
from hacore.clock import Clock
from hacore.db.engine import Database
from hacore.errors import ConfigError
from hacore.heartbeat import Heartbeat
from hacore.nova import Nova
from hacore.rpc import Waker

LOG = logging.getLogger(__name__)

#: A client waits for the answer: Nova is not tried for minutes.
NOVA_PATIENCE_S = 5
_WATCHDOG_INTERVAL_S = 15.0


class Api:
    """The API of one process.  Makes threads and connections in `start`: daemons fork.

    :param notify: tells systemd (``READY=1`` and so on).
    """

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock, notify: Callable[[str], None]) -> None:
        self._conf = conf
        self._clock = clock
        self._notify = notify
        self._stopping = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        """Listen and answer; ready when this returns."""
        options = self._conf.api
        self._db = Database(self._conf.database)
        self._waker = Waker(self._conf)
        nova = Nova(self._conf, clock=self._clock, retry_timeout_s=NOVA_PATIENCE_S)
        self._events = events.connect(self._conf, "hacore-api")
        app = make_app(self._conf, self._db, nova, self._waker.wake, self._events)
        server = make_server(
            (options.listen, options.port),
            app,
            options.threads,
            most_body=self._conf.oslo_middleware.max_request_body_size,
            request_timeout_s=options.request_timeout,
            most_waiting=options.max_waiting_connections,
        )
        try:
            server.prepare()
        except OSError as exc:
            raise ConfigError(
                f"Cannot listen on {options.listen} port {options.port}: {exc}; change [api] "
                "listen or port, or end what listens there."
            ) from exc
        self._server = server
        self._heartbeat = Heartbeat(self._db, "hacore-api", self._conf.host, self._conf.claim_lease)
        self._heartbeat.beat()
        self._threads = [
            threading.Thread(target=server.serve, name="api", daemon=True),
            threading.Thread(target=self._watch, name="api-watchdog", daemon=True),
            threading.Thread(
                target=self._heartbeat.keep,
                args=(self._clock, self._stopping),
                name="api-heartbeat",
                daemon=True,
            ),
        ]
        for thread in self._threads:
            thread.start()
        # what is there now stays: spare each answer that the collector goes through it (0.1 s)
        gc.freeze()
        self._notify("READY=1")
        LOG.info("API listens on http://%s:%d", options.listen, options.port)

    def _watch(self) -> None:
        """Tell the watchdog of systemd that we live, as long as we answer."""
        url = f"http://{self._conf.api.listen}:{self._conf.api.port}/healthcheck"
        while not self._clock.wait(self._stopping, _WATCHDOG_INTERVAL_S):
            try:
                with urllib.request.urlopen(url, timeout=_WATCHDOG_INTERVAL_S):
                    self._notify("WATCHDOG=1")
            except urllib.error.HTTPError:
                self._notify("WATCHDOG=1")  # unwell perhaps, but answering
            except OSError as exc:
                LOG.error("the API does not answer itself: %s", exc)

    def stop(self) -> None:
        """Answer what is being asked, then end."""
        if self._server is None or self._stopping.is_set():
            return
        self._notify("STOPPING=1")
        self._stopping.set()
        self._server.stop()
        self._waker.stop()
        self._events.stop()
        for thread in self._threads:
            thread.join(timeout=10)
        self._heartbeat.end()
        self._db.dispose()
        LOG.info("API has stopped")
