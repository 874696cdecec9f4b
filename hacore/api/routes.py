# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Every URL of instance-ha v1: method, path, handler, policy rule.

hacore.api.app serves this table, hacore.api.policies makes the policy rules of it, and
hacore.api.openapi the documentation.  From a URL to its SQL are three hops: this table,
the handler that it names, and the function of hacore.db that the handler calls.

hacore.api.operator.routes has those of the operator API in the same form.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hacore.api import (
    extensions,
    hosts,
    microversions,
    notifications,
    parameters,
    schemas,
    segments,
    versions,
    vmoves,
)
from hacore.api.microversions import Version
from hacore.resources import HOST, NOTIFICATION, SEGMENT, VMOVE, Schema

V1 = "/v1"
OPERATOR = "/operator/v1"
ROOT = "/"
OPENAPI = f"{V1}/openapi.json"
OPERATOR_OPENAPI = f"{OPERATOR}/openapi.json"
HEALTHCHECK = "/healthcheck"

#: Served without a token.  Everything else needs one, whether it exists or not.
PUBLIC: Final = frozenset({ROOT, OPENAPI, OPERATOR_OPENAPI, HEALTHCHECK})

#: The default of a rule that names no other.
ADMIN = "rule:admin_api"


@dataclass(frozen=True)
class Route:
    """One method of one URL.

    :param path: below `root`, with the names of the handler's arguments in braces.
    :param handler: gets a `Call` and the arguments; returns the body of the answer.
    :param rule: of the policy; None admits everybody with a token.
    :param since: the first microversion that has this route.
    :param bodies: schemas of the body, each with its first microversion, oldest first.
    :param documented_body: where it says more than the newest of `bodies`.
    :param example: of a body, for the documentation.
    :param parameters: of the query, with their schemas.
    :param answer: name of the schema of the answer's body; None if there is no body.
    :param faults: statuses of faults besides those that every route may answer.
    :param root: of the API that it belongs to.
    :param admits: whom the rule admits unless an operator overrides it.
    :param tagged: its answer has an ETag.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    rule: str | None
    summary: str
    status: int = 200
    since: Version = microversions.OLDEST
    bodies: Sequence[tuple[Version, Schema]] = ()
    documented_body: Schema | None = None
    example: Mapping[str, Any] | None = None
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    answer: str | None = None
    faults: tuple[int, ...] = ()
    root: str = V1
    admits: str = ADMIN
    tagged: bool = False

    @property
    def url(self) -> str:
        return self.root + self.path


_SEGMENTS = [
    Route(
        *("GET", "/segments", segments.index, "os_masakari_api:segments:index"),
        "List segments",
        parameters={
            "recovery_method": parameters.text("Only those with this recovery method."),
            "service_type": parameters.text("Only those with this service type."),
            "enabled": parameters.boolean("Only those that are enabled, or not."),
            **parameters.page(SEGMENT.sort_keys),
        },
        answer="Segments",
    ),
    Route(
        *("POST", "/segments", segments.create, "os_masakari_api:segments:create"),
        "Create a segment",
        status=201,
        bodies=[
            (microversions.OLDEST, schemas.SEGMENT_CREATE),
            (microversions.SEGMENT_ENABLED, schemas.SEGMENT_CREATE_1_2),
        ],
        example={
            "segment": {"name": "rack 1", "recovery_method": "auto", "service_type": "COMPUTE"}
        },
        answer="SegmentAnswer",
        faults=(409,),
    ),
    Route(
        *("GET", "/segments/{segment_id}", segments.detail, "os_masakari_api:segments:detail"),
        "Show a segment",
        answer="SegmentAnswer",
    ),
    Route(
        *("PUT", "/segments/{segment_id}", segments.update, "os_masakari_api:segments:update"),
        "Change a segment",
        bodies=[
            (microversions.OLDEST, schemas.SEGMENT_UPDATE),
            (microversions.SEGMENT_ENABLED, schemas.SEGMENT_UPDATE_1_2),
        ],
        example={"segment": {"description": "top of the row", "enabled": False}},
        answer="SegmentAnswer",
        faults=(409,),
    ),
    Route(
        *("DELETE", "/segments/{segment_id}", segments.delete, "os_masakari_api:segments:delete"),
        "Delete a segment and its hosts",
        status=204,
        faults=(409,),
    ),
]

_HOSTS_PATH = "/segments/{segment_id}/hosts"
_HOST_PATH = "/segments/{segment_id}/hosts/{host_id}"
_HOSTS = [
    Route(
        *("GET", _HOSTS_PATH, hosts.index, "os_masakari_api:os-hosts:index"),
        "List the hosts of a segment",
        parameters={
            "name": parameters.text("Only the one with this name."),
            "type": parameters.text("Only those of this type."),
            "control_attributes": parameters.text("Only those with these control attributes."),
            "reserved": parameters.boolean("Only those that are reserved, or not."),
            "on_maintenance": parameters.boolean("Only those on maintenance, or not."),
            **parameters.page(HOST.sort_keys),
        },
        answer="Hosts",
    ),
    Route(
        *("POST", _HOSTS_PATH, hosts.create, "os_masakari_api:os-hosts:create"),
        "Register a host in a segment; Nova must know its compute service",
        status=201,
        bodies=[(microversions.OLDEST, schemas.HOST_CREATE)],
        example={"host": {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}},
        answer="HostAnswer",
        faults=(409,),
    ),
    Route(
        *("GET", _HOST_PATH, hosts.detail, "os_masakari_api:os-hosts:detail"),
        "Show a host",
        answer="HostAnswer",
    ),
    Route(
        *("PUT", _HOST_PATH, hosts.update, "os_masakari_api:os-hosts:update"),
        "Change a host",
        bodies=[(microversions.OLDEST, schemas.HOST_UPDATE)],
        example={"host": {"on_maintenance": False}},
        answer="HostAnswer",
        faults=(409,),
    ),
    Route(
        *("DELETE", _HOST_PATH, hosts.delete, "os_masakari_api:os-hosts:delete"),
        "Remove a host from its segment",
        status=204,
        faults=(409,),
    ),
]

_NOTIFICATION_PATH = "/notifications/{notification_id}"
_NOTIFICATIONS = [
    Route(
        *("GET", "/notifications", notifications.index, "os_masakari_api:notifications:index"),
        "List notifications",
        parameters={
            "status": parameters.text("Only those with this status."),
            "source_host_uuid": parameters.text("Only those of this host."),
            "type": parameters.text("Only those of this type."),
            "generated-since": parameters.time("Only those generated then or later."),
            **parameters.page(NOTIFICATION.sort_keys),
        },
        answer="Notifications",
    ),
    Route(
        *("POST", "/notifications", notifications.create, "os_masakari_api:notifications:create"),
        "Report a failure",
        status=202,
        bodies=[(microversions.OLDEST, schemas.NOTIFICATION_CREATE)],
        documented_body=schemas.NOTIFICATION_CREATE_DOCUMENTED,
        example={
            "notification": {
                "type": "COMPUTE_HOST",
                "hostname": "compute1",
                "generated_time": "2026-01-31T12:00:00.000000",
                "payload": {
                    "event": "STOPPED",
                    "cluster_status": "OFFLINE",
                    "host_status": "NORMAL",
                },
            }
        },
        answer="NotificationAnswer",
        faults=(409,),
    ),
    Route(
        *("GET", _NOTIFICATION_PATH, notifications.detail, "os_masakari_api:notifications:detail"),
        "Show a notification; from 1.1 on with the steps of its recovery",
        answer="NotificationDetail",
    ),
]

_VMOVES_PATH = "/notifications/{notification_id}/vmoves"
_VMOVE_PATH = "/notifications/{notification_id}/vmoves/{vmove_id}"
_VMOVES = [
    Route(
        *("GET", _VMOVES_PATH, vmoves.index, "os_masakari_api:vmoves:index"),
        "List the VM moves of a notification of type COMPUTE_HOST",
        since=microversions.VMOVES,
        parameters={
            "status": parameters.text("Only those with this status."),
            "type": parameters.text("Only those of this type."),
            **parameters.page(VMOVE.sort_keys),
        },
        answer="VMoves",
    ),
    Route(
        *("GET", _VMOVE_PATH, vmoves.detail, "os_masakari_api:vmoves:detail"),
        "Show a VM move",
        since=microversions.VMOVES,
        answer="VMoveAnswer",
    ),
]

_VERSIONS = [
    Route(*("GET", "", versions.detail, None), "Show the version", answer="VersionAnswer"),
    Route(
        *("GET", "/versions/{version_id}", versions.detail_by_id, None),
        "Show the version by its id",
        answer="VersionAnswer",
    ),
]

_EXTENSIONS = [
    Route(
        *("GET", "/extensions", extensions.index, "os_masakari_api:extensions:index"),
        "List the extensions of the API",
        answer="Extensions",
    ),
    Route(
        *("GET", "/extensions/{alias}", extensions.detail, "os_masakari_api:extensions:detail"),
        "Show an extension",
        answer="ExtensionAnswer",
    ),
]

#: By their title in the documentation.
SECTIONS: dict[str, list[Route]] = {
    "Segments": _SEGMENTS,
    "Hosts": _HOSTS,
    "Notifications": _NOTIFICATIONS,
    "VM moves": _VMOVES,
    "Versions": _VERSIONS,
    "Extensions": _EXTENSIONS,
}

#: Every URL that needs a token.
ROUTES: list[Route] = list(itertools.chain.from_iterable(SECTIONS.values()))
