# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The only door to Nova: typed rows out, our errors out, one session for the process.

A read, or a write that may be repeated, is tried again with backoff while Nova
or Keystone is away or busy.  Only `Nova.evacuate` must not be repeated unread:
where its outcome is not known it raises NovaOutcomeUnknown.

Instances are matched to hosts by service host names
(``OS-EXT-SRV-ATTR:host``); hypervisor host names may differ.
"""

import contextvars
import copy
import dataclasses
import datetime
import email.utils
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import requests
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import identity, loading
from keystoneauth1.session import TCPKeepAliveAdapter
from novaclient import api_versions
from novaclient import client as nova_client
from novaclient import exceptions as nova_exc
from oslo_config import cfg
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_exc

from hacore import errors, metrics
from hacore.clock import Clock, SystemClock

LOG = logging.getLogger(__name__)
T = TypeVar("T")

#: The newest we use.  Since 2.73 a lock has a reason; from 2.95 on evacuated
#: servers stay stopped (nova: compute/api.py, evacuate), so never that far.
MICROVERSION = api_versions.APIVersion("2.90")
#: The oldest we work with (Pike): services are named by uuid.
OLDEST_MICROVERSION = api_versions.APIVersion("2.53")
_LOCK_REASON = api_versions.APIVersion("2.73")
_MIGRATIONS_SINCE = api_versions.APIVersion("2.59")

#: Seconds to wait for the answer to a disable or an enable; nova-compute, where it lives,
#: gives it in one.
_TURN_ANSWER_S = 3.0

#: Seconds in which a call that broke off may still be carried out: longer than a
#: request waits in front of Nova's API.
LATE_S = 15.0

_POOL_SIZE = 64  # connections kept; more than any engine's threads use at a time
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.25, 10.0
_BUSY = frozenset({429})
_AWAY = frozenset({500, 502, 503, 504})


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """A nova-compute service."""

    id: str
    host: str
    up: bool
    enabled: bool
    forced_down: bool
    disabled_reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A server, with what a recovery asks of it."""

    uuid: str
    name: str
    host: str | None
    vm_state: str
    task_state: str | None
    power_state: int
    locked: bool
    lock_reason: str | None
    metadata: dict[str, str]
    fault: str | None


#: Statuses of an evacuation that has ended; completed: the source host came back since.
EVACUATED = frozenset({"done", "completed"})
NOT_EVACUATED = frozenset({"failed", "error", "cancelled"})


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """One evacuation as Nova records it; ids of one instance ascend in time."""

    id: int
    instance_uuid: str
    status: str
    source_host: str
    dest_host: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Aggregate:
    """A host aggregate."""

    id: int
    name: str
    hosts: tuple[str, ...]


class Guard(Protocol):
    """Whether the work that a call is part of may go on."""

    def check(self) -> None:
        """Raise Interrupted (or LeaseLost) if it may not."""

    def wait(self, seconds: float) -> None:
        """Sleep; raise like `check` as soon as it may not."""


class FreeGuard:
    """The guard of calls that are part of no recovery."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._never = threading.Event()

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Sleep."""
        self._clock.wait(self._never, seconds)


