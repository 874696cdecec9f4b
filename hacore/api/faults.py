# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Errors as clients see them: ``{"itemNotFound": {"code": 404, "message": "..."}}``.

All of them: hacore's, falcon's, and (by `FaultWrapper`) those of the middleware around
the router, which has error formats of its own.
"""

import http
import json
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import falcon
from oslo_log import log

from hacore.errors import HacoreError, NovaOutcomeUnknown, TransientNovaError, Unavailable

LOG = log.getLogger(__name__)

#: Names that clients know; another status is named after its phrase.
_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "notAcceptable",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}

RETRY_AFTER_S = 5
#: Only these are answered with Retry-After: no retry helps where Nova refuses hacore's user.
_RETRYABLE = (Unavailable, TransientNovaError, NovaOutcomeUnknown)
_TRY_AGAIN = "Try again later."

_ANSWERED = "hacore.fault"  # in the environment: the answer is already a fault


def name(status: int) -> str:
    """Return the name of the fault with this status."""
    if status in _NAMES:
        return _NAMES[status]
    first, *rest = http.HTTPStatus(status).phrase.replace("-", " ").split()
    return first.lower() + "".join(word.capitalize() for word in rest)


def body(status: int, message: str) -> bytes:
    """Return the fault, encoded."""
    return json.dumps({name(status): {"code": status, "message": message}}).encode()


def install(app: falcon.App[Any, Any]) -> None:
    """Let `app` answer every exception with a fault."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _refused)
    app.add_error_handler(HacoreError, _ours)


def _ours(_req: falcon.Request, resp: falcon.Response, exc: HacoreError, _params: Any) -> None:
    status = exc.http_status
    if status == 503:
        # the details are for the operator only
        LOG.warning("Failed to answer the request: %s: %s", type(exc).__name__, exc)
        message = (type(exc).__doc__ or "").splitlines()[0]
        if isinstance(exc, _RETRYABLE):
            message += f" {_TRY_AGAIN}"
            resp.set_header("Retry-After", str(RETRY_AFTER_S))
        _answer(_req, resp, status, message)
    elif status < 500:
        _answer(_req, resp, status, str(exc))
    else:
        _unexpected(_req, resp, exc, _params)


def _refused(
    req: falcon.Request, resp: falcon.Response, exc: falcon.HTTPError, _params: Any
) -> None:
    resp.set_headers(exc.headers or {})
    message = exc.description or exc.title or ""
    if exc.status_code == 404:
        message = f"Nothing found at {req.path[:200]}."
    elif exc.status_code == 405:
        message = f"{req.path[:200]} does not support the method {req.method[:20]}."
    _answer(req, resp, exc.status_code, message)


def _unexpected(req: falcon.Request, resp: falcon.Response, exc: Exception, _params: Any) -> None:
    LOG.error("Unexpected exception in %s %s", req.method, req.path, exc_info=exc)
    message = "Internal server error. The log has the cause, under the X-Openstack-Request-Id."
    _answer(req, resp, 500, message)


def _answer(req: falcon.Request, resp: falcon.Response, status: int, message: str) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = body(status, message)
    req.env[_ANSWERED] = True


class FaultWrapper:
    """Answers with a fault where the middleware within `app` answers with another error."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            started[:] = status, headers
            return _no_write

        chunks = self._app(environ, start)
        status, headers = started
        code = int(status.split(" ", 1)[0])
        if code < 400 or environ.get(_ANSWERED):
            start_response(status, headers)
            return chunks
        if hasattr(chunks, "close"):
            chunks.close()
        return answer(start_response, environ, code, _explanation(environ, code), headers)


def answer(
    start_response: StartResponse,
    environ: WSGIEnvironment,
    status: int,
    message: str,
    headers: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    """Answer with a fault from outside falcon, with `headers` except those of the body."""
    data = body(status, message)
    kept = [(key, value) for key, value in headers if not key.lower().startswith("content-")]
    kept += [("Content-Type", falcon.MEDIA_JSON), ("Content-Length", str(len(data)))]
    if status == 503:  # keystonemiddleware did not get an answer
        kept.append(("Retry-After", str(RETRY_AFTER_S)))
    environ[_ANSWERED] = True
    start_response(falcon.code_to_http_status(status), kept)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [data]


def _explanation(environ: WSGIEnvironment, status: int) -> str:
    if status == 401:
        if environ.get("HTTP_X_SERVICE_TOKEN") and environ.get("HTTP_X_IDENTITY_STATUS") != (
            "Invalid"
        ):
            return "X-Service-Token: the token is invalid or expired."
        if environ.get("HTTP_X_AUTH_TOKEN", "").strip():
            return "X-Auth-Token: the token is invalid or expired."
        return "X-Auth-Token: a token of Keystone is required."
    if status == 503:
        return f"Keystone is unavailable. {_TRY_AGAIN}"
    return http.HTTPStatus(status).phrase + "."


def _no_write(_data: bytes) -> None:
    """Replace WSGI's write(), which nothing here calls."""
