# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The one place where Nova's answers are checked before they are believed.

Each method of `hacore.nova.Nova` names the status and the shape that it expects: a
function that takes the decoded body and returns what the method returns.  `read` checks
both, and turns everything else into one error, `UnexpectedResponse`: it was not Nova
that answered (a proxy with its own page), not all of Nova (a cell is down), or not the
whole answer.  What is refused is believed in the same way: only if it says so in Nova's form.
"""

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import requests
from novaclient import api_versions
from novaclient import exceptions as nova_exc
from oslo_utils import timeutils

from hacore.nova.types import Aggregate, Beat, Instance, Migration, Service

T = TypeVar("T")
Shape = Callable[[Any], T]


class UnexpectedResponse(Exception):
    """Nova's answer is not what the request is answered with."""


#: Statuses from 400 on that mean the same whoever answers: no token that is valid, another
#: microversion, too many requests, unavailable.  Of all others Nova itself says why.
_ANYBODYS = frozenset({401, 406, 429, 500, 502, 503, 504})


def read(response: requests.Response, body: Any, shape: Shape[T], status: int = 200) -> T:
    """Return what `shape` finds in the answer.

    :param body: decoded; None where it is empty or no JSON.
    :param status: of the answer to a request that has succeeded.

    Raises UnexpectedResponse, or the exception of novaclient for a request that was refused.
    """
    code = response.status_code
    if code >= 400:
        fault = body if _is_fault(body, code) else None
        if fault is None and code not in _ANYBODYS:
            raise UnexpectedResponse(
                f"HTTP {code} with {_kind(response)} that is not of Nova's API"
            )
        method = response.request.method if response.request is not None else ""
        raise nova_exc.from_response(response, fault, response.url, method)
    if code >= 300:  # keystoneauth follows those that it may follow
        raise UnexpectedResponse(
            f"Nova redirected the request (HTTP {code}); set [nova] endpoint_override or correct "
            "the service catalog"
        )
    if body is None and response.content.strip():
        raise UnexpectedResponse(f"unexpected answer from Nova (HTTP {code}): {_kind(response)}")
    if code != status:
        raise UnexpectedResponse(f"unexpected answer from Nova: HTTP {code}, expected {status}")
    try:
        return shape(body)
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        nova_exc.UnsupportedVersion,
    ) as exc:
        raise UnexpectedResponse(
            f"unexpected answer from Nova (HTTP {code}): {type(exc).__name__}: {exc}"
        ) from exc


def _is_fault(body: Any, code: int) -> bool:
    """Whether Nova refuses in this form: ``{"itemNotFound": {"code": 404, "message": ...}}``."""
    if not isinstance(body, dict) or len(body) != 1:
        return False
    (fault,) = body.values()
    return isinstance(fault, dict) and fault.get("code") == code and "message" in fault


def _kind(response: requests.Response) -> str:
    """Name what the body is, for a person who looks for what has answered."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return f"a body of type {kind or 'unknown'}, {len(response.content)} bytes"


# ------------------------------------------------------------------- shapes


def nothing(body: Any) -> None:
    """``POST /servers/{id}/action``: accepted, without a body."""
    if body is not None:
        raise ValueError("expected no body")


def newest_microversion(body: Any) -> api_versions.APIVersion:
    """The version document of the compute endpoint."""
    return api_versions.APIVersion(body["version"]["version"] or "2.1")


def host_names(body: Any) -> list[str]:
    """``GET /os-services``."""
    return [_typed(row["host"], str) for row in _rows(body, "services")]


def services_of(host: str) -> Shape[list[Service]]:
    """``GET /os-services?host=HOST``: others, which may be in it, do not count."""
    wanted = (host, "nova-compute")
    return lambda body: [
        _service(row) for row in _rows(body, "services") if (row["host"], row["binary"]) == wanted
    ]


def beats(body: Any) -> list[Beat]:
    """``GET /os-services``: of all services."""
    return [_beat(row) for row in _rows(body, "services")]


def _beat(row: Any) -> Beat:
    binary, host = _typed(row["binary"], str), _typed(row["host"], str)
    if row["status"] == "UNKNOWN":
        return Beat(binary, host)
    return Beat(
        binary,
        host,
        zone=_typed(row["zone"], str),
        updated_at=row["updated_at"],
        up=_either(row["state"], "up", "down"),
        forced_down=_typed(row["forced_down"], bool),
        written=(row["status"], row["disabled_reason"], row["forced_down"]),
        known=True,
    )


def service_as(host: str, key: str, value: object) -> Shape[None]:
    """``PUT /os-services/{id}``: the service as it is stored now."""

    def read_service(body: Any) -> None:
        row = body["service"]
        if (row["host"], row[key]) != (host, value):
            raise ValueError(f"{key} of {row['host']} is {row[key]!r}, and not {value!r} of {host}")

    return read_service


def instance(body: Any) -> Instance:
    """``GET /servers/{id}``."""
    return _instance(body["server"])


def actions(body: Any) -> list[tuple[str, bool, datetime.datetime]]:
    """``GET /servers/{id}/os-instance-actions``: name, whether it failed, and when it began."""
    return [
        (row["action"], row["message"] is not None, _time(row["start_time"]))
        for row in _rows(body, "instanceActions")
    ]


def _hypervisor(row: Any) -> tuple[str, str]:
    return _typed(row["id"], str), _typed(row["service"]["host"], str)


def newest_heartbeat(body: Any) -> datetime.datetime:
    """``GET /os-services``: when Nova last wrote down that a service lives."""
    times = [row.get("updated_at") for row in _rows(body, "services")]  # none where a cell is down
    return max(_time(time) for time in times if time)


def aggregates(body: Any) -> list[Aggregate]:
    """``GET /os-aggregates``."""
    return [
        Aggregate(id=row["id"], name=row["name"], hosts=tuple(_rows(row, "hosts")))
        for row in _rows(body, "aggregates")
    ]


def aggregate_with(host: str, member: bool) -> Shape[None]:
    """``POST /os-aggregates/{id}/action``: the aggregate, of which `host` is a member or is not."""

    def read_aggregate(body: Any) -> None:
        if (host in _rows(body["aggregate"], "hosts")) is not member:
            raise ValueError(f"{host} is {'not ' if member else ''}in the aggregate")

    return read_aggregate


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    :ivar next_marker: what to ask the next page with; None: this is the last one.
    """

    rows: list[T]
    next_marker: str | None


