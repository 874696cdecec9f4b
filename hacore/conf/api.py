# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[api]: where and how the REST API listens."""

from oslo_config import cfg

GROUP = "api"

OPTIONS = [
    cfg.HostAddressOpt(
        "listen",
        default="127.0.0.1",
        help="Address that hacore-api listens on. Terminate TLS in a proxy.",
    ),
    cfg.PortOpt("port", default=15868, help="Port that hacore-api listens on."),
    cfg.IntOpt(
        "threads",
        default=8,
        min=1,
        help="Number of requests that one process handles concurrently.",
    ),
    cfg.FloatOpt(
        "request_timeout",
        default=10.0,
        min=0.1,
        help="Seconds within which a client must have sent its complete request, and after which "
        "an idle connection is closed.",
    ),
    cfg.IntOpt(
        "max_waiting_connections",
        default=1000,
        min=1,
        help="Maximum number of connections whose request is not complete. Beyond it, the "
        "connection that has waited longest is closed.",
    ),
    cfg.BoolOpt(
        "allow_noauth_everywhere",
        default=False,
        help="Allow auth_strategy = noauth2 on an address other than loopback, where anybody who "
        "can reach it can evacuate hosts.",
    ),
]
