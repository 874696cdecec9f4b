# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Nova, as the engine and the API use it: one method for each question and each order.

A read, or a write that may be repeated, is retried with backoff while Nova or Keystone
is unavailable.  Only `Nova.evacuate` must not be repeated before Nova has been read:
where its outcome is not known it raises NovaOutcomeUnknown.

Instances are matched to hosts by service host names
(``OS-EXT-SRV-ATTR:host``); hypervisor host names may differ.
"""

import copy
import datetime
import email.utils
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import identity
from novaclient import exceptions as nova_exc
from oslo_config import cfg
from requests.adapters import HTTPAdapter

from hacore import errors
from hacore.clock import Clock, SystemClock
from hacore.nova import microversions, responses
from hacore.nova.neighbours import Neighbours
from hacore.nova.responses import Page, Shape
from hacore.nova.retry import Guard, Retrier, Unguarded
from hacore.nova.session import Connection, make_session
from hacore.nova.translation import CLIENT_ERRORS, translated
from hacore.nova.types import (
    Action,
    Aggregate,
    Beat,
    Instance,
    Migration,
    NetworkAgent,
    Service,
)

LOG = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds to wait for the answer to a disable or an enable; a living nova-compute
#: gives it in one.
_SERVICE_ANSWER_S = 3.0
#: By how many seconds the age of an action may be more than what its start and Nova's clock
#: say: the Date of an answer is cut to seconds and the start rounded to them; the newest
#: heartbeat of a service is older than the answer ([DEFAULT] report_interval of nova: 10).
_DATE_ERROR_S = 2.0
_HEARTBEAT_ERROR_S = 15.0
#: Seconds from the beginning of its record in which a call leaves: with the time in front of
#: Nova's API less than LATE_S.  And how often it is recorded again before that is given up.
_SOON_S, _MOST_RECORDS = 3.0, 5


#: The trait of a host that is disabled (nova: compute/manager.py, _update_compute_provider_status).
_DISABLED = "COMPUTE_STATUS_DISABLED"

#: Of one list; Nova's pages have up to 1,000 rows.
_MOST_PAGES = 1000


class Nova:
    """Nova as the configured user sees it.  Safe for many threads.

    :param conf: options with [nova]; read, never written.
    :param retry_timeout_s: instead of [nova] retry_timeout.
    :param session: a keystoneauth session, instead of one made from `conf`.
    :param http: what carries requests instead of the network.

    Every method may raise `hacore.errors.NovaError`: TransientNovaError when
    Nova was unavailable for longer than the retry timeout, NovaNotFound,
    NovaConflict, NovaForbidden, NovaBadRequest.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        retry_timeout_s: float | None = None,
        session: Any = None,
        http: HTTPAdapter | None = None,
    ) -> None:
        self._clock = clock = clock or SystemClock()
        self._retrier = Retrier(
            clock,
            rng or random.Random(),  # noqa: S311 - jitter, no secret
            conf.nova.retry_timeout if retry_timeout_s is None else retry_timeout_s,
            Unguarded(clock),
        )
        self._session = session or make_session(conf, clock, http)
        self._connection = Connection(conf, self._session)
        self._request_id: str | None = None
        self._may_move: Callable[[], None] = lambda: None
        self._made: Any = None

    def bound(
        self, guard: Guard, request_id: str | None, may_move: Callable[[], None] = lambda: None
    ) -> "Nova":
        """Return this Nova for one recovery.

        `guard` is checked before every request; Nova logs `request_id` as the
        global request id.  Session, connections and microversion are shared.

        :param may_move: called before each evacuate call that is sent, whoever makes it; raises
            where it is not safe.
        """
        twin = copy.copy(self)
        twin._retrier = self._retrier.guarded_by(guard)  # noqa: SLF001
        twin._may_move = may_move  # noqa: SLF001
        twin._request_id, twin._made = request_id, None  # noqa: SLF001
        return twin

    @property
    def refusals(self) -> int:
        """How often Nova or Keystone was unavailable for a call of this recovery.

        Calls that change the same instance count once.
        """
        return self._retrier.refusals

    # ------------------------------------------------------------- log in

    def authenticate(self) -> datetime.datetime | None:
        """Log in to Keystone, and send nothing to Nova.

        Returns when, by Keystone's clock, the token was issued; None where it does not say.
        """
        what = "log in to Keystone"
        if not isinstance(self._session.auth, identity.BaseIdentityPlugin):
            self._retrier.call(self._session.get_auth_headers, what)
            return None
        access = self._retrier.call(lambda: self._session.auth.get_access(self._session), what)
        issued: datetime.datetime | None = access.issued
        return issued

    def log_in(self) -> None:
        """Get a token and negotiate the microversion; nothing else needs this to be called."""
        _ = self._client

    def keep_token(self) -> None:
        """Get a token if there is none that lasts for two minutes; one try."""
        try:
            self._session.get_auth_headers()
        except CLIENT_ERRORS as exc:
            raise translated(exc, "log in to Keystone") from exc

    @property
    def microversion(self) -> str:
        """The microversion that was negotiated."""
        return str(self._client.api_version.get_string())

    def now(self) -> datetime.datetime | None:
        """Nova's clock, cut to seconds; None when its answers have no date."""

        def read_date() -> str | None:
            answer, body = self._request("GET", "/servers", params={"limit": 1})
            responses.read(answer, body, responses.uuids_page)
            date: str | None = answer.headers.get("Date")
            return date

        date = self._retrier.call(read_date, "read Nova's clock")
        return _date(date)

    @property
    def lock_has_reason(self) -> bool:
        """Whether this Nova keeps the reason of a lock."""
        return bool(self._client.api_version >= microversions.LOCK_REASON)

    # ----------------------------------------------------------- services

    def beats(self) -> list[Beat]:
        """Return the heartbeats of all services; one try."""
        try:
            return self._send("GET", "/os-services", responses.beats)
        except CLIENT_ERRORS as exc:
            raise translated(exc, "list the services of Nova") from exc

    def host_names(self) -> list[str]:
        """Return the host of each nova-compute service, also of those in cells that are down."""
        query = {"binary": "nova-compute"}
        return self._get("list the compute services", "/os-services", responses.host_names, query)

    def service(self, host: str) -> Service | None:
        """Return the nova-compute service of `host`, or None when Nova knows none."""
        rows = self._retrier.call(
            lambda: self._services_of(host), f"read the compute service of {host}"
        )
        if len(rows) > 1:
            raise errors.NovaError(of_several(host, len(rows)))
        return rows[0] if rows else None

    def disable_service(self, service: Service, reason: str) -> None:
        """Keep the scheduler from placing instances on the host."""
        self._set_enabled(service, False, {"status": "disabled", "disabled_reason": reason})

    def enable_service(self, service: Service) -> None:
        """Let the scheduler place instances on the host."""
        self._set_enabled(service, True, {"status": "enabled"})

    def _set_enabled(self, service: Service, enabled: bool, body: dict[str, str]) -> None:
        """Disable or enable.

        Nova stores this and then, where it considers the host up, waits for nova-compute
        to confirm: for its rpc_response_timeout (60 s) where that has just died (nova:
        compute/api.py, _update_compute_provider_status).  So after a short wait for the
        answer, what Nova has stored is read.
        """

        def put() -> None:
            try:
                self._send(
                    "PUT",
                    f"/os-services/{service.id}",
                    responses.service_as(service.host, "status", body["status"]),
                    body=body,
                    timeout=_SERVICE_ANSWER_S,
                )
            except ks_exc.ConnectTimeout:
                rows = self._services_of(service.host)
                if not any(row.id == service.id and row.enabled is enabled for row in rows):
                    raise

        verb = "enable" if enabled else "disable"
        self._retrier.call(put, f"{verb} nova-compute on {service.host}")

    def force_down(self, service: Service) -> None:
        """Set Nova's flag that makes it treat the host as down."""
        self._set_forced_down(service, value=True)

    def force_up(self, service: Service) -> None:
        """Take the flag of `force_down` off.

        Raises NovaBadRequest while evacuations from the host are recorded as ``done``.
        """
        self._set_forced_down(service, value=False)

    def _set_forced_down(self, service: Service, *, value: bool) -> None:
        self._retrier.call(
            lambda: self._send(
                "PUT",
                f"/os-services/{service.id}",
                responses.service_as(service.host, "forced_down", value),
                body={"forced_down": value},
            ),
            f"force {'down' if value else 'up'} nova-compute on {service.host}",
        )

    def network_agents(self, host: str) -> list[NetworkAgent]:
        """Return the agents of Neutron on `host`; none where the catalogue has no Neutron."""
        return self._neighbours.agents(host)

    def resource_providers(self, host: str) -> list[str]:
        """Return those that `host` has in Placement; none where the catalogue has no Placement."""
        if not self._neighbours.has_placement():
            return []
        what, path = f"list the hypervisors of {host}", "/os-hypervisors/detail"
        rows = self._get_pages(what, path, responses.hypervisors_page, {})
        return [node for node, of_host in rows if of_host == host]

    def gives_no_room(self, providers: Iterable[str]) -> bool:
        """Whether Placement gives no room on one of them, because its nova-compute was disabled."""
        return any(_DISABLED in self._neighbours.traits(each) for each in providers)

    def consumers(self, provider: str) -> frozenset[str]:
        """Return the UUIDs of what Placement gives room of a resource provider."""
        return self._neighbours.consumers(provider)

    @property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self._session, self._retrier, self._connection.where)

    def _services_of(self, host: str) -> list[Service]:
        query = {"host": host, "binary": "nova-compute"}
        return self._send("GET", "/os-services", responses.services_of(host), params=query)

    # ---------------------------------------------------------- instances

    def instances_on(self, host: str) -> list[Instance]:
        """Return all instances of `host`, of all projects."""
        query = {"all_tenants": 1, "host": host}
        what = f"list the instances of {host}"
        rows = self._get_pages(what, "/servers/detail", responses.instances_page, query)
        for row in rows:
            if row.host is None:
                raise errors.NovaError(
                    f"Failed to {what}: Nova shows no host of instance {row.uuid}; allow hacore's "
                    "user os_compute_api:os-extended-server-attributes in Nova's policy."
                )
            if row.host != host:
                raise errors.NovaError(
                    f"Failed to {what}: Nova ignores the filter by host (instance {row.uuid} of "
                    f"{row.host} is in the list), so the list is not believed; allow hacore's user "
                    "os_compute_api:servers:allow_all_filters in Nova's policy."
                )
        return rows

    def uuids_on(self, host: str) -> frozenset[str]:
        """Return the uuids of all instances of `host`; nothing in them shows that they are its."""
        query = {"all_tenants": 1, "host": host}
        what = f"list the instances of {host}"
        return frozenset(self._get_pages(what, "/servers", responses.uuids_page, query))

    def instance(self, uuid: str) -> Instance:
        """Return one instance.  Raises NovaNotFound."""
        what = f"read instance {uuid}"
        instance = self._get(what, f"/servers/{uuid}", responses.instance)
        _believe(what, instance.uuid == uuid)
        return instance

    def actions(self, uuid: str) -> list[Action]:
        """Return what was done to an instance, the newest first.  Raises NovaNotFound.

        Each start is compared with Nova's own clock: the Date of the same answer, or, where
        what serves Nova's API writes none (uWSGI does not), the newest heartbeat.
        """
        what = f"read the actions of instance {uuid}"

        def read() -> tuple[list[tuple[str, bool, datetime.datetime]], str | None]:
            answer, body = self._request("GET", f"/servers/{uuid}/os-instance-actions")
            date: str | None = answer.headers.get("Date")
            return responses.read(answer, body, responses.actions), date

        rows, date = self._retrier.call(read, what)
        now, error_s = _date(date), _DATE_ERROR_S
        if now is None:
            now = self._get(what, "/os-services", responses.newest_heartbeat)
            error_s = _HEARTBEAT_ERROR_S
        return [
            Action(name, failed, (now - start).total_seconds() + error_s)
            for name, failed, start in rows
        ]

    def lock(
        self, uuid: str, reason: str, about_to_call: Callable[[], None] = lambda: None
    ) -> None:
        """Keep the owner from changing the instance; Nova keeps `reason` from 2.73 on.

        :param about_to_call: called before each time that the call is sent.
        """
        given = {"locked_reason": reason} if self.lock_has_reason else None
        self._retrier.call(
            lambda: self._act_once(uuid, {"lock": given}, about_to_call),
            f"lock instance {uuid}",
            undone_later=True,
            instance=uuid,
        )

    def unlock(self, uuid: str) -> None:
        """Undo `lock`; an instance that is not locked is fine."""
        self._retrier.call(
            lambda: self._act(uuid, {"unlock": None}), f"unlock instance {uuid}", instance=uuid
        )

    def reset_state(
        self, uuid: str, vm_state: str, about_to_call: Callable[[], None] = lambda: None
    ) -> None:
        """Set vm_state to ``active`` or ``error`` and clear task_state, in Nova's database only.

        :param about_to_call: called before each time that the call is sent.
        """
        body = {"os-resetState": {"state": vm_state}}
        self._retrier.call(
            lambda: self._act_once(uuid, body, about_to_call),
            f"reset the state of instance {uuid} to {vm_state}",
            undone_later=True,
            instance=uuid,
        )

    def stop(self, uuid: str, about_to_call: Callable[[], None] = lambda: None) -> None:
        """Ask Nova to stop the instance.  Raises NovaConflict when its state does not allow that.

        :param about_to_call: called before each time that the call is sent.
        """
        self._retrier.call(
            lambda: self._act_once(uuid, {"os-stop": None}, about_to_call),
            f"stop instance {uuid}",
            undone_later=True,
            instance=uuid,
        )

    def start(self, uuid: str) -> None:
        """Ask Nova to start the instance.  Raises NovaConflict when its state does not allow it."""
        self._retrier.call(
            lambda: self._act(uuid, {"os-start": None}), f"start instance {uuid}", instance=uuid
        )

    def evacuate(
        self,
        uuid: str,
        host: str | None = None,
        about_to_call: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask Nova to rebuild the instance on `host`, or where the scheduler chooses.

        Returns when Nova has accepted it.  Raises NovaOutcomeUnknown when there was
        no answer: look for a migration record before calling again.

        :param about_to_call: called before each time that the call is sent.
        """
        body = {"evacuate": {} if host is None else {"host": host}}

        def about_to_move() -> None:
            self._may_move()  # each time: a call may be retried for minutes
            about_to_call()

        self._retrier.call(
            lambda: self._act_once(uuid, body, about_to_move),
            f"evacuate instance {uuid}",
            repeatable=False,
            instance=uuid,
        )

    def evacuations_from(
        self, host: str, since: datetime.datetime | None = None
    ) -> list[Migration]:
        """Return Nova's records of evacuations from `host`, of all projects.

        :param since: only records changed after it, where Nova supports that (2.59).
            A record that never changed is left out then, however new it is
            (nova: db/main/api.py compares updated_at, which is NULL).
        """
        query: dict[str, Any] = {"migration_type": "evacuation", "source_compute": host}
        if since is not None and self._client.api_version >= microversions.MIGRATIONS_SINCE:
            query["changes-since"] = since.isoformat()
        what = f"list the evacuations from {host}"
        rows = self._get_pages(what, "/os-migrations", responses.migrations_page, query)
        _believe(what, all((row.source_host, row.type) == (host, "evacuation") for row in rows))
        return rows

    def migrations_of(self, uuid: str) -> list[Migration]:
        """Return Nova's records of all migrations of an instance, the newest first."""
        query = {"instance_uuid": uuid}
        what = f"list the migrations of instance {uuid}"
        rows = self._get_pages(what, "/os-migrations", responses.migrations_page, query)
        _believe(what, all(row.instance_uuid == uuid for row in rows))
        return sorted(rows, key=lambda record: record.id, reverse=True)

    # --------------------------------------------------------- aggregates

    def aggregates(self) -> list[Aggregate]:
        """Return all host aggregates."""
        return self._get("list the aggregates", "/os-aggregates", responses.aggregates)

    def add_to_aggregate(self, aggregate: Aggregate, host: str) -> None:
        """Add `host` to `aggregate`; a member already is fine.

        Raises NovaConflict where the host cannot be in it: it is in another availability zone.
        """
        try:
            self._change_members(aggregate, "add_host", host, f"add {host} to", True)
        except errors.NovaConflict:
            if not self._is_member(aggregate, host):
                raise
            LOG.info("Host %s is already in aggregate %s", host, aggregate.name)

    def remove_from_aggregate(self, aggregate: Aggregate, host: str) -> None:
        """Remove `host` from `aggregate`; no member of it is fine."""
        try:
            self._change_members(aggregate, "remove_host", host, f"remove {host} from", False)
        except errors.NovaNotFound:
            if self._is_member(aggregate, host):
                raise

    def _change_members(
        self, aggregate: Aggregate, action: str, host: str, what: str, member: bool
    ) -> None:
        path, body = f"/os-aggregates/{aggregate.id}/action", {action: {"host": host}}
        shape = responses.aggregate_with(host, member)
        self._retrier.call(
            lambda: self._send("POST", path, shape, body=body),
            f"{what} aggregate {aggregate.name}",
        )

    def _is_member(self, aggregate: Aggregate, host: str) -> bool:
        return any(row.id == aggregate.id and host in row.hosts for row in self.aggregates())

    # ------------------------------------------------------------ sending

    @property
    def _client(self) -> Any:
        """novaclient's HTTP client, at the microversion that all twins share."""
        version = self._connection.microversion
        if version is None:
            version = self._retrier.call(
                lambda: microversions.negotiate(self._connection, self._request_id),
                "negotiate the microversion",
            )
            self._connection.microversion = version
        if self._made is None or self._made.api_version != version:
            self._made = self._connection.client(version, self._request_id)
        return self._made

    def _send(
        self, method: str, path: str, shape: Shape[T], status: int = 200, **options: Any
    ) -> T:
        """Send one request; what comes back is believed if it has the status and the shape."""
        answer, body = self._request(method, path, **options)
        try:
            return responses.read(answer, body, shape, status)
        except nova_exc.NotAcceptable:  # an older Nova runs now: negotiate at the next request
            self._connection.microversion = None
            raise

    def _request(self, method: str, path: str, **options: Any) -> tuple[requests.Response, Any]:
        """Return the answer to one request, and its body as far as that is JSON."""
        try:
            answer, body = self._client.request(path, method, raise_exc=False, **options)
        except RecursionError as exc:
            raise responses.UnexpectedResponse(
                "unexpected answer from Nova: JSON that is nested without end"
            ) from exc
        return answer, body

    def _get(self, what: str, path: str, shape: Shape[T], query: dict[str, Any] | None = None) -> T:
        return self._retrier.call(lambda: self._send("GET", path, shape, params=query), what)

    def _get_pages(
        self, what: str, path: str, shape: Shape[Page[T]], query: dict[str, Any]
    ) -> list[T]:
        """Return the rows of every page.

        novaclient's own lists stop after one page, or ask for one page too many
        (limit=-1) where there is but one.
        """

        def read() -> list[T]:
            rows: list[T] = []
            asked, markers = query, set()
            for _ in range(_MOST_PAGES):
                page = self._send("GET", path, shape, params=asked)
                rows += page.rows
                if page.next_marker is None:
                    return rows
                if page.next_marker in markers:
                    break
                markers.add(page.next_marker)
                asked = {**query, "marker": page.next_marker}
            raise responses.UnexpectedResponse(f"the pages of {path} do not end")

        return self._retrier.call(read, what)

    def _act(self, uuid: str, body: dict[str, Any], **options: Any) -> None:
        status = 200 if "evacuate" in body else 202  # since 2.14 all are without a body
        path = f"/servers/{uuid}/action"
        self._send("POST", path, responses.nothing, status, body=body, **options)

    def _act_once(self, uuid: str, body: dict[str, Any], about_to_call: Callable[[], None]) -> None:
        """Change an instance; `about_to_call` is called just before each time that this is sent."""

        def send() -> None:
            self._session.get_auth_headers()  # so that nothing is waited for after the next line
            self._record(about_to_call)
            # neither sent again with a new token nor to another place: not by a library
            self._act(uuid, body, allow_reauth=False, redirect=False)

        try:
            send()
        except nova_exc.Unauthorized:  # Nova has done nothing
            if not self._session.invalidate():
                raise
            send()

    def _record(self, about_to_call: Callable[[], None]) -> None:
        """Have the call recorded, so that it leaves soon after that.

        Who finds the record knows by its age whether the call may still be on its way: a record
        from before this process was frozen, or the database slow, would say that it is not.
        """
        for _ in range(_MOST_RECORDS):
            begun = self._clock.monotonic()
            about_to_call()
            if self._clock.monotonic() - begun <= _SOON_S:
                return
        raise errors.TransientNovaError(
            f"The call was not sent: to record it took longer than {_SOON_S:g} s, "
            f"{_MOST_RECORDS} times; check the database."
        )


def of_several(host: str, count: int) -> str:
    """Return the sentence about `count` compute services that have one host name."""
    return (
        f"Nova has {count} compute services on hosts named {host}, and hacore cannot know which of "
        "them has failed; give each host a name of its own."
    )


def _date(text: str | None) -> datetime.datetime | None:
    """Read the Date of an answer; None where it has none, or none that says of which zone."""
    try:
        date = email.utils.parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return date if date and date.tzinfo else None


def _believe(what: str, agrees: bool) -> None:
    if not agrees:
        raise errors.NovaError(
            f"Failed to {what}: Nova's list has others too, so it is not believed; look for what "
            "answers in Nova's place."
        )
