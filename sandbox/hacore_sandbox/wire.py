# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Requests and answers, without sockets; and faults as JSON."""

import dataclasses
import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from hacore_sandbox.model import Caller, Refused

Json = Any
#: oslo.utils.strutils.TRUE_STRINGS, what nova accepts
TRUE = ("1", "t", "true", "on", "y", "yes")
Version = tuple[int, int]

#: nova/api/openstack/wsgi.py, Fault._fault_names
FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


@dataclasses.dataclass
class Response:
    """The HTTP answer; `drop`: none, and the connection is closed.

    A `body` that is a str is HTML, and bytes are JSON that is sent as it is.
    """

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: Json = None
    delay_s: float = 0.0  #: the HTTP server waits this long before it answers
    drop: bool = False


@dataclasses.dataclass
class Answer:
    """What a handler returns; `rows`: how many it has read."""

    body: Json = None
    status: int = 200
    rows: int = 0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    delay_s: float = 0.0  #: the wait for a nova-compute
    drop: bool = False  #: no answer, as in `Response`


@dataclasses.dataclass(frozen=True)
class Call:
    """One request, routed and authenticated."""

    method: str
    path: str
    ids: Mapping[str, str]  #: the variable parts of the path
    query: list[tuple[str, str]]
    headers: Mapping[str, str]  #: names in lower case
    raw_body: bytes
    base_url: str
    caller: Caller | None = None
    version: Version = (2, 1)
    request_id: str = ""

    @property
    def who(self) -> Caller:
        assert self.caller is not None
        return self.caller

    def param(self, name: str) -> str | None:
        """The last value, as webob's `GET[name]`."""
        values = self.params(name)
        return values[-1] if values else None

    def params(self, name: str) -> list[str]:
        return [value for key, value in self.query if key == name]

    def json(self) -> dict[str, Any]:
        """The body, which must be an object."""
        try:
            body = json.loads(self.raw_body or b"")
        except ValueError:
            raise Refused(400, "Malformed request body") from None
        if not isinstance(body, dict):
            raise Refused(400, "Malformed request body")
        return body

    def time_param(self, name: str) -> datetime.datetime | None:
        value = self.param(name)
        if value is None:
            return None
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            message = f"Value: {value}. '{value}' is not a 'date-time'"
            raise invalid_query(name, message) from None
        if moment.tzinfo is None:
            return moment.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC)

    def limit_param(self, most: int) -> int:
        value = self.param("limit")
        if value is None:
            return most
        if not re.fullmatch(r"[0-9]+", value):
            message = f"Value: {value}. '{value}' does not match '^[0-9]*$'"
            raise invalid_query("limit", message)
        return min(most, int(value))


def invalid_query(name: str, message: str) -> Refused:
    return Refused(400, f"Invalid input for query parameters {name}. {message}")


def fault_body(status: int, message: str) -> Json:
    """A fault in Nova's format."""
    return {FAULT_NAMES.get(status, "computeFault"): {"code": status, "message": message}}


def unauthorized_body() -> Json:
    """A fault in the format of keystonemiddleware and Keystone."""
    message = "The request you have made requires authentication."
    return {"error": {"code": 401, "title": "Unauthorized", "message": message}}
