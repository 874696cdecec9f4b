# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The metrics endpoint of a daemon: checked before it starts, started where it forks to."""

import collections
import logging
import math
import os
import socket
from collections.abc import Mapping

from oslo_config import cfg
from oslo_utils import netutils

from hacore import metrics
from hacore.conf import metrics as options
from hacore.db import claims, devices, holds, interventions, pauses, power, watch
from hacore.db.engine import Database
from hacore.errors import ConfigError, DatabaseUnavailable
from hacore.states import CanOff, PowerVerdict, Rule

LOG = logging.getLogger(__name__)


class Monitoring:
    """Part of a daemon that serves the metrics endpoint, if [metrics] enabled is set.

    :param port: api_port or engine_port of [metrics].
    :param one_of_many: a web server runs several processes: their counters must be added up.

    Raises ConfigError where the endpoint could not be served.
    """

    def __init__(self, conf: cfg.ConfigOpts, port: str, *, one_of_many: bool = False) -> None:
        self._conf = conf
        self._port: int = conf.metrics[port]
        self._endpoint: metrics.Endpoint | None = None
        if not conf.metrics.enabled:
            return
        folder = os.environ.get(metrics.MULTIPROCESS)
        if one_of_many and not folder:
            raise ConfigError(
                f"[metrics] enabled behind gunicorn or uwsgi needs {metrics.MULTIPROCESS} in the "
                "environment, the name of an empty folder: each process writes its counters there, "
                "and whichever one Prometheus scrapes answers for all."
            )
        options.check(conf, folder)
        if folder is None:  # else other processes of this API rightly listen there
            self._check_port(port)

    def _check_port(self, name: str) -> None:
        listen = self._conf.metrics.listen
        family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        try:
            socket.create_server((listen, self._port), family=family).close()
        except OSError as exc:
            reason = str(exc.strerror).partition(" (")[0]
            raise ConfigError(
                f"Cannot serve metrics on {listen} port {self._port}: {reason}; change [metrics] "
                f"listen or {name}, or stop the process using that port."
            ) from exc

    def start(self) -> None:
        """Start listening."""
        if not self._conf.metrics.enabled:
            return
        self._db = Database(self._conf.database)
        listen = self._conf.metrics.listen
        endpoint = metrics.Endpoint(listen, self._port, lambda: readings(self._db))
        endpoint.start()
        self._endpoint = endpoint
        LOG.info(
            "Metrics endpoint listens on http://%s:%d/metrics (process %d)",
            netutils.escape_ipv6(listen),
            self._port,
            os.getpid(),
        )

    def stop(self) -> None:
        """Stop listening."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.stop()
            self._db.dispose()


def readings(db: Database) -> metrics.Readings:
    """Return what is true of the whole deployment; NaN while the database is unavailable."""
    found: dict[str, Mapping[str, float]] = {
        name: {} if label else {"": math.nan} for name, (_, label) in metrics.FROM_DATABASE.items()
    }
    try:
        for read in (_queue, _safety, _watch, _devices):
            found |= read(db)
    except DatabaseUnavailable as exc:
        LOG.warning("Failed to read a metric from the database: %s", exc)
    return found


def _queue(db: Database) -> metrics.Readings:
    return {
        metrics.OLDEST_DUE: {"": claims.oldest_due_s(db)},
        metrics.ABANDONED: {"": interventions.abandoned(db)},
    }


def _safety(db: Database) -> metrics.Readings:
    counts = holds.counts(db)
    return {
        metrics.HELD: {str(rule): counts.get(rule, 0) for rule in Rule},
        metrics.HELD_LONGEST: {"": holds.longest_s(db)},
        metrics.PAUSED: {"": pauses.longest_without_end_s(db)},
        metrics.SWITCHED_ON: {"": len(power.switched_on(db))},
    }


def _watch(db: Database) -> metrics.Readings:
    report = watch.report(db)
    counts = collections.Counter(known.state for known in report.hosts.values())
    return {
        metrics.HOSTS: counts if report.current else {},
        metrics.NOVA_ILL: {"": report.illness is not None},
        metrics.NOVA_WATCHED: {"": report.current or report.illness is not None},
    }


def _devices(db: Database) -> metrics.Readings:
    seen = devices.all_of(db)
    counts = collections.Counter(each.verdict for each in seen)
    return {
        metrics.DEVICES: {str(verdict): counts[verdict] for verdict in PowerVerdict},
        metrics.DEVICES_WITHOUT_RIGHT: {"": sum(each.can_off == CanOff.NO for each in seen)},
    }
