# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[api]: where and how the REST API listens."""

from oslo_config import cfg

GROUP = "api"

OPTIONS = [
    cfg.HostAddressOpt(
        "listen",
        default="127.0.0.1",
        help="Address that hacore-api listens on. TLS is a proxy's business.",
    ),
    cfg.PortOpt("port", default=15868, help="Port that hacore-api listens on."),
    cfg.IntOpt("threads", default=8, min=1, help="Requests that one process answers at a time."),
    cfg.FloatOpt(
        "request_timeout",
        default=10.0,
        min=0.1,
        help="Seconds within which a client must have sent its whole request; it is disconnected "
        "otherwise, and also when it sends no further one for as long.",
    ),
    cfg.IntOpt(
        "max_waiting_connections",
        default=1000,
        min=1,
        help="The most connections whose request has not arrived yet. Beyond that the one that "
        "has waited longest is closed.",
    ),
    cfg.BoolOpt(
        "allow_noauth_everywhere",
        default=False,
        help="Let auth_strategy = noauth2 serve an address other than loopback, where anybody who "
        "reaches it may evacuate hosts.",
    ),
]
