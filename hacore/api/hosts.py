# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/segments/{segment_id}/hosts"""

from typing import Any

from oslo_log import log

from hacore.api import schemas
from hacore.api.call import Call
from hacore.api.uuids import require_uuid
from hacore.db import hosts, segments
from hacore.errors import HostNotFound, Invalid, SegmentNotFound
from hacore.hostnames import hint
from hacore.resources import HOST

LOG = log.getLogger(__name__)

FILTERS = ("name", "type", "control_attributes")
FLAGS = ("reserved", "on_maintenance")


def index(call: Call, segment_id: str) -> dict[str, Any]:
    require_uuid(segment_id, SegmentNotFound)
    filters = call.query.equal(*FILTERS)
    for flag in FLAGS:
        value = call.query.boolean(flag)
        filters |= {} if value is None else {flag: value}
    page = call.query.page(HOST.sort_keys, call.services.most_rows)
    found = hosts.list_(call.db, segment_id, filters, page)
    return {"hosts": [HOST.serialize(host) for host in found]}


def detail(call: Call, segment_id: str, host_id: str) -> dict[str, Any]:
    _require_uuids(segment_id, host_id)
    return {"host": HOST.serialize(hosts.get(call.db, segment_id, host_id))}


def create(call: Call, segment_id: str) -> dict[str, Any]:
    require_uuid(segment_id, SegmentNotFound)
    values = schemas.with_truth(call.body["host"], *FLAGS)
    segments.get(call.db, segment_id)  # before Nova is asked
    _refuse_unknown_to_nova(call, values["name"])
    with call.emitting("host.create", failover_segment_id=segment_id, **values) as event:
        host = hosts.create(call.db, segment_id, values)
        event.update(answer := HOST.serialize(host))
    LOG.info("host %s: registered in segment %s, named %s", host.uuid, segment_id, host.name)
    return {"host": answer}


def update(call: Call, segment_id: str, host_id: str) -> dict[str, Any]:
    _require_uuids(segment_id, host_id)
    changes = schemas.with_truth(call.body["host"], *FLAGS)
    if "name" in changes:
        known = hosts.refuse_in_use(call.db, segment_id, host_id)
        if known.name != changes["name"]:
            _refuse_unknown_to_nova(call, changes["name"])
    ids = {"uuid": host_id, "failover_segment_id": segment_id}
    with call.emitting("host.update", **ids, **changes) as event:
        host = hosts.update(call.db, segment_id, host_id, changes)
        event.update(answer := HOST.serialize(host))
    LOG.info("host %s: changed %s", host.uuid, ", ".join(changes))
    return {"host": answer}


def delete(call: Call, segment_id: str, host_id: str) -> None:
    _require_uuids(segment_id, host_id)
    ids = {"uuid": host_id, "failover_segment_id": segment_id}
    with call.emitting("host.delete", **ids) as event:
        event.update(HOST.serialize(hosts.delete(call.db, segment_id, host_id)))
    LOG.info("host %s: deleted from segment %s", host_id, segment_id)


def _require_uuids(segment_id: str, host_id: str) -> None:
    require_uuid(segment_id, SegmentNotFound)
    require_uuid(host_id, HostNotFound)


def _refuse_unknown_to_nova(call: Call, host: str) -> None:
    if call.services.nova.service(host) is None:
        names = call.services.nova.host_names()
        raise Invalid(
            f"name: Nova has no compute service on a host named {host!r}{hint(host, names)}"
        )
