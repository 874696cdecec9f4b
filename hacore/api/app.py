# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The WSGI application: the router, and the middleware around it."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import falcon
from oslo_config import cfg
from oslo_middleware import healthcheck, http_proxy_to_wsgi, request_id, sizelimit

from hacore.api import faults, openapi, versions
from hacore.api.call import ComputeServices, Services
from hacore.api.dispatch import PathResponder, RequestNegotiation
from hacore.api.door import Door, Guard
from hacore.api.operator.routes import OPERATOR_ROUTES
from hacore.api.policies import Policy
from hacore.api.routes import HEALTHCHECK, ROOT, ROUTES, V1, Route
from hacore.db.engine import Database
from hacore.events import Events

#: While this file exists, /healthcheck answers 503 and load balancers leave this machine out.
DISABLED = "/run/hacore/healthcheck_disable"


def make_app(
    conf: cfg.ConfigOpts,
    db: Database,
    nova: ComputeServices,
    wake: Callable[[], None],
    events: Events | None = None,
) -> WSGIApplication:
    """Return the application.

    :param wake: notifies the engines of work; never blocks, never raises.
    :param events: where events are sent to; None: nowhere.

    Raises ConfigError if the policy files are invalid.
    """
    services = Services(
        db=db,
        nova=nova,
        wake=wake,
        events=events or Events(),
        most_rows=conf.osapi_max_limit,
        duplicate_window_s=conf.duplicate_notification_detection_interval,
        expire_s=conf.notifications_expired_interval,
        limits=_limits(conf),
    )
    inner = _routed(services, Policy(conf))
    # From the inside out.
    app: WSGIApplication = Guard(inner, conf)
    app = _SizeLimit(app, conf)
    app = http_proxy_to_wsgi.HTTPProxyToWSGI(app, conf)
    app = faults.FaultWrapper(app)
    app = _WithHealthcheck(app, conf)
    app = Door(app)
    # reads no path; the answers of the door need a request id, too
    app = request_id.RequestId(app, conf)
    # a plain function, as servers and test clients expect one
    return lambda environ, start_response: app(environ, start_response)


def _limits(conf: cfg.ConfigOpts) -> dict[str, int]:
    hosts, instances = conf.mass_failure, conf.instance_failure
    return {
        "max_share": hosts.max_share,
        "min_hosts": hosts.min_hosts,
        "burst_hosts": hosts.burst_hosts,
        "burst_share": hosts.burst_share,
        "max_restarts": instances.max_restarts,
        "restart_window": instances.restart_window,
        "held_expire": conf.held_expire,
    }


def _routed(services: Services, policy: Policy) -> falcon.App[Any, Any]:
    app = falcon.App(middleware=[RequestNegotiation(policy)])
    faults.install(app)
    app.add_route(ROOT, versions.Root())
    for document in openapi.DOCUMENTS:
        app.add_route(document.url, openapi.Served(document))
    by_url = itertools.groupby(sorted((*ROUTES, *OPERATOR_ROUTES), key=_url), _url)
    for url, routes in by_url:
        responder = PathResponder(list(routes), services, policy)
        app.add_route(url, responder)
        if url == V1:
            app.add_route(f"{V1}/", responder)
    return app


def _url(route: Route) -> str:
    return route.url


class _SizeLimit:
    """Refuses a large body by its Content-Length, before anything else is checked.

    oslo.middleware has such a limit, but raises an exception of WebOb inside falcon when
    a chunked body is too large.  This one uses its option.
    """

    def __init__(self, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(sizelimit.OPTS, group="oslo_middleware")
        self._app = app
        self._most: int = conf.oslo_middleware.max_request_body_size

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["hacore.max_body_size"] = self._most
        length = environ.get("CONTENT_LENGTH") or "0"
        if length.isascii() and length.isdigit() and int(length[:20]) > self._most:
            message = f"body: must have at most {self._most} bytes."
            return faults.answer(start_response, environ, 413, message)
        return self._app(environ, start_response)


class _WithHealthcheck:
    """/healthcheck, for load balancers; its options are in [healthcheck]."""

    def __init__(self, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(healthcheck.opts.HEALTHCHECK_OPTS, group="healthcheck")
        conf.register_opts(healthcheck.opts.DISABLE_BY_FILE_OPTS, group="healthcheck")
        conf.set_default("backends", ["disable_by_file"], group="healthcheck")
        conf.set_default("disable_by_file_path", DISABLED, group="healthcheck")
        self._app = app
        self._healthcheck: WSGIApplication = healthcheck.Healthcheck(None, conf)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        here = environ["PATH_INFO"] == HEALTHCHECK
        return (self._healthcheck if here else self._app)(environ, start_response)
