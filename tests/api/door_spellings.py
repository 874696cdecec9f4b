# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How a path can be spelled, and which answers its spellings may get.

In a target ``{path}`` is the path of a route, ``{rest}`` the same without its first
slash, ``{head}`` what is before its last segment and ``{last}`` that segment;
``{hex}`` and ``{hexes}`` are ``{last}`` and ``{rest}`` with one and with all of their
letters as %XX, and ``{upper}`` is the path in capitals.  Bytes are latin-1.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from .door_servers import Answer

#: Not in normal form: hacore says 404, or the server refuses it before hacore sees it.
NEVER = """
//{rest}
///{rest}
/////////{rest}
/%2f{rest}
/%2F{rest}
/%2f%2f{rest}
//healthcheck{path}
//healthcheck/..{path}
/./{rest}
/.//{rest}
/../{rest}
/../../{rest}
/%2e/{rest}
/%2e%2e/{rest}
/%2E%2E/{rest}
/.%2e/{rest}
/%2e./{rest}
/x/../{rest}
/x/%2e%2e/{rest}
/x/..%2f{rest}
/x/..%5c{rest}
/healthcheck/../{rest}
/healthcheck/..//{rest}
/healthcheck/./..{path}
/healthcheck/%2e%2e/{rest}
/healthcheck/%2e%2e%2f{rest}
/healthcheck%2f..%2f{rest}
/healthcheck/..;/{rest}
/healthcheck;/../{rest}
/healthcheck;{path}
/healthcheck%3b{path}
/healthcheck#/..{path}
/healthcheck#{path}
/healthcheck%23/..{path}
/healthcheck%3f/..{path}
/healthcheck\\..{path}
/healthcheck%5c..{path}
/healthcheck%00{path}
/healthcheck%0a{path}
/healthcheck%0d%0a{path}
/healthcheck%09{path}
/v1/openapi.json/../..{path}
/v1/openapi.json/%2e%2e/%2e%2e{path}
/v1/openapi.json;/../..{path}
/v1/openapi.json%00{path}
/v1/openapi.json/../../{rest}?/v1/openapi.json
{head}//{last}
{head}///{last}
{head}/./{last}
{head}/%2e/{last}
{head}/x/../{last}
{head}/..{path}
{head}%2f{last}
{head}%2F{last}
{head}%252f{last}
{head}\\{last}
{head}%5c{last}
{head};/{last}
{head};a=b/{last}
{head}/;{last}
{head}/;a/{last}
{head}/{hex}
/{hexes}
{path};
{path};a=b
{path}%3b
{path}%3Ba
{path}/
{path}//
{path}/?
{path}/.
{path}/./
{path}/%2e
{path}/x/..
{path}/x/../
{path}/x/%2e%2e
{path}%2f
{path}%2F
{path}/%00
{path}%00
{path}%00.json
{path}%01
{path}%09
{path}%0a
{path}%0d%0aX-Roles:%20admin
{path}%1f
{path}%7f
{path}%7e
{path}%2d
{path}%5f
{path}%41
{path}\\
{path}%5C
{path}%25
{path}%252e
{path}%
{path}%zz
{path}%2
{path}%u002f
{path}#
{path}#/healthcheck
{path}#?
http://a//{rest}
http://a/.{path}
http://a/healthcheck/..{path}
http://a{path};
http://a{path}#b
{path}\x00
{path}\t
{path}\x0b
{path}\x7f
"""

#: In normal form, and another path: a token is required first, and then nothing is found.
OTHER = """
{upper}
/V1{path}
/v2{path}
/v1.0{path}
/v1/0123{path}
/v1/0123/operator/v1{path}
/operator{path}
/operator/v1{path}
/Operator/v1{path}
/api{path}
/...{path}
/.v1{path}
/healthcheck{path}
/HealthCheck{path}
/healthcheck%20{path}
/healthcheck%c0%af..%c0%af{rest}
/healthcheck/%c0%ae%c0%ae{path}
/v1/openapi.json{path}
/%20{path}
/%c0%af{rest}
/%c0%ae%c0%ae{path}
/%e0%80%af{rest}
/%ef%bc%8f{rest}
/*{path}
{head}%c0%af{last}
{head}%e0%80%af{last}
{head}%e2%88%95{last}
{path}%20
{path}%20HTTP/1.1
{path}%c0%80
{path}%ff
{path}%3f
{path}%23
{path}%3a
{path}%ef%bc%9b
{path}.json
{path}...
{path}+
{path}*
{path}:80
{path},
"""