def _page(key: str, row: Callable[[Any], T], marker: str = "id") -> Shape[Page[T]]:
    def read_page(body: Any) -> Page[T]:
        rows = _rows(body, key)
        more = rows and any(link["rel"] == "next" for link in body.get(f"{key}_links", ()))
        return Page([row(each) for each in rows], rows[-1][marker] if more else None)

    return read_page


def _rows(body: Any, key: str) -> list[Any]:
    """Return a list; nothing else that is empty is a list without rows."""
    return _typed(body[key], list)


def _typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _either(value: Any, yes: str, no: str) -> bool:
    if value not in (yes, no):
        raise ValueError(f"{value!r} is neither {yes} nor {no}")
    return bool(value == yes)


def _instance(row: Any) -> Instance:
    _refuse_unknown(row, f"instance {row['id']}")
    return Instance(
        uuid=_typed(row["id"], str),
        name=row["name"],
        host=row.get("OS-EXT-SRV-ATTR:host"),
        vm_state=_typed(row["OS-EXT-STS:vm_state"], str),
        task_state=row["OS-EXT-STS:task_state"],
        power_state=_typed(row["OS-EXT-STS:power_state"], int),
        locked=_typed(row["locked"], bool),
        lock_reason=row.get("locked_reason"),
        metadata=dict(row["metadata"]),
        fault=row["fault"]["message"] if row.get("fault") else None,
    )


def _uuid(row: Any) -> str:
    return _typed(row["id"], str)


def _migration(row: Any) -> Migration:
    return Migration(
        id=_typed(row["id"], int),
        instance_uuid=_typed(row["instance_uuid"], str),
        type=_typed(row["migration_type"], str),
        status=_typed(row["status"], str),
        source_host=row["source_compute"],
        dest_host=row.get("dest_compute"),
        changed_at=_time(row["updated_at"] or row["created_at"]),
    )


def _time(text: str) -> datetime.datetime:
    """Read a time of Nova's, which is UTC and mostly does not say so."""
    return timeutils.normalize_time(timeutils.parse_isotime(text)).replace(tzinfo=datetime.UTC)


def _refuse_unknown(row: Any, what: str) -> None:
    """Refuse what Nova shows without its cell: it leaves most of it out."""
    if row["status"] == "UNKNOWN":
        raise UnexpectedResponse(f"Nova cannot reach the cell of {what} (status UNKNOWN)")


def _service(row: Any) -> Service:
    _refuse_unknown(row, f"compute service {row['host']}")
    return Service(
        id=_typed(row["id"], str),
        host=row["host"],
        up=_either(row["state"], "up", "down") and not row["forced_down"],
        enabled=_either(row["status"], "enabled", "disabled"),
        forced_down=_typed(row["forced_down"], bool),
        disabled_reason=row["disabled_reason"],
        beat=row.get("updated_at"),
    )


#: ``GET /os-hypervisors/detail``: each id, which is that of a resource provider, and its host.
hypervisors_page = _page("hypervisors", _hypervisor)
#: ``GET /servers/detail``, ``GET /servers`` and ``GET /os-migrations``.
instances_page = _page("servers", _instance)
uuids_page = _page("servers", _uuid)
migrations_page = _page("migrations", _migration, marker="uuid")
