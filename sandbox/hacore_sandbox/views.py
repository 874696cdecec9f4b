# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A resource as the Compute API shows it, by microversion and by caller."""

import datetime
import functools
import hashlib
import math

from hacore_sandbox.actions import Action
from hacore_sandbox.model import (
    FLAVORS,
    Aggregate,
    Flavor,
    Host,
    Migration,
    Server,
    Service,
)
from hacore_sandbox.state import State
from hacore_sandbox.wire import Call, Json, Version

IMAGE = "d282266a-beac-4374-834c-797ebbc27a2a"


class Views:
    """Turns records into JSON."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._origin = state.timeline.at(0.0).timestamp()

    # -- times

    def stored(self, when: float) -> datetime.datetime:
        """The time as in Nova's database (MySQL): rounded to whole seconds."""
        second = math.floor(self._origin + when + 0.5)
        return datetime.datetime.fromtimestamp(second, datetime.UTC)

    def _time(self, when: float | None) -> str | None:
        return None if when is None else f"{self._second(when)}.000000"

    def _short_time(self, when: float) -> str:
        return f"{self._second(when)}Z"

    def _second(self, when: float) -> str:
        return _text_of(math.floor(self._origin + when + 0.5))

    # -- services and hypervisors

    def service(self, service: Service, version: Version) -> Json:
        state = self._state
        if not state.reachable(service.host):
            return {"binary": service.binary, "host": service.host, "status": "UNKNOWN"}
        shown: dict[str, Json] = {
            "binary": service.binary,
            "host": service.host,
            "id": service.uuid if version >= (2, 53) else service.id,
            "zone": service.zone,
            "status": "disabled" if service.disabled else "enabled",
            "state": "up" if state.is_up(service) else "down",
            "updated_at": self._time(max(state.last_report(service), service.changed)),
            "disabled_reason": service.disabled_reason,
        }
        if version >= (2, 11):
            shown["forced_down"] = service.forced_down
        return shown

    def hypervisor(self, host: Host, version: Version) -> Json:
        service = host.service
        return {
            "id": host.node_uuid if version >= (2, 53) else host.node_id,
            "hypervisor_hostname": host.hypervisor_hostname,
            "state": "up" if self._state.is_up(service) else "down",
            "status": "disabled" if service.disabled else "enabled",
        }

    def hypervisor_detail(self, host: Host, version: Version) -> Json:
        service = host.service
        shown = self.hypervisor(host, version) | {
            "hypervisor_type": "fake",
            "hypervisor_version": 1000,
            "host_ip": "127.0.0.1",
            "service": {
                "id": service.uuid if version >= (2, 53) else service.id,
                "host": service.host,
                "disabled_reason": service.disabled_reason,
            },
        }
        if version >= (2, 88):
            return shown | {"uptime": None}
        running = len(self._state.on_host[host.name])
        memory_mb = host.capacity * 800
        return shown | {
            "vcpus": host.capacity,
            "vcpus_used": host.reserved,
            "memory_mb": memory_mb,
            "memory_mb_used": 512 + 64 * host.reserved,
            "free_ram_mb": memory_mb - 512 - 64 * host.reserved,
            "local_gb": host.capacity * 600,
            "local_gb_used": host.reserved,
            "free_disk_gb": host.capacity * 600 - host.reserved,
            "disk_available_least": 0,
            "current_workload": 0,
            "running_vms": running,
            "cpu_info": {} if version >= (2, 28) else "{}",
        }

    # -- servers

    def server_basic(self, server: Server, call: Call) -> Json:
        if not self._state.reachable(server.host):
            known = self._unknown(server, call)
            return {key: known[key] for key in ("id", "created", "tenant_id", "status", "links")}
        return {
            "id": server.uuid,
            "name": server.name,
            "links": links(call, f"servers/{server.uuid}"),
        }

    def _unknown(self, server: Server, call: Call) -> Json:
        """What is known of a server whose cell is down, since 2.69."""
        return {
            "id": server.uuid,
            "created": self._short_time(server.created),
            "tenant_id": server.project_id,
            "user_id": server.user_id,
            "status": "UNKNOWN",
            "image": {"id": IMAGE, "links": links(call, f"images/{IMAGE}")[1:]},
            "flavor": _flavor_of(server, call),
            "OS-EXT-AZ:availability_zone": "nova",
            "OS-EXT-STS:power_state": 0,
            "links": links(call, f"servers/{server.uuid}"),
        }

    def server(self, server: Server, call: Call, *, alone: bool = True) -> Json:
        """The detailed view; `alone`: of GET /servers/{id}, not of a list."""
        if not self._state.reachable(server.host):
            return self._unknown(server, call)
        version, admin = call.version, call.who.is_admin
        status = server.status
        shown = self.server_basic(server, call) | {
            "accessIPv4": "",
            "accessIPv6": "",
            "addresses": {},
            "created": self._short_time(server.created),
            "updated": self._short_time(server.updated),
            "flavor": _flavor_of(server, call),
            "hostId": _host_id(server.project_id, server.host),
            "image": {"id": IMAGE, "links": links(call, f"images/{IMAGE}")[1:]},
            "metadata": dict(server.metadata),
            "status": status,
            "tenant_id": server.project_id,
            "user_id": server.user_id,
            "OS-DCF:diskConfig": "MANUAL",
            "OS-EXT-AZ:availability_zone": "nova" if server.host else "",
            "config_drive": "",
            "key_name": None,
            "OS-SRV-USG:launched_at": self._time(server.launched),
            "OS-SRV-USG:terminated_at": self._time(server.deleted),
            "OS-EXT-STS:task_state": server.task_state,
            "OS-EXT-STS:vm_state": server.vm_state,
            "OS-EXT-STS:power_state": server.power_state,
            "os-extended-volumes:volumes_attached": [],
        }
        if status in ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"):
            shown["progress"] = 0
        if server.fault is not None and status in ("ERROR", "DELETED"):
            shown["fault"] = self._fault(server, admin=admin)
        if admin:
            self._add_host(shown, server, version)
        _add_by_version(shown, server, version, alone=alone)
        return shown

    def _fault(self, server: Server, *, admin: bool) -> Json:
        assert server.fault is not None
        fault = server.fault
        shown: dict[str, Json] = {
            "code": fault.code,
            "created": self._short_time(fault.created),
            "message": fault.message,
        }
        if fault.code == 500 and admin:
            shown["details"] = fault.details or fault.message
        return shown

    def _add_host(self, shown: dict[str, Json], server: Server, version: Version) -> None:
        host = self._state.hosts[server.host] if server.host else None
        shown["OS-EXT-SRV-ATTR:host"] = server.host
        shown["OS-EXT-SRV-ATTR:instance_name"] = f"instance-{server.number:08x}"
        shown["OS-EXT-SRV-ATTR:hypervisor_hostname"] = host and host.hypervisor_hostname
        if version >= (2, 3):
            shown["OS-EXT-SRV-ATTR:hostname"] = server.name
            shown["OS-EXT-SRV-ATTR:kernel_id"] = ""
            shown["OS-EXT-SRV-ATTR:ramdisk_id"] = ""
            shown["OS-EXT-SRV-ATTR:launch_index"] = 0
            shown["OS-EXT-SRV-ATTR:reservation_id"] = "r-00000000"
            shown["OS-EXT-SRV-ATTR:root_device_name"] = "/dev/sda"
            shown["OS-EXT-SRV-ATTR:user_data"] = None
        if version >= (2, 16):
            shown["host_status"] = self._host_status(host)

    def _host_status(self, host: Host | None) -> str:
        """nova/compute/api.py, get_instance_host_status."""
        if host is None:
            return ""
        if host.service.forced_down:
            return "DOWN"
        if host.service.disabled:
            return "MAINTENANCE"
        return "UP" if self._state.is_up(host.service) else "UNKNOWN"

    def action(self, server: Server, action: Action, version: Version) -> Json:
        # by the clock of nova-api, as the Date of its answers
        started = self._time(action.started + self._state.faults.clock_ahead_s)
        shown: dict[str, Json] = {
            "action": action.name,
            "instance_uuid": server.uuid,
            "request_id": action.request_id,
            "user_id": action.user_id,
            "project_id": action.project_id,
            "start_time": started,
            "message": None,
        }
        if version >= (2, 58):
            shown["updated_at"] = started
        return shown

    # -- migrations and aggregates

    def migration(self, migration: Migration, version: Version) -> Json:
        server = migration.server
        shown = {
            "id": migration.id,
            "source_compute": migration.source_compute,
            "dest_compute": migration.dest_compute,
            "source_node": migration.source_node,
            "dest_node": migration.dest_node,
            "dest_host": migration.dest_host,
            "old_instance_type_id": None,
            "new_instance_type_id": None,
            "instance_uuid": server.uuid,
            "status": migration.status,
            "created_at": self._time(migration.created),
            "updated_at": self._time(migration.updated),
        }
        if version >= (2, 23):
            shown["migration_type"] = migration.migration_type
        if version >= (2, 59):
            shown["uuid"] = migration.uuid
        if version >= (2, 80):
            shown["user_id"] = server.user_id
            shown["project_id"] = server.project_id
        return shown

    def aggregate(self, aggregate: Aggregate, version: Version, *, full: bool = True) -> Json:
        shown: dict[str, Json] = {
            "id": aggregate.id,
            "name": aggregate.name,
            "created_at": self._time(aggregate.created),
            "updated_at": self._time(aggregate.updated),
            "deleted_at": None,
            "deleted": False,
            "availability_zone": aggregate.availability_zone,
        }
        if version >= (2, 41):
            shown["uuid"] = aggregate.uuid
        if full:
            shown["hosts"] = list(aggregate.hosts)
            shown["metadata"] = dict(aggregate.metadata)
        return shown


