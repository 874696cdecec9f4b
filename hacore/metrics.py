# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The metrics of hacore, and the endpoint that serves them to Prometheus.

Metrics are counted whether the endpoint listens or not; a count is what this process
has seen since it started.  What is true of the whole deployment, such as the age of the
oldest due notification, is read from the database at each scrape.

Every metric has labels: then prometheus_client creates nothing while this is imported.
doc/monitoring.md explains each one to operators.
"""

import itertools
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from wsgiref import simple_server

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from hacore.errors import ConfigError
from hacore.states import (
    ENDED,
    OPERATION_ENDED,
    MoveStatus,
    NotificationStatus,
    NotificationType,
    OperationType,
)

#: Set by whoever runs the API in several processes: the directory where their counts add up.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

# Seconds.  A request: from a local answer to [nova] timeout.  A recovery: from a restarted
# instance to a host of hundreds with a retry.
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECOVERY_S = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600, 1200, 3600)

NOTIFICATIONS = Counter(
    "hacore_notifications_total",
    "Notifications by resulting status; new: accepted.",
    ["type", "status"],
)
NOTIFICATION_SECONDS = Histogram(
    "hacore_notification_seconds",
    "Time from the acceptance of a notification to its final status, over all attempts.",
    ["type", "status"],
    buckets=_RECOVERY_S,
)
RECOVERIES = Gauge(
    "hacore_recoveries_in_flight",
    "Notifications and operations that this engine is at work on.",
    ["type"],
    multiprocess_mode="livesum",
)
OPERATIONS = Counter(
    "hacore_operations_total",
    "Operations of hosts by final status.",
    ["type", "status"],
)
STEP_SECONDS = Histogram(
    "hacore_recovery_step_seconds",
    "Time that a task of a recovery took, by its result (SUCCESS or FAILURE).",
    ["step", "state"],
    buckets=_RECOVERY_S,
)
MOVES = Counter(
    "hacore_moves_total",
    "Instances of failed hosts by the final status of their move.",
    ["verdict"],
)
MOVE_SECONDS = Histogram(
    "hacore_move_seconds",
    "Time from the first evacuate call for an instance to the final status of its move.",
    ["verdict"],
    buckets=_RECOVERY_S,
)
NOVA_SECONDS = Histogram(
    "hacore_nova_request_seconds",
    "Time until Nova or Keystone answered; status: of HTTP, or broken: no answer came.",
    ["call", "status"],
    buckets=_REQUEST_S,
)
CLAIMS = Counter(
    "hacore_claims_total",
    "Notifications and operations that this engine claimed, including those it took over.",
    ["type"],
)
TAKEOVERS = Counter(
    "hacore_takeovers_total",
    "Claims that this engine took over from one that died or was stopped.",
    ["type"],
)
RETRIES = Counter(
    "hacore_operator_retries_total",
    "Claims of this engine for which an operator requested a retry.",
    ["type"],
)
LEASES = Counter(
    "hacore_lease_renewals_total",
    "Lease renewals by result: renewed, or lost to another engine.",
    ["result"],
)
API_REQUESTS = Counter(
    "hacore_api_requests_total",
    "Requests that the REST API answered, by route, except those without a valid token.",
    ["method", "route", "status"],
)
OLDEST_DUE = "hacore_queue_oldest_due_age_seconds"
ABANDONED = "hacore_abandoned_notifications"
HELD = "hacore_held"
HELD_LONGEST = "hacore_held_longest_seconds"
HOSTS = "hacore_hosts"
NOVA_ILL = "hacore_nova_ill"
NOVA_WATCHED = "hacore_nova_watched"
PAUSED = "hacore_pause_without_end_seconds"
SWITCHED_ON = "hacore_hosts_switched_on"
DEVICES = "hacore_fencing_devices"
DEVICES_WITHOUT_RIGHT = "hacore_fencing_devices_without_right"
#: What is read from the database at each scrape: by name the text, and the label, if any.
FROM_DATABASE: dict[str, tuple[str, str | None]] = {
    OLDEST_DUE: (
        "Age of the oldest due notification: how long it has been waiting for an engine.",
        None,
    ),
    ABANDONED: ("Notifications that operators abandoned, until they are purged.", None),
    HELD: ("Recoveries that a safety rule holds.", "rule"),
    HELD_LONGEST: ("For how long the oldest hold has lasted; 0: nothing is held.", None),
    HOSTS: ("Hosts by whether Nova hears them; none while no engine watches Nova.", "hearing"),
    NOVA_ILL: ("1: Nova itself is ill, and no host becomes silent.", None),
    NOVA_WATCHED: ("1: an engine watches the heartbeats of Nova's services.", None),
    PAUSED: ("Age of the oldest pause that only an operator ends; 0: there is none.", None),
    SWITCHED_ON: (
        "Hosts that hacore has proved off and that are on, though nobody brings them back.",
        None,
    ),
    DEVICES: ("Fencing devices by what their last probe has shown.", "verdict"),
    DEVICES_WITHOUT_RIGHT: (
        "Fencing devices that answer, and cannot switch their host off.",
        None,
    ),
}
#: The values of those metrics by name, then by value of the label; "" where there is none.
Readings = Mapping[str, Mapping[str, float]]


def start_at_zero() -> None:
    """Create the series that alerts use: Prometheus sees no increase in a series that is new."""
    for type_, status in itertools.product(NotificationType, NotificationStatus):
        if status != NotificationStatus.RUNNING:  # that is CLAIMS
            NOTIFICATIONS.labels(type_, status)
        if status in ENDED:
            NOTIFICATION_SECONDS.labels(type_, status)
    for type_ in (*NotificationType, *OperationType):
        RECOVERIES.labels(type_)
        CLAIMS.labels(type_)
        TAKEOVERS.labels(type_)
    for type_ in NotificationType:
        RETRIES.labels(type_)
    for operation, end in itertools.product(OperationType, OPERATION_ENDED):
        OPERATIONS.labels(operation, end)
    for verdict in (MoveStatus.SUCCEEDED, MoveStatus.FAILED, MoveStatus.IGNORED):
        MOVES.labels(verdict)
    for result in ("renewed", "lost"):
        LEASES.labels(result)


class _FromDatabase(Collector):
    """What is true of the whole deployment, read from the database at each scrape."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        readings = self._read()
        for family in self.describe():
            for value, number in readings[family.name].items():
                family.add_metric([value] if value else [], number)
            yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Give the registry the names without reading the database."""
        for name, (text, label) in FROM_DATABASE.items():
            yield GaugeMetricFamily(name, text, labels=[label] if label else [])


class _RequestHandler(simple_server.WSGIRequestHandler):
    timeout = 10  # seconds for a scraper to send its request

    def log_message(self, *_args: object) -> None:
        """Log no scrapes: there is one every few seconds."""


# Not prometheus_client.start_http_server: the class of its server cannot be chosen, so its
# port cannot be shared (SO_REUSEPORT) and a silent client keeps a thread for ever.
class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], shared: bool) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.allow_reuse_port = shared
        super().__init__(address, _RequestHandler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's resolves the address with DNS
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class Endpoint:
    """Serves http://listen:port/metrics from `start` to `stop`.

    :param read: returns the values of all of `FROM_DATABASE`; NaN: not known.

    With PROMETHEUS_MULTIPROC_DIR in the environment all processes of the API listen on the
    same port, and whichever is scraped answers for all of them.
    """

    def __init__(self, listen: str, port: int, read: Callable[[], Readings]) -> None:
        self._address = (listen, port)
        self._from_database = _FromDatabase(read)
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen.  Raises ConfigError when that fails."""
        shared = MULTIPROCESS in os.environ
        registry = CollectorRegistry() if shared else REGISTRY
        if shared:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        try:
            server = _Server(self._address, shared)
        except OSError as exc:
            raise ConfigError(
                f"Cannot serve metrics on {self._address[0]} port {self._address[1]}: "
                f"{exc.strerror}; change [metrics] listen or the port, or stop the process "
                "using that port."
            ) from exc
        start_at_zero()
        registry.register(self._from_database)
        self._registry = registry
        server.set_app(make_wsgi_app(registry))
        self._server = server
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    @property
    def port(self) -> int:
        """The port that it listens on, for whoever asked for port 0."""
        assert self._server is not None  # noqa: S101 - after `start`
        return int(self._server.server_port)

    def stop(self) -> None:
        """Stop listening; may be called again, or without `start`."""
        server, self._server = self._server, None
        if server is not None:
            self._registry.unregister(self._from_database)
            server.shutdown()
            server.server_close()
