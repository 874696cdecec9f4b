# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore counts and measures for Prometheus, and the endpoint that tells it.

Counting goes on whether the endpoint listens or not; a count is what this process
has seen since it started.  What is true of the whole deployment, the age of the
oldest due notification, is asked of the database at each scrape.

Every metric has labels: then prometheus_client makes nothing while this is imported.
doc/monitoring.md tells operators what each one means.
"""

import itertools
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from wsgiref import simple_server

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from hacore.errors import ConfigError
from hacore.states import ENDED, MoveStatus, NotificationStatus, NotificationType

#: Set by who runs the API in several processes: a folder where they add up.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

# Seconds.  A request: from a local answer to [nova] timeout.  A recovery: from a restarted
# instance to a host of hundreds with a retry.
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECOVERY_S = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600, 1200, 3600)

NOTIFICATIONS = Counter(
    "hacore_notifications_total",
    "Notifications that came to a status; new: accepted.",
    ["type", "status"],
)
NOTIFICATION_SECONDS = Histogram(
    "hacore_notification_seconds",
    "Time from the acceptance of a notification to its end, all attempts included.",
    ["type", "status"],
    buckets=_RECOVERY_S,
)
RECOVERIES = Gauge(
    "hacore_recoveries_in_flight",
    "Notifications that this engine works on.",
    ["type"],
    multiprocess_mode="livesum",
)
STEP_SECONDS = Histogram(
    "hacore_recovery_step_seconds",
    "Time that a step of a recovery took, and how it ended (SUCCESS or FAILURE).",
    ["step", "state"],
    buckets=_RECOVERY_S,
)
MOVES = Counter(
    "hacore_moves_total",
    "Verdicts on instances of failed hosts.",
    ["verdict"],
)
MOVE_SECONDS = Histogram(
    "hacore_move_seconds",
    "Time from the first evacuate call for an instance to the verdict.",
    ["verdict"],
    buckets=_RECOVERY_S,
)
NOVA_SECONDS = Histogram(
    "hacore_nova_request_seconds",
    "Time until Nova or Keystone answered; status is that of HTTP, or broken.",
    ["call", "status"],
    buckets=_REQUEST_S,
)
CLAIMS = Counter(
    "hacore_claims_total",
    "Notifications that this engine claimed, the takeovers among them.",
    ["type"],
)
TAKEOVERS = Counter(
    "hacore_takeovers_total",
    "Claims that an engine held that died or was stopped.",
    ["type"],
)
LEASES = Counter(
    "hacore_lease_renewals_total",
    "Leases that were to be renewed: renewed, or lost to another engine.",
    ["result"],
)
API_REQUESTS = Counter(
    "hacore_api_requests_total",
    "Requests that the REST API answered, by route; those without a valid token are not here.",
    ["method", "route", "status"],
)
#: Of `_OldestDue`; nan while the database is away.
OLDEST_DUE = "hacore_queue_oldest_due_age_seconds"


def start_at_zero() -> None:
    """Make the series that alerts look at: Prometheus sees no increase in what was not there."""
    for type_, status in itertools.product(NotificationType, NotificationStatus):
        if status != NotificationStatus.RUNNING:  # that is CLAIMS
            NOTIFICATIONS.labels(type_, status)
        if status in ENDED:
            NOTIFICATION_SECONDS.labels(type_, status)
    for type_ in NotificationType:
        RECOVERIES.labels(type_)
        CLAIMS.labels(type_)
        TAKEOVERS.labels(type_)
    for verdict in (MoveStatus.SUCCEEDED, MoveStatus.FAILED, MoveStatus.IGNORED):
        MOVES.labels(verdict)
    for result in ("renewed", "lost"):
        LEASES.labels(result)


class _OldestDue(Collector):
    """The age of the oldest due notification, as the database knows it now."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            OLDEST_DUE,
            "How long the notification has been due that waits for an engine the longest.",
            value=self._read(),
        )

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Tell the registry the name without a look at the database."""
        yield GaugeMetricFamily(OLDEST_DUE, "")


class _Quiet(simple_server.WSGIRequestHandler):
    timeout = 10  # seconds for a scraper to say what it wants

    def log_message(self, *_args: object) -> None:
        """A scrape every few seconds is nothing to tell."""


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], shared: bool) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.allow_reuse_port = shared
        super().__init__(address, _Quiet)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for a name
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class Endpoint:
    """Answers Prometheus at http://listen:port/metrics from `start` to `stop`.

    :param oldest_due_s: the age of the oldest due notification; nan: not known.

    With PROMETHEUS_MULTIPROC_DIR in the environment each process of the API listens at the
    same port, and whichever is asked answers for all of them.
    """

    def __init__(self, listen: str, port: int, oldest_due_s: Callable[[], float]) -> None:
        self._address = (listen, port)
        self._oldest_due = _OldestDue(oldest_due_s)
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen.  Raises ConfigError when that cannot be."""
        shared = MULTIPROCESS in os.environ
        registry = CollectorRegistry() if shared else REGISTRY
        if shared:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        try:
            server = _Server(self._address, shared)
        except OSError as exc:
            raise ConfigError(
                f"Cannot serve metrics on {self._address[0]} port {self._address[1]}: "
                f"{exc.strerror}; change [metrics] listen or the port, or end what listens there."
            ) from exc
        start_at_zero()
        registry.register(self._oldest_due)
        self._registry = registry
        server.set_app(make_wsgi_app(registry))
        self._server = server
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens, for who asked for port 0."""
        assert self._server is not None  # noqa: S101 - after `start`
        return int(self._server.server_port)

    def stop(self) -> None:
        """End what `start` began; may be called again, or without it."""
        server, self._server = self._server, None
        if server is not None:
            self._registry.unregister(self._oldest_due)
            server.shutdown()
            server.server_close()