#: The same path: the answer is the one of the route.
SAME = """
{path}?
{path}??
{path}?/../healthcheck
{path}?/healthcheck
{path}?a=/v1/openapi.json
{path}?%2f..%2fhealthcheck
{path}?a=b;c=d
{path}?//
{path}?a\\b
"""

#: The same path, in forms that not every server accepts.
FORMS = """
{path}?a#b
http://a{path}
HTTP://A{path}
https://healthcheck{path}
http://healthcheck@a:80{path}
http://{path}
"""

#: Lines that servers may read differently, with the path as it should be.
LINES = (
    "{method}  {path} HTTP/1.1",
    "{method}\t{path} HTTP/1.1",
    "{method} {path}  HTTP/1.1",
    "{method} {path}\tHTTP/1.1",
    " {method} {path} HTTP/1.1",
    "\r\n{method} {path} HTTP/1.1",
    "{method} {path} HTTP/1.0",
    "{method} {path} HTTP/0.9",
    "{method} {path} HTTP/2.0",
    "{method} {path} http/1.1",
    "{method} {path} HTTP/1.1 HTTP/1.1",
    "{method} /v1/segments {path} HTTP/1.1",
    "{method} {path}",
    "{lower} {path} HTTP/1.1",
    "{method}\x00 {path} HTTP/1.1",
    "{method} {rest} HTTP/1.1",
    "{method} * HTTP/1.1",
)

#: With the path as it should be; nothing else says which path is asked for.
HEADERS = """
X-Original-URL: /healthcheck
X-Rewrite-URL: /healthcheck
X-Forwarded-Prefix: /healthcheck
X-Forwarded-Path: /v1/openapi.json
X-HTTP-Method-Override: OPTIONS
Path-Info: /healthcheck
PATH_INFO: /healthcheck
Request-URI: /healthcheck
REQUEST_URI: /healthcheck
"""

#: The answers to a line that a server does not accept, or reads as another one.
#: 0: nothing, it closes the connection.
_REFUSALS = frozenset({0, 400, 401, 403, 404, 405, 501, 505})


@dataclasses.dataclass(frozen=True)
class Spelling:
    """A request line with headers, and the answers that are right."""

    kind: str
    line: str
    header: str = ""

    @property
    def changes_the_path(self) -> bool:
        return self.kind in ("never", "other")


class Row(NamedTuple):
    """The answer of a route to a caller, from the matrix."""

    method: str
    path: str
    status: int
    has_token: bool


def _spellings() -> Iterator[Spelling]:
    for kind, table in (("never", NEVER), ("other", OTHER), ("same", SAME), ("form", FORMS)):
        for target in table.strip("\n").split("\n"):
            yield Spelling(kind, f"{{method}} {target} HTTP/1.1")
    for line in LINES:
        yield Spelling("line", line)
    for header in HEADERS.strip("\n").split("\n"):
        yield Spelling("header", "{method} {path} HTTP/1.1", header)


SPELLINGS = list(_spellings())


def spell(spelling: Spelling, row: Row) -> str:
    """The request line of a route, in this spelling."""
    head, _, last = row.path.rpartition("/")
    return spelling.line.format(
        method=row.method,
        lower=row.method.lower(),
        path=row.path,
        rest=row.path[1:],
        head=head,
        last=last,
        hex=f"%{ord(last[0]):02x}{last[1:]}" if last else "",
        hexes="".join(f"%{ord(c):02x}" if c.isalpha() else c for c in row.path[1:]),
        upper=row.path.upper(),
    )


def is_right(spelling: Spelling, row: Row, line: str, answer: Answer) -> bool:
    """Whether this is a right answer to the line, which has this spelling."""
    target = line.removesuffix(" HTTP/1.1").partition(" ")[2]
    normal = target.startswith("/") and not target.endswith("/")
    if spelling.kind == "never" or (spelling.kind == "other" and not normal):
        # hacore's own 400 would say that it has looked at more than the path
        return answer.status == (404 if answer.is_a_fault_of_hacore else 400)
    if spelling.kind == "other":
        # {id}.json is another id: of a route that a member may not use, which is all they learn
        return answer.status in ((403, 404, 405) if row.has_token else (401,))
    if spelling.kind in ("same", "header"):
        return answer.status == row.status
    return answer.status == row.status or answer.status in _REFUSALS
