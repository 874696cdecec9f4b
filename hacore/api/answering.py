# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From a route to its answer: version, project, media type, body, policy, function.

The order in which a request is judged is that of Masakari: size and token
(outside, see hacore.api.app), path, microversion, project in the path, media
type, body, policy, and then what the function itself finds.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import falcon

from hacore import metrics
from hacore.api import microversions
from hacore.api.context import Context, Policy, has_passed
from hacore.api.microversions import Version
from hacore.api.query import Query
from hacore.api.schemas import Schema, Validator
from hacore.db.engine import Database
from hacore.errors import Invalid
from hacore.events import Events

VENDOR_TYPE = "application/vnd.openstack.masakari+json"  # Masakari's name for its JSON
MEDIA_TYPES = (falcon.MEDIA_JSON, VENDOR_TYPE, falcon.MEDIA_TEXT.partition(";")[0])

_PROJECT = re.compile(r"/v1/(?P<project>[0-9a-f-]+)(?P<rest>/.+)")


class ComputeServices(Protocol):
    """What the API needs of Nova."""

    def service(self, host: str) -> object | None:
        """Return the nova-compute service of that host; None if Nova has none.

        Raises a subclass of hacore.errors.NovaError if Nova cannot be asked.
        """


@dataclass(frozen=True)
class Services:
    """What functions of routes work with."""

    db: Database
    nova: ComputeServices
    wake: Callable[[], None]
    events: Events
    most_rows: int
    duplicate_window_s: float


@dataclass(frozen=True)
class Call:
    """One request, as the function of its route gets it."""

    services: Services
    caller: Context
    version: Version
    url: str  # up to and without the path
    query: Query
    body: Any = None  # fits the schema of the route

    @property
    def db(self) -> Database:
        return self.services.db

    def emitting(self, action: str, **facts: Any) -> AbstractContextManager[dict[str, Any]]:
        """Tell the bus of what is done within; see hacore.events."""
        return self.services.events.emitting(action, facts)


@dataclass(frozen=True)
class Route:
    """One method of one URL; also what the OpenAPI document says of it.

    :param path: below ``/v1``, with the names of the function's arguments in braces.
    :param rule: policy; None lets everybody with a token through.
    :param since: the first microversion that has it.
    :param bodies: schema of the body, by the microversion from which on it counts, oldest first.
    :param documented_body: where it says more than the newest of `bodies`.
    :param example: of a body, for readers.
    :param parameters: of the query, with their schemas.
    :param answer: name of the schema of the answer's body; None if it has none.
    :param faults: statuses of faults that it may answer, besides those that all may.
    """

    method: str
    path: str
    function: Callable[..., Any]
    summary: str
    rule: str | None
    status: int = 200
    since: Version = microversions.OLDEST
    bodies: Sequence[tuple[Version, Schema]] = ()
    documented_body: Schema | None = None
    example: Mapping[str, Any] | None = None
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    answer: str | None = None
    faults: tuple[int, ...] = ()


class Endpoint:
    """One URL, for falcon's router: a responder for each of its methods."""

    def __init__(self, routes: Sequence[Route], services: Services, policy: Policy) -> None:
        self._services = services
        self._policy = policy
        for route in routes:
            validators = [(since, Validator(schema)) for since, schema in route.bodies]
            respond = functools.partial(self._respond, route, validators)
            setattr(self, f"on_{route.method.lower()}", respond)
            if route.method == "GET":
                self.on_head = respond  # falcon leaves the body out

    def _respond(
        self,
        route: Route,
        validators: Sequence[tuple[Version, Validator]],
        req: falcon.Request,
        resp: falcon.Response,
        **params: str,
    ) -> None:
        version: Version = req.context.version
        if version < route.since:
            raise falcon.HTTPNotFound
        body = None
        if validators:
            body = _json(_read(req))
            newest = [check for since, check in validators if since <= version][-1]
            newest.check(body)
        caller: Context = req.context.caller
        if route.rule is not None:
            self._policy.authorize(route.rule, caller)
        call = Call(self._services, caller, version, req.prefix, Query(req.query_string), body)
        answer = route.function(call, **params)
        resp.status = falcon.code_to_http_status(route.status)
        resp.content_type = VENDOR_TYPE if req.accept == VENDOR_TYPE else falcon.MEDIA_JSON
        if answer is not None:
            resp.data = json.dumps(answer, separators=(",", ":")).encode()


