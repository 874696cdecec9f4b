# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From a route to its answer: microversion, project, media type, body, policy, handler.

A request is checked in the order of Masakari: size and token (outside, see
hacore.api.app), path, microversion, project in the path, media type, body,
policy, and then what the handler itself checks.
"""

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

import falcon

from hacore import metrics
from hacore.api import context, microversions
from hacore.api.call import Call, Services
from hacore.api.context import Context
from hacore.api.microversions import Version
from hacore.api.policies import Policy
from hacore.api.query import Query
from hacore.api.routes import V1, Route
from hacore.api.schemas import Validator
from hacore.api.tagged import Tagged
from hacore.errors import Invalid

VENDOR_TYPE = "application/vnd.openstack.masakari+json"  # Masakari's name for its JSON
MEDIA_TYPES = (falcon.MEDIA_JSON, VENDOR_TYPE, falcon.MEDIA_TEXT.partition(";")[0])

_PROJECT = re.compile(r"/v1/(?P<project>[0-9a-f-]+)(?P<rest>/.+)")


class PathResponder:
    """One path, for falcon's router: a responder for each of its methods."""

    def __init__(self, routes: Sequence[Route], services: Services, policy: Policy) -> None:
        self._services = services
        self._policy = policy
        #: Of instance-ha, with its microversions, projects in paths, and Masakari's media type.
        self.is_instance_ha = all(route.root == V1 for route in routes)
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
            newest = [each for since, each in validators if since <= version][-1]
            newest.validate(body)
        caller: Context = req.context.caller
        if route.rule is not None:
            self._policy.authorize(route.rule, caller)
        call = Call(self._services, caller, version, req.prefix, Query(req.query_string), body)
        answer = route.handler(call, **params)
        resp.status = falcon.code_to_http_status(route.status)
        vendor = self.is_instance_ha and req.accept == VENDOR_TYPE
        resp.content_type = VENDOR_TYPE if vendor else falcon.MEDIA_JSON
        if isinstance(answer, Tagged):
            answer = answer.unless_known(req, resp)
        if answer is not None:
            resp.data = json.dumps(answer, separators=(",", ":")).encode()


class RequestNegotiation:
    """Falcon middleware: what is checked before the body, from the microversion on."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Take the project out of the path."""
        match = _PROJECT.fullmatch(req.path)
        if match:
            req.context.project = match["project"]
            req.path = "/v1" + match["rest"]

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, _params: Any
    ) -> None:
        if not isinstance(resource, PathResponder):
            return
        if not context.is_admitted(req.env):
            # the guard reads paths as the router does; if it ever does not, nobody is admitted
            raise falcon.HTTPUnauthorized(description="X-Auth-Token: a token is required.")
        req.context.version = microversions.OLDEST
        if resource.is_instance_ha:
            _negotiate_version(req, resp)
        req.context.caller = caller = self._policy.identify(req.env)
        project = req.context.get("project")
        if project is not None and project != caller.project_id:
            raise Invalid("The project in the path is not the project of the token.")
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        accepted = MEDIA_TYPES if resource.is_instance_ha else MEDIA_TYPES[:1]
        if media_type and media_type not in accepted:
            raise falcon.HTTPUnsupportedMediaType(
                description=f"Content-Type: {media_type[:80]!r} is not supported; "
                f"use {', '.join(accepted)}."
            )

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _succeeded: bool
    ) -> None:
        """Count the answer."""
        # no label for what a client makes up: a series is never removed
        method = req.method if req.method in falcon.HTTP_METHODS else "unknown"
        route = req.uri_template or "unknown"
        metrics.API_REQUESTS.labels(method, route, resp.status_code).inc()


def _negotiate_version(req: falcon.Request, resp: falcon.Response) -> None:
    resp.append_header("Vary", microversions.HEADER)
    version = microversions.requested({k.lower(): v for k, v in req.headers.items()})
    req.context.version = version
    resp.set_header(microversions.HEADER, f"{microversions.SERVICE} {microversions.text(version)}")


def _read(req: falcon.Request) -> bytes:
    """Return the body.  Its size was checked outside unless it comes in chunks."""
    limit: int = req.env["hacore.max_body_size"]
    try:
        if "chunked" in req.env.get("HTTP_TRANSFER_ENCODING", "").lower():
            raw = req.stream.read(limit + 1)
        else:
            raw = req.bounded_stream.read()
    except Exception as exc:  # of the web server's reader: a bad chunk, or the client disconnected
        raise Invalid("body: cannot be read.") from exc
    if len(raw) > limit:
        raise falcon.HTTPContentTooLarge(description=f"body: must have at most {limit} bytes.")
    return bytes(raw)


def _json(raw: bytes) -> Any:
    if not raw.strip():
        raise Invalid("body: must be a JSON object, but is empty.")
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise Invalid(f"body: not valid UTF-8 at byte {exc.start}.") from exc
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:
            _refuse_unstorable_characters(body)
    except RecursionError as exc:
        raise Invalid("body: nested too deeply.") from exc
    except json.JSONDecodeError as exc:
        raise Invalid(
            f"body: not valid JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}."
        ) from exc
    except ValueError as exc:  # a number of thousands of digits
        raise Invalid("body: invalid number.") from exc
    return body


def _refuse_unstorable_characters(body: Any) -> None:
    """Refuse what JSON can escape, but UTF-8 or a database cannot hold."""
    text = json.dumps(body, ensure_ascii=False)
    if "\\u0000" in text.replace("\\\\", ""):
        raise Invalid("body: NUL characters are not allowed.")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise Invalid("body: unpaired surrogates are not allowed.") from exc


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's parser accepts."""
    raise Invalid(f"body: {name} is not a valid JSON number.")