def links(call: Call, path: str) -> Json:
    return [
        {"rel": "self", "href": f"{call.base_url}/compute/v2.1/{path}"},
        {"rel": "bookmark", "href": f"{call.base_url}/compute/{path}"},
    ]


def flavor(chosen: Flavor, call: Call) -> Json:
    shown = {
        "id": chosen.id,
        "name": chosen.name,
        "ram": chosen.ram,
        "disk": chosen.disk,
        "swap": 0 if call.version >= (2, 75) else "",
        "vcpus": chosen.vcpus,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": links(call, f"flavors/{chosen.id}"),
    }
    if call.version >= (2, 55):
        shown["description"] = None
    if call.version >= (2, 61):
        shown["extra_specs"] = {}
    return shown


def _flavor_of(server: Server, call: Call) -> Json:
    chosen = FLAVORS[server.flavor]
    if call.version < (2, 47):
        return {"id": chosen.id, "links": links(call, f"flavors/{chosen.id}")[1:]}
    return {
        "vcpus": chosen.vcpus,
        "ram": chosen.ram,
        "disk": chosen.disk,
        "ephemeral": 0,
        "swap": 0,
        "original_name": chosen.name,
        "extra_specs": {},
    }


@functools.lru_cache(maxsize=4096)
def _host_id(project_id: str, host: str | None) -> str:
    """A hash of the host's name, the same for all servers of a project on it."""
    return hashlib.sha224((project_id + host).encode()).hexdigest() if host else ""


@functools.lru_cache(maxsize=4096)
def _text_of(second: int) -> str:
    moment = datetime.datetime.fromtimestamp(second, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _add_by_version(
    shown: dict[str, Json], server: Server, version: Version, *, alone: bool
) -> None:
    if version >= (2, 9):
        shown["locked"] = server.locked_by is not None
    if version >= (2, 19):
        shown["description"] = None
    if version >= (2, 26):
        shown["tags"] = []
    if version >= (2, 63):
        shown["trusted_image_certificates"] = None
    if version >= (2, 71) and alone:
        shown["server_groups"] = []
    if version >= (2, 73):
        shown["locked_reason"] = server.locked_reason
    if version >= (2, 96):
        shown["pinned_availability_zone"] = None
    if version >= (2, 100):
        shown["scheduler_hints"] = {}