class _HttpAdapter(TCPKeepAliveAdapter):
    """Keep connections of all threads; wait less long for a connection than for an answer."""

    def __init__(self, connect_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        super().__init__(pool_maxsize=_POOL_SIZE)

    def send(  # type: ignore[no-untyped-def, override]
        self, request, *, timeout=None, **kwargs
    ):
        return super().send(request, timeout=(self._connect_timeout_s, timeout), **kwargs)


#: The guard of the call that is being made, of each thread (and green thread) its own.
_GUARD: contextvars.ContextVar[Guard | None] = contextvars.ContextVar("guard", default=None)


class _Measured(requests.Session):
    """Asks the guard before every request, and counts how long its answer took.

    Libraries repeat requests by themselves, after a 401 with a new token or where they
    are redirected: whoever lost the lease meanwhile must not send that either.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        guard = _GUARD.get()
        if guard is not None:
            guard.check()
        asked, status = self._clock.monotonic(), "broken"
        try:
            answer = super().send(request, **kwargs)
            status = str(answer.status_code)
        finally:
            took_s = self._clock.monotonic() - asked
            call = metrics.nova_call(request.method, request.url, request.body)
            metrics.NOVA_SECONDS.labels(call, status).observe(took_s)
        return answer


class Nova:
    """Nova as the configured user sees it.  Safe for many threads.

    :param conf: options with [nova]; read, never written.
    :param retry_timeout_s: instead of [nova] retry_timeout.
    :param http: what carries requests instead of the network.

    Every method may raise `hacore.errors.NovaError`: TransientNovaError when
    Nova stayed away for longer than the retry timeout, NovaNotFound,
    NovaConflict, NovaForbidden, NovaBadRequest.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        retry_timeout_s: float | None = None,
        http: HTTPAdapter | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._random = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._retry_timeout_s = (
            conf.nova.retry_timeout if retry_timeout_s is None else retry_timeout_s
        )
        self._guard: Guard = FreeGuard(self._clock)
        self._request_id: str | None = None
        self._session, self._filter = _session(conf, http, self._clock)
        self._version: api_versions.APIVersion | None = None
        self._made: Any = None
        #: How often Nova or Keystone refused or broke off a call of this recovery.
        self.refusals = 0

    def bound(self, guard: Guard, request_id: str | None) -> "Nova":
        """Return this Nova for one recovery.

        `guard` is checked before every request; Nova logs `request_id` as the
        global request id.  Session and connections are shared.
        """
        twin = copy.copy(self)
        twin._guard, twin._request_id, twin._made = guard, request_id, None  # noqa: SLF001
        twin.refusals = 0
        return twin

    # ------------------------------------------------------------- log in

    def authenticate(self) -> datetime.datetime | None:
        """Log in, and ask Nova for nothing.

        Returns when, by Keystone's clock, it gave the token; None where it gives none.
        """
        what = "log in to Keystone"
        if not isinstance(self._session.auth, identity.BaseIdentityPlugin):
            self._repeat(self._session.get_auth_headers, what)
            return None
        access = self._repeat(lambda: self._session.auth.get_access(self._session), what)
        issued: datetime.datetime | None = access.issued
        return issued

    def log_in(self) -> None:
        """Get a token and agree on a microversion; nothing else needs this to be called."""
        _ = self._client

    def keep_token(self) -> None:
        """Get a token if there is none that lasts for two minutes; one try."""
        try:
            self._session.get_auth_headers()
        except ks_exc.ClientException as exc:
            raise _translated(exc, "log in to Keystone") from exc

    @property
    def microversion(self) -> str:
        """The microversion that was agreed on."""
        return str(self._client.api_version.get_string())

    def now(self) -> datetime.datetime | None:
        """Nova's clock, cut to seconds; None when its answers have no date."""
        answer, _ = self._repeat(
            lambda: self._client.client.get("/servers", params={"limit": 1}), "read Nova's clock"
        )
        date = answer.headers.get("Date")
        return email.utils.parsedate_to_datetime(date) if date else None

    @property
    def lock_has_reason(self) -> bool:
        """Whether this Nova keeps the reason of a lock."""
        return bool(self._client.api_version >= _LOCK_REASON)

    @property
    def _client(self) -> Any:
        if self._made is None:
            if self._version is None:
                self._version = self._repeat(self._negotiate, "agree on a microversion")
            self._made = self._client_at(self._version)
        return self._made

    def _client_at(self, version: api_versions.APIVersion) -> Any:
        # 0: trying again is _repeat's business
        return nova_client.Client(
            version,
            session=self._session,
            global_request_id=self._request_id,
            connect_retries=0,
            **self._filter,
        )

    def _negotiate(self) -> api_versions.APIVersion:
        offered = self._client_at(api_versions.APIVersion("2.1")).versions.get_current()
        if offered is None:
            raise errors.NovaError("The compute endpoint is not that of Nova's API v2.1.")
        newest = api_versions.APIVersion(offered.version or "2.1")
        if newest < OLDEST_MICROVERSION:
            raise errors.NovaError(
                f"Nova offers microversions up to {newest.get_string()}; hacore needs "
                f"{OLDEST_MICROVERSION.get_string()} (Pike) or later."
            )
        return min(newest, MICROVERSION)

    # ----------------------------------------------------------- services

    def services(self) -> list[Service]:
        """Return all nova-compute services."""
        rows = self._repeat(
            lambda: self._client.services.list(binary="nova-compute"), "list the compute services"
        )
        return [_service(row) for row in rows]

    def service(self, host: str) -> Service | None:
        """Return the nova-compute service of `host`, or None when Nova knows none."""
        rows = self._repeat(
            lambda: self._client.services.list(host=host, binary="nova-compute"),
            f"read the compute service of {host}",
        )
        return next((_service(row) for row in rows if row.host == host), None)

    def disable_service(self, service: Service, reason: str) -> None:
        """Keep the scheduler from placing instances there."""
        self._turn(service, {"status": "disabled", "disabled_reason": reason}, "disable")

    def enable_service(self, service: Service) -> None:
        """Let the scheduler place instances there."""
        self._turn(service, {"status": "enabled"}, "enable")

    def _turn(self, service: Service, body: dict[str, str], verb: str) -> None:
        """Disable or enable.

        Nova writes this down and then, of a host that it holds for up, waits for
        nova-compute to take note: for its rpc_response_timeout (60 s) where that has
        just died (nova: compute/api.py, _update_compute_provider_status).  So the
        answer is not waited for for long; what was written is read.
        """
        path = f"/os-services/{service.id}"

        def turn() -> None:
            try:
                self._client.client.put(path, body=body, timeout=_TURN_ANSWER_S)
            except ks_exc.ConnectTimeout:
                rows = self._client.services.list(host=service.host, binary="nova-compute")
                if not any(row.id == service.id and row.status == body["status"] for row in rows):
                    raise

        self._repeat(turn, f"{verb} nova-compute on {service.host}")

    def force_down(self, service: Service) -> None:
        """Tell Nova that the host is off, so that it need not find out by itself."""
        self._repeat(
            lambda: self._client.services.force_down(service.id, True),
            f"force down nova-compute on {service.host}",
        )

    # ---------------------------------------------------------- instances

    def instances_on(self, host: str) -> list[Instance]:
        """Return all instances of `host`, of all projects."""
        rows = self._repeat(
            lambda: list(
                _pages(self._client, "/servers/detail", "servers", {"all_tenants": 1, "host": host})
            ),
            f"list the instances of {host}",
        )
        return [_instance(row) for row in rows]

    def uuids_on(self, host: str) -> frozenset[str]:
        """Return the uuids of all instances of `host`."""
        rows = self._repeat(
            lambda: list(
                _pages(self._client, "/servers", "servers", {"all_tenants": 1, "host": host})
            ),
            f"list the instances of {host}",
        )
        return frozenset(row["id"] for row in rows)

    def instance(self, uuid: str) -> Instance:
        """Return one instance.  Raises NovaNotFound."""
        row = self._repeat(lambda: self._client.servers.get(uuid), f"read instance {uuid}")
        return _instance(row.to_dict())

    def lock(
        self, uuid: str, reason: str, about_to_call: Callable[[], None] = lambda: None
    ) -> None:
        """Keep the owner from changing the instance; Nova keeps `reason` from 2.73 on.

        :param about_to_call: called before each time that the call is sent.
        """
        given = {"locked_reason": reason} if self.lock_has_reason else None
        what = f"lock instance {uuid}"
        self._repeat(
            lambda: self._act(uuid, {"lock": given}, what, about_to_call), what, undone_later=True
        )

    def unlock(self, uuid: str) -> None:
        """Undo `lock`; an instance that is not locked is fine."""
        self._repeat(lambda: self._client.servers.unlock(uuid), f"unlock instance {uuid}")

    def reset_state(
        self, uuid: str, vm_state: str, about_to_call: Callable[[], None] = lambda: None
    ) -> None:
        """Set vm_state to ``active`` or ``error`` and clear task_state, in Nova's database only.

        :param about_to_call: called before each time that the call is sent.
        """
        body = {"os-resetState": {"state": vm_state}}
        what = f"reset the state of instance {uuid} to {vm_state}"
        self._repeat(lambda: self._act(uuid, body, what, about_to_call), what, undone_later=True)

    def stop(self, uuid: str, about_to_call: Callable[[], None] = lambda: None) -> None:
        """Ask Nova to stop the instance.  Raises NovaConflict when it is in no state for that.

        :param about_to_call: called before each time that the call is sent.
        """
        what = f"stop instance {uuid}"
        self._repeat(
            lambda: self._act(uuid, {"os-stop": None}, what, about_to_call),
            what,
            undone_later=True,
        )

    def start(self, uuid: str) -> None:
        """Ask Nova to start the instance.  Raises NovaConflict when it is in no state for that."""
        self._repeat(lambda: self._client.servers.start(uuid), f"start instance {uuid}")

    def evacuate(
        self,
        uuid: str,
        host: str | None = None,
        about_to_call: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask Nova to rebuild the instance on `host`, or where the scheduler chooses.

        Returns when Nova has accepted it.  Raises NovaOutcomeUnknown when the
        call broke off: look for a migration record before calling again.

        :param about_to_call: called before each time that the call is sent.
        """

        body = {"evacuate": {} if host is None else {"host": host}}
        what = f"evacuate instance {uuid}"
        self._repeat(lambda: self._act(uuid, body, what, about_to_call), what, repeatable=False)

    def _act(
        self, uuid: str, body: dict[str, Any], what: str, about_to_call: Callable[[], None]
    ) -> None:
        """Change an instance; `about_to_call` is called just before each time that this is sent."""

        def send() -> None:
            self._session.get_auth_headers()  # so that nothing is waited for after the next line
            about_to_call()
            # neither sent again with a new token nor to another place: not by a library
            answer, _ = self._client.client.post(
                f"/servers/{uuid}/action", body=body, allow_reauth=False, redirect=False
            )
            if answer.status_code >= 300:
                raise errors.NovaError(
                    f"Could not {what}: Nova redirects the call (status {answer.status_code}); "
                    "set [nova] endpoint_override or correct the catalogue"
                )

        try:
            send()
        except nova_exc.Unauthorized:  # Nova has done nothing
            if not self._session.invalidate():
                raise
            send()

    def evacuations_from(
        self, host: str, since: datetime.datetime | None = None
    ) -> list[Migration]:
        """Return Nova's records of evacuations from `host`, of all projects.

        :param since: only records changed after it, where Nova can tell (2.59).
            A record that never changed is left out then, however new it is
            (nova: db/main/api.py compares updated_at, which is NULL).
        """
        query: dict[str, Any] = {"migration_type": "evacuation", "source_compute": host}

        if since is not None and self._client.api_version >= _MIGRATIONS_SINCE:
            query["changes-since"] = since.isoformat()
        rows = self._repeat(
            lambda: list(_pages(self._client, "/os-migrations", "migrations", query)),
            f"list the evacuations from {host}",
        )
        return [_migration(row) for row in rows]

    # --------------------------------------------------------- aggregates

    def aggregates(self) -> list[Aggregate]:
        """Return all host aggregates."""
        rows = self._repeat(lambda: self._client.aggregates.list(), "list the aggregates")
        return [Aggregate(id=row.id, name=row.name, hosts=tuple(row.hosts)) for row in rows]

    def add_to_aggregate(self, aggregate: Aggregate, host: str) -> None:
        """Add `host` to `aggregate`; a member already is fine."""
        try:
            self._repeat(
                lambda: self._client.aggregates.add_host(aggregate.id, host),
                f"add {host} to aggregate {aggregate.name}",
            )
        except errors.NovaConflict:
            LOG.info("aggregate %s: %s is a member already", aggregate.name, host)

    # ------------------------------------------------------------ calling

    def _repeat(
        self,
        call: Callable[[], T],
        what: str,
        *,
        repeatable: bool = True,
        undone_later: bool = False,
    ) -> T:
        """Call until it works, Nova refuses, or the retry timeout is over.

        :param undone_later: what follows may undo this: a try that broke off must
            not be carried out after that, so it is waited until it cannot be, also
            where another try fails.
        """
        deadline = self._clock.monotonic() + self._retry_timeout_s
        backoff_s = _FIRST_BACKOFF_S
        late_until = 0.0
        while True:
            self._guard.check()
            try:
                result = self._guarded(call)
            except (nova_exc.ClientException, ks_exc.ClientException) as exc:
                error = _translated(exc, what)
                if isinstance(error, errors.TransientNovaError | errors.NovaOutcomeUnknown):
                    self.refusals += 1
                away = isinstance(error, errors.TransientNovaError) or (
                    repeatable and isinstance(error, errors.NovaOutcomeUnknown)
                )
                if undone_later and isinstance(error, errors.NovaOutcomeUnknown):
                    late_until = self._clock.monotonic() + LATE_S
                if away and self._clock.monotonic() >= deadline:
                    error = errors.TransientNovaError(
                        f"{error} (tried for {self._retry_timeout_s:g} s)"
                    )
                    away = False
                if not away:
                    self._outwait(late_until)
                    raise error from exc
                pause_s = max(
                    getattr(exc, "retry_after", 0), self._random.uniform(backoff_s / 2, backoff_s)
                )
                LOG.warning("%s; trying again in %.1f s", error, pause_s)
            else:
                self._outwait(late_until)
                return result
            self._guard.wait(pause_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _outwait(self, moment: float) -> None:
        late_s = moment - self._clock.monotonic()
        if late_s > 0:
            self._guard.wait(late_s)

    def _guarded(self, call: Callable[[], T]) -> T:
        """Call; the guard is asked before every request of it."""
        token = _GUARD.set(self._guard)
        try:
            return call()
        finally:
            _GUARD.reset(token)


def _session(
    conf: cfg.ConfigOpts, adapter: HTTPAdapter | None, clock: Clock
) -> tuple[Any, dict[str, Any]]:
    """Return a keystoneauth session, and which endpoint of the catalogue to use."""
    # else novaclient writes every uuid it reads into ~/.novaclient, for its shell to complete
    os.environ.setdefault("NOVACLIENT_UUID_CACHE_DIR", os.devnull)
    try:
        auth = loading.load_auth_from_conf_options(conf, "nova")
        http = _Measured(clock)
        for scheme in ("http://", "https://"):
            http.mount(scheme, adapter or _HttpAdapter(conf.nova.connect_timeout))
        session = loading.load_session_from_conf_options(
            conf, "nova", auth=auth, session=http, app_name="hacore"
        )
        chosen = loading.load_adapter_from_conf_options(conf, "nova", session=session)
    except (ks_exc.ClientException, cfg.Error, ValueError) as exc:
        raise errors.ConfigError(f"The login in [nova] is not complete: {exc}.") from exc
    names = ("service_type", "service_name", "region_name", "endpoint_override")
    endpoint = {name: getattr(chosen, name) for name in names}
    return session, {**endpoint, "endpoint_type": chosen.interface}


def check_login(conf: cfg.ConfigOpts, group: str) -> None:
    """Get a token with the login of another group; certificates are checked as [nova] says.

    Raises NovaError.
    """
    try:
        auth = loading.load_auth_from_conf_options(conf, group)
        loading.load_session_from_conf_options(conf, "nova", auth=auth).get_auth_headers()
    except ks_exc.ClientException as exc:
        raise errors.NovaError(f"Could not log in to Keystone: {_reason(exc)}") from exc


def _pages(client: Any, path: str, key: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of every page.

    novaclient's own lists stop after one page, or ask for one page too many
    (limit=-1) where there is but one.
    """
    while True:
        _, body = client.client.get(path, params=query)
        yield from body[key]
        if not body[key] or not any(link["rel"] == "next" for link in body.get(f"{key}_links", ())):
            return
        last = body[key][-1]
        query = {**query, "marker": last["uuid"] if key == "migrations" else last["id"]}


def _service(row: Any) -> Service:
    return Service(
        id=row.id,
        host=row.host,
        up=row.state == "up" and not row.forced_down,
        enabled=row.status == "enabled",
        forced_down=row.forced_down,
        disabled_reason=row.disabled_reason,
    )


def _instance(row: dict[str, Any]) -> Instance:
    return Instance(
        uuid=row["id"],
        name=row["name"],
        host=row.get("OS-EXT-SRV-ATTR:host"),
        vm_state=row["OS-EXT-STS:vm_state"],
        task_state=row["OS-EXT-STS:task_state"],
        power_state=row["OS-EXT-STS:power_state"],
        locked=bool(row.get("locked")),
        lock_reason=row.get("locked_reason"),
        metadata=row.get("metadata", {}),
        fault=row.get("fault", {}).get("message"),
    )


def _migration(row: dict[str, Any]) -> Migration:
    return Migration(
        id=row["id"],
        instance_uuid=row["instance_uuid"],
        status=row["status"],
        source_host=row["source_compute"],
        dest_host=row.get("dest_compute"),
    )


def _translated(exc: Exception, what: str) -> errors.NovaError:
    """Say in our words what a client's exception means."""
    if isinstance(exc, ks_exc.ConnectFailure | ks_exc.ConnectTimeout | ks_exc.ConnectionError):
        if _was_sent(exc):
            return errors.NovaOutcomeUnknown(f"Could not {what}: the connection broke off ({exc})")
        return errors.TransientNovaError(f"Could not {what}: {exc}")
    text = f"Could not {what}: {_reason(exc)}"
    if isinstance(exc, nova_exc.ClientException):
        return _of_nova(exc.code, text)
    return _of_keystone(exc, text)


def _of_nova(code: int, text: str) -> errors.NovaError:
    if code in _BUSY:
        return errors.TransientNovaError(text)
    if code in _AWAY:
        return errors.NovaOutcomeUnknown(text)
    kinds = {
        400: errors.NovaBadRequest,
        401: errors.NovaForbidden,
        403: errors.NovaForbidden,
        404: errors.NovaNotFound,
        409: errors.NovaConflict,
    }
    return kinds.get(code, errors.NovaError)(text)


def _of_keystone(exc: Exception, text: str) -> errors.NovaError:
    """What keystoneauth raises itself: Keystone was asked, Nova has seen nothing."""
    status = getattr(exc, "http_status", None)
    # DiscoveryFailure: nothing, or nothing of Keystone's, answers at auth_url
    if status in _AWAY or status in _BUSY or isinstance(exc, ks_exc.DiscoveryFailure):
        return errors.TransientNovaError(text)
    if isinstance(exc, ks_exc.Unauthorized):
        return errors.NovaForbidden(f"{text}; check the login in [nova]")
    if isinstance(exc, ks_exc.EndpointNotFound):
        return errors.NovaError(
            f"{text}; check [nova] region_name and valid_interfaces against the catalogue"
        )
    return errors.NovaError(text)


def _reason(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__


def _was_sent(exc: BaseException | None) -> bool:
    """Whether the request may have left: False only where no connection came about."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        reasons = [exc, *exc.args, getattr(exc, "reason", None)]
        reasons += [getattr(argument, "reason", None) for argument in exc.args]
        if any(
            isinstance(reason, urllib3_exc.NewConnectionError | urllib3_exc.ConnectTimeoutError)
            for reason in reasons
        ):
            return False
        exc = exc.__cause__ or exc.__context__
    return True
