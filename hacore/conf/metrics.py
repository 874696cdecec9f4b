# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[metrics]: whether and where the metrics for Prometheus are served."""

import ipaddress
import os

from oslo_config import cfg

from hacore.errors import ConfigError

GROUP = "metrics"

OPTIONS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Serve metrics for Prometheus at /metrics on the ports below, without "
        "authentication. Behind gunicorn or uwsgi, hacore-api also needs "
        "PROMETHEUS_MULTIPROC_DIR in its environment.",
    ),
    cfg.IPOpt(
        "listen",
        default="127.0.0.1",
        help="Address of both ports: loopback, or an address in a private network.",
    ),
    cfg.PortOpt(
        "api_port", default=15869, help="Port of the metrics of hacore-api and hacore-standalone."
    ),
    cfg.PortOpt("engine_port", default=15870, help="Port of the metrics of hacore-engine."),
]
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - to refuse them


def check(conf: cfg.ConfigOpts, folder: str | None) -> None:
    """Raise ConfigError for an address that anybody can reach, or an unusable folder.

    :param folder: where the processes write their counters; None: there is only this process.
    """
    address = conf.metrics.listen
    if address in _EVERY_ADDRESS or ipaddress.ip_address(address).is_global:
        raise ConfigError(
            f"[metrics] listen = {address} lets anybody who can reach this machine read "
            "the metrics: set it to 127.0.0.1, or to this machine's address in a private network."
        )
    if folder is not None and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(
            f"PROMETHEUS_MULTIPROC_DIR is {folder!r}, which is not a folder that hacore can "
            "write to; create it, empty, before hacore starts."
        )