class Judge:
    """Falcon middleware: what is judged before the body."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Take the project out of the path."""
        match = _PROJECT.fullmatch(req.path)
        if match:
            req.context.project = match["project"]
            req.path = "/v1" + match["rest"]

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _params: Any
    ) -> None:
        if not isinstance(_resource, Endpoint):
            return
        if not has_passed(req.env):
            # the guard reads paths as the router does; should it ever not, nobody gets in
            raise falcon.HTTPUnauthorized(description="X-Auth-Token: this needs a token.")
        resp.append_header("Vary", microversions.HEADER)
        version = microversions.asked({k.lower(): v for k, v in req.headers.items()})
        req.context.version = version
        resp.set_header(
            microversions.HEADER, f"{microversions.SERVICE} {microversions.text(version)}"
        )
        req.context.caller = caller = self._policy.identify(req.env)
        project = req.context.get("project")
        if project is not None and project != caller.project_id:
            raise Invalid("The project in the path is not the project of the token.")
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        if media_type and media_type not in MEDIA_TYPES:
            raise falcon.HTTPUnsupportedMediaType(
                description=f"Content-Type: {media_type[:80]!r} is not served; "
                f"known are {', '.join(MEDIA_TYPES)}."
            )

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _succeeded: bool
    ) -> None:
        """Count the answer."""
        # what a client makes up is no label: series are for ever
        method = req.method if req.method in falcon.HTTP_METHODS else "unknown"
        route = req.uri_template or "unknown"
        metrics.API_REQUESTS.labels(method, route, resp.status_code).inc()


def _read(req: falcon.Request) -> bytes:
    """Return the body.  Its size was checked outside unless it comes in chunks."""
    limit: int = req.env["hacore.max_body_size"]
    try:
        if "chunked" in req.env.get("HTTP_TRANSFER_ENCODING", "").lower():
            raw = req.stream.read(limit + 1)
        else:
            raw = req.bounded_stream.read()
    except Exception as exc:  # of the web server's reader: a bad chunk, or the client is gone
        raise Invalid("body: it cannot be read.") from exc
    if len(raw) > limit:
        raise falcon.HTTPContentTooLarge(description=f"body: it must have at most {limit} bytes.")
    return bytes(raw)


def _json(raw: bytes) -> Any:
    if not raw.strip():
        raise Invalid("body: it is empty; a JSON object is needed.")
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise Invalid(f"body: it is not UTF-8 at byte {exc.start}.") from exc
    try:
        body = json.loads(text, parse_constant=_no_number)
        if "\\u" in text:
            _refuse_odd_characters(body)
    except RecursionError as exc:
        raise Invalid("body: it is nested too deeply.") from exc
    except json.JSONDecodeError as exc:
        raise Invalid(
            f"body: it is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}."
        ) from exc
    except ValueError as exc:  # a number of thousands of digits
        raise Invalid("body: it has a number that is none, or is too long.") from exc
    return body


def _refuse_odd_characters(body: Any) -> None:
    """Refuse what JSON can escape, but UTF-8 or a database cannot hold."""
    text = json.dumps(body, ensure_ascii=False)
    if "\\u0000" in text.replace("\\\\", ""):
        raise Invalid("body: it has a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise Invalid("body: it has half a surrogate pair.") from exc


def _no_number(name: str) -> None:
    raise Invalid(f"body: {name} is not a number of JSON.")
