# Licensed under the Apache License, Version 2.0; see LICENSE.
"""HTTP to Keystone and Nova: connections, authentication, and the metrics of each request."""

import json
import re
import urllib.parse
from typing import Any

import requests
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import loading
from keystoneauth1.session import TCPKeepAliveAdapter
from novaclient import api_versions
from novaclient import client as nova_client
from oslo_config import cfg
from requests.adapters import HTTPAdapter

from hacore import errors, metrics
from hacore.clock import Clock, SystemClock
from hacore.nova.keystone import LOGGING_IN, KeystoneUnavailable, check_answers
from hacore.nova.retry import CURRENT_GUARD
from hacore.nova.translation import CLIENT_ERRORS, UnusableTlsFiles

_POOL_SIZE = 64  # connections kept; more than any engine's threads use at a time


class _ConnectionAdapter(TCPKeepAliveAdapter):
    """Keep connections of all threads; wait less long for a connection than for an answer."""

    def __init__(self, connect_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        super().__init__(pool_maxsize=_POOL_SIZE)

    def send(  # type: ignore[no-untyped-def, override]
        self, request, *, timeout=None, **kwargs
    ):
        return super().send(request, timeout=(self._connect_timeout_s, timeout), **kwargs)


class GuardedSession(requests.Session):
    """Asks the guard before every request, and measures how long its answer took.

    Libraries repeat requests by themselves, after a 401 with a new token or where they
    are redirected: whoever lost the lease meanwhile must not send that either.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        guard = CURRENT_GUARD.get()
        if guard is not None:
            guard.check()
        asked, status = self._clock.monotonic(), "broken"
        try:
            answer = super().send(request, **kwargs)
            status = str(answer.status_code)
            if status == "401" and request.method == "GET" and LOGGING_IN.get():
                # keystoneauth would ask for a token, under the lock that it holds for that
                raise KeystoneUnavailable("the version document at [nova] auth_url wants a token")
        except requests.RequestException:  # which is an OSError too
            raise
        except OSError as exc:  # requests looks for the files when it connects
            raise UnusableTlsFiles(
                f"the files of [nova] cafile, certfile and keyfile cannot be used: {exc}"
            ) from exc
        finally:
            took_s = self._clock.monotonic() - asked
            call = call_name(request.method, request.url, request.body)
            metrics.NOVA_SECONDS.labels(call, status).observe(took_s)
        return answer


# The parts of Nova's and Keystone's URLs that name no single object.
_RESOURCE = re.compile(
    r"/(servers|os-services|os-migrations|os-aggregates|os-hypervisors|auth/tokens|agents|"
    r"resource_providers)\b(.*)"
)
_ID = re.compile(r"/(?!detail\b|action\b|traits\b|allocations\b|os-instance-actions\b)[^/]+")


def call_name(method: str, url: str, body: str | bytes | None) -> str:
    """Name a request without the ids in it: ``POST servers/{id}/action evacuate``."""
    found = _RESOURCE.search(urllib.parse.urlsplit(url).path)
    if found is None:
        return f"{method} versions"
    name = f"{method} {found[1]}{_ID.sub('/{id}', found[2])}"
    if not name.endswith("/action") or not body:
        return name
    return f"{name} {next(iter(json.loads(body)), '')}"


def make_session(conf: cfg.ConfigOpts, clock: Clock, http: HTTPAdapter | None = None) -> Any:
    """Return a keystoneauth session with the login of [nova].

    :param http: what carries requests instead of the network.
    """
    try:
        auth = loading.load_auth_from_conf_options(conf, "nova")
        check_answers(auth)
        guarded = GuardedSession(clock)
        guarded.trust_env = http is None  # the environment may name proxies, for the network
        for scheme in ("http://", "https://"):
            guarded.mount(scheme, http or _ConnectionAdapter(conf.nova.connect_timeout))
        return loading.load_session_from_conf_options(
            conf, "nova", auth=auth, session=guarded, app_name="hacore"
        )
    except (ks_exc.ClientException, cfg.Error, ValueError) as exc:
        raise _incomplete(exc) from exc


class Connection:
    """What a Nova and all its twins share.

    :ivar microversion: the one that was negotiated; None: none yet.
    """

    def __init__(self, conf: cfg.ConfigOpts, session: Any) -> None:
        self.session = session
        self.microversion: api_versions.APIVersion | None = None
        try:
            chosen = loading.load_adapter_from_conf_options(conf, "nova", session=session)
        except (ks_exc.ClientException, cfg.Error, ValueError) as exc:
            raise _incomplete(exc) from exc
        names = ("service_type", "service_name", "region_name", "endpoint_override")
        self._endpoint = {name: getattr(chosen, name) for name in names}
        self._endpoint["endpoint_type"] = chosen.interface
        #: Where in the catalogue other services are.
        self.where = {"region_name": chosen.region_name, "interface": chosen.interface}

    def client(self, version: api_versions.APIVersion, request_id: str | None) -> Any:
        """Return novaclient's HTTP client."""
        return nova_client.Client(
            version,
            session=self.session,
            global_request_id=request_id,
            connect_retries=0,  # `hacore.nova.retry` does that
            **self._endpoint,
        ).client


def check_login(conf: cfg.ConfigOpts, group: str) -> None:
    """Get a token with the login of another group; certificates are checked as [nova] says.

    Raises NovaError.
    """
    try:
        auth = loading.load_auth_from_conf_options(conf, group)
        check_answers(auth)
        loading.load_session_from_conf_options(
            conf, "nova", auth=auth, session=GuardedSession(SystemClock())
        ).get_auth_headers()
    except CLIENT_ERRORS as exc:
        raise errors.NovaError(f"Failed to log in to Keystone: {errors.first_line(exc)}") from exc


def _incomplete(exc: Exception) -> errors.ConfigError:
    return errors.ConfigError(f"The login in [nova] is incomplete: {exc}.")
