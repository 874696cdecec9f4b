# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[metrics]: whether and where Prometheus is answered."""

import ipaddress
import os

from oslo_config import cfg

from hacore.errors import ConfigError

GROUP = "metrics"

OPTIONS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Answer Prometheus at /metrics of the ports below, whoever asks. hacore-api behind "
        "gunicorn or uwsgi also needs PROMETHEUS_MULTIPROC_DIR in its environment.",
    ),
    cfg.IPOpt(
        "listen",
        default="127.0.0.1",
        help="Address of both ports: loopback, or one of a private network. There is no login.",
    ),
    cfg.PortOpt(
        "api_port", default=15869, help="Port of the metrics of hacore-api and hacore-standalone."
    ),
    cfg.PortOpt("engine_port", default=15870, help="Port of the metrics of hacore-engine."),
]
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - to refuse them


def check(conf: cfg.ConfigOpts, folder: str | None) -> None:
    """Raise ConfigError for an address that anybody can reach, or a folder that is none.

    :param folder: where processes add up; None: this process is the only one.
    """
    address = conf.metrics.listen
    if address in _EVERY_ADDRESS or ipaddress.ip_address(address).is_global:
        raise ConfigError(
            f"[metrics] listen = {address} lets anybody who reaches this machine read the "
            "metrics: set it to 127.0.0.1, or to this machine's address in a private network."
        )
    if folder is not None and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(
            f"PROMETHEUS_MULTIPROC_DIR is {folder!r}, which is no folder that hacore may write "
            "to; make it, empty, before hacore starts."
        )
