# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Errors as clients see them: ``{"itemNotFound": {"code": 404, "message": "..."}}``.

All of them: ours, falcon's, and (by `Shaped`) those of the middleware around
the application, which would answer in shapes of their own.
"""

import http
import json
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import falcon
from oslo_log import log

from hacore.errors import HacoreError

LOG = log.getLogger(__name__)

#: Clients know the names of these; another status is named after its phrase.
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

_ANSWERED = "hacore.fault"  # in the environment: the answer is a fault already


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
        # the details are the operator's business
        LOG.warning("cannot answer: %s: %s", type(exc).__name__, exc)
        first_line = (type(exc).__doc__ or "").splitlines()[0]
        _answer(_req, resp, status, f"{first_line} Try again later.")
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
        message = f"There is nothing at {req.path[:200]}."
    elif exc.status_code == 405:
        message = f"{req.path[:200]} has no method {req.method[:20]}."
    _answer(req, resp, exc.status_code, message)


def _unexpected(req: falcon.Request, resp: falcon.Response, exc: Exception, _params: Any) -> None:
    LOG.error("%s %s failed", req.method, req.path, exc_info=exc)
    _answer(req, resp, 500, "An internal error; the log has it under this request's id.")


def _answer(req: falcon.Request, resp: falcon.Response, status: int, message: str) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = body(status, message)
    if status == 503:
        resp.set_header("Retry-After", str(RETRY_AFTER_S))
    req.env[_ANSWERED] = True


class Shaped:
    """Gives the errors of the middleware within `app` the shape of a fault."""

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
    """Answer with a fault from outside falcon; of `headers` all but the body's are sent."""
    data = body(status, message)
    kept = [(key, value) for key, value in headers if not key.lower().startswith("content-")]
    kept += [("Content-Type", falcon.MEDIA_JSON), ("Content-Length", str(len(data)))]
    if status == 503:
        kept.append(("Retry-After", str(RETRY_AFTER_S)))
    environ[_ANSWERED] = True
    start_response(falcon.code_to_http_status(status), kept)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [data]


def _explanation(environ: WSGIEnvironment, status: int) -> str:
    if status == 401:
        if environ.get("HTTP_X_SERVICE_TOKEN") and environ.get("HTTP_X_IDENTITY_STATUS") != (
            "Invalid"
        ):
            return "X-Service-Token: keystone does not accept it."
        if environ.get("HTTP_X_AUTH_TOKEN", "").strip():
            return "X-Auth-Token: keystone does not accept it."
        return "X-Auth-Token: it is missing; this needs a token of keystone."
    if status == 503:
        return "Keystone cannot be asked now. Try again later."
    return http.HTTPStatus(status).phrase + "."


def _no_write(_data: bytes) -> None:
    """Stand in for WSGI's write(), which nothing here calls."""
