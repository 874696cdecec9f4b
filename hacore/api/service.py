# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The REST API on its own web server, cheroot; under uwsgi or gunicorn: `hacore.cmd.wsgi`."""

import gc
import http.client
import logging
import threading
from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from oslo_utils import netutils

from hacore.api.composition import compose, start_heartbeat
from hacore.api.server import make_server
from hacore.clock import Clock
from hacore.errors import ConfigError

LOG = logging.getLogger(__name__)

_WATCHDOG_INTERVAL_S = 15.0


def ask_health(address: str, port: int) -> None:
    """Return once the API at that address has answered, with whatever status.

    Perhaps its health check is disabled, but it answers.  Never through a proxy, whatever the
    environment says.  Raises OSError or HTTPException.
    """
    connection = http.client.HTTPConnection(address, port, timeout=_WATCHDOG_INTERVAL_S)
    try:
        connection.request("GET", "/healthcheck")
        connection.getresponse().read()
    finally:
        connection.close()


class Api:
    """The API of one process.  Makes threads and connections in `start`: daemons fork.

    :param notify: sends a state to systemd (``READY=1`` and so on).
    """

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock, notify: Callable[[str], None]) -> None:
        self._conf = conf
        self._clock = clock
        self._notify = notify
        self._stopping = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        """Serve requests; ready when this returns."""
        options = self._conf.api
        self._parts = compose(self._conf, self._clock)
        server = make_server(
            (options.listen, options.port),
            self._parts.app,
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
                "listen or port, or stop the process using that port."
            ) from exc
        self._server = server
        heartbeat = start_heartbeat(self._parts, self._clock, self._stopping)
        serving = threading.Thread(target=server.serve, name="api", daemon=True)
        watchdog = threading.Thread(target=self._feed_watchdog, name="api-watchdog", daemon=True)
        serving.start()
        watchdog.start()
        self._threads = [serving, watchdog, heartbeat]
        # what exists now lives on: keep the collector from going through it (0.1 s per request)
        gc.freeze()
        self._notify("READY=1")
        address = netutils.escape_ipv6(options.listen)
        LOG.info("API listens on http://%s:%d", address, options.port)

    def _feed_watchdog(self) -> None:
        """Notify the watchdog of systemd as long as this API answers its own health check."""
        while not self._clock.wait(self._stopping, _WATCHDOG_INTERVAL_S):
            try:
                ask_health(self._conf.api.listen, self._conf.api.port)
                self._notify("WATCHDOG=1")
            except (OSError, http.client.HTTPException) as exc:
                LOG.error("Self health check failed: %s: %s", type(exc).__name__, exc)

    def stop(self) -> None:
        """Answer the requests that have arrived, then stop."""
        if self._server is None or self._stopping.is_set():
            return
        self._notify("STOPPING=1")
        self._stopping.set()
        self._server.stop()
        self._parts.waker.stop()
        self._parts.events.stop()
        for thread in self._threads:
            thread.join(timeout=10)
        self._parts.heartbeat.end()
        self._parts.db.dispose()
        LOG.info("API has stopped")
