# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/segments/{segment_id}/hosts"""

from typing import Any

from oslo_log import log

from hacore.api import parameters, schemas, times, uuids
from hacore.api import segments as segments_api
from hacore.api.answering import Call, Route
from hacore.db import hosts, segments
from hacore.db.models import Host
from hacore.errors import HostNotFound, Invalid, SegmentNotFound
from hacore.policies import name

LOG = log.getLogger(__name__)

SORT_KEYS = {
    "id": "id",
    "uuid": "uuid",
    "name": "name",
    "type": "type",
    "control_attributes": "control_attributes",
    "reserved": "reserved",
    "on_maintenance": "on_maintenance",
    "failover_segment_id": "segment_uuid",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "deleted": "deleted",
    "deleted_at": "deleted_at",
}
FILTERS = {"name": "name", "type": "type", "control_attributes": "control_attributes"}
FLAGS = ("reserved", "on_maintenance")


def index(call: Call, segment_id: str) -> dict[str, Any]:
    uuids.check(segment_id, SegmentNotFound)
    filters = call.query.equal(FILTERS)
    for flag in FLAGS:
        value = call.query.boolean(flag)
        filters |= {} if value is None else {flag: value}
    page = call.query.page(SORT_KEYS, call.services.most_rows)
    found = hosts.list_(call.db, segment_id, filters, page)
    return {"hosts": [show(host) for host in found]}


def detail(call: Call, segment_id: str, host_id: str) -> dict[str, Any]:
    _check(segment_id, host_id)
    return {"host": show(hosts.get(call.db, segment_id, host_id))}


def create(call: Call, segment_id: str) -> dict[str, Any]:
    uuids.check(segment_id, SegmentNotFound)
    values = schemas.with_truth(call.body["host"], *FLAGS)
    segments.get(call.db, segment_id)  # before Nova is asked
    _refuse_unknown_to_nova(call, values["name"])
    with call.emitting("host.create", failover_segment_id=segment_id, **values) as event:
        host = hosts.create(call.db, segment_id, values)
        event.update(shown := show(host))
    LOG.info("host %s: registered in segment %s, named %s", host.uuid, segment_id, host.name)
    return {"host": shown}


def update(call: Call, segment_id: str, host_id: str) -> dict[str, Any]:
    _check(segment_id, host_id)
    changes = schemas.with_truth(call.body["host"], *FLAGS)
    if "name" in changes:
        known = hosts.refuse_in_use(call.db, segment_id, host_id)
        if known.name != changes["name"]:
            _refuse_unknown_to_nova(call, changes["name"])
    ids = {"uuid": host_id, "failover_segment_id": segment_id}
    with call.emitting("host.update", **ids, **changes) as event:
        host = hosts.update(call.db, segment_id, host_id, changes)
        event.update(shown := show(host))
    LOG.info("host %s: changed %s", host.uuid, ", ".join(changes))
    return {"host": shown}


def delete(call: Call, segment_id: str, host_id: str) -> None:
    _check(segment_id, host_id)
    ids = {"uuid": host_id, "failover_segment_id": segment_id}
    with call.emitting("host.delete", **ids) as event:
        event.update(show(hosts.delete(call.db, segment_id, host_id)))
    LOG.info("host %s: deleted from segment %s", host_id, segment_id)


def show(host: Host) -> dict[str, Any]:
    """Return a host as clients know it."""
    return {
        "id": host.id,
        "uuid": host.uuid,
        "name": host.name,
        "type": host.type,
        "control_attributes": host.control_attributes,
        "reserved": host.reserved,
        "on_maintenance": host.on_maintenance,
        "failover_segment_id": host.segment.uuid,
        "failover_segment": segments_api.show(host.segment),
        "created_at": times.show(host.created_at),
        "updated_at": times.show(host.updated_at),
        "deleted_at": None,
        "deleted": False,
    }


def _check(segment_id: str, host_id: str) -> None:
    uuids.check(segment_id, SegmentNotFound)
    uuids.check(host_id, HostNotFound)


def _refuse_unknown_to_nova(call: Call, host: str) -> None:
    if call.services.nova.service(host) is None:
        raise Invalid(f"name: Nova has no compute service on a host named {host!r}.")


ROUTES = [
    Route(
        "GET",
        "/segments/{segment_id}/hosts",
        index,
        "List the hosts of a segment",
        name("os-hosts", "index"),
        parameters={
            "name": parameters.text("Only the one with this name."),
            "type": parameters.text("Only those of this type."),
            "control_attributes": parameters.text("Only those with these control attributes."),
            "reserved": parameters.boolean("Only those that are reserved, or not."),
            "on_maintenance": parameters.boolean("Only those on maintenance, or not."),
            **parameters.page(SORT_KEYS),
        },
        answer="Hosts",
    ),
    Route(
        "POST",
        "/segments/{segment_id}/hosts",
        create,
        "Register a host in a segment; Nova must know its compute service",
        name("os-hosts", "create"),
        status=201,
        bodies=[((1, 0), schemas.HOST_CREATE)],
        example={"host": {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}},
        answer="HostAnswer",
        faults=(409,),
    ),
    Route(
        "GET",
        "/segments/{segment_id}/hosts/{host_id}",
        detail,
        "Show a host",
        name("os-hosts", "detail"),
        answer="HostAnswer",
    ),
    Route(
        "PUT",
        "/segments/{segment_id}/hosts/{host_id}",
        update,
        "Change a host",
        name("os-hosts", "update"),
        bodies=[((1, 0), schemas.HOST_UPDATE)],
        example={"host": {"on_maintenance": False}},
        answer="HostAnswer",
        faults=(409,),
    ),
    Route(
        "DELETE",
        "/segments/{segment_id}/hosts/{host_id}",
        delete,
        "Remove a host from its segment",
        name("os-hosts", "delete"),
        status=204,
        faults=(409,),
    ),
]
