# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Hosts, servers, migrations, aggregates; and Nova's names of their states.

Values only: lifecycle.py and evacuation.py change them.
"""

import dataclasses

from hacore_sandbox.timeline import Slots

NOSTATE, RUNNING, SHUTDOWN, CRASHED = 0, 1, 4, 6  # nova.objects.fields.InstancePowerState

_REBUILD = dict.fromkeys(("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning"))
#: vm_state -> the status without a task, and the statuses by task_state.
STATUSES: dict[str, tuple[str, dict[str, str]]] = {
    "active": ("ACTIVE", dict.fromkeys(_REBUILD, "REBUILD") | {"migrating": "MIGRATING"}),
    "building": ("BUILD", {}),
    "stopped": ("SHUTOFF", dict.fromkeys(_REBUILD, "REBUILD")),
    "resized": ("VERIFY_RESIZE", {}),
    "paused": ("PAUSED", {}),
    "suspended": ("SUSPENDED", {}),
    "rescued": ("RESCUE", {}),
    "error": ("ERROR", dict.fromkeys(_REBUILD, "REBUILD")),
    "deleted": ("DELETED", {}),
    "soft-delete": ("SOFT_DELETED", {}),
    "shelved": ("SHELVED", {}),
    "shelved_offloaded": ("SHELVED_OFFLOADED", {}),
}
#: Of the record of a live migration under way, in their order.
LIVE_STATUSES = ("accepted", "queued", "preparing", "running", "post-migrating")
#: The power state of each vm_state whose guest runs.
POWER_OF = {"active": RUNNING, "paused": 3, "rescued": RUNNING, "resized": RUNNING}


class Refused(Exception):
    """A call is answered with a fault: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclasses.dataclass
class Service:
    """A nova service; a nova-compute also has a `Host`."""

    id: int
    uuid: str
    binary: str
    host: str
    zone: str
    changed: float
    disabled: bool = False
    disabled_reason: str | None = None
    forced_down: bool = False
    alive: bool = True
    reports_from: float = 0.0  #: while alive: the time of its first heartbeat
    last_report: float = 0.0  #: while dead: the time of its last heartbeat


@dataclasses.dataclass
class Host:
    """A compute host: its service, its node, its load."""

    name: str
    service: Service
    node_id: int
    node_uuid: str
    hypervisor_hostname: str
    capacity: int
    builds: Slots
    number: int
    reserved: int = 0  #: servers, including those being moved here
    boots: int = 0  #: counts starts and stops; work begun before is lost
    powered: bool = True  #: a host that crashed or is cut off has power still
    agents_alive: bool = True  #: of Neutron, while its nova-compute is
    barred: bool = False  #: Placement has the trait COMPUTE_STATUS_DISABLED for it
    leftovers: list[str] = dataclasses.field(default_factory=list)  #: consumers that are elsewhere


@dataclasses.dataclass
class ServerFault:
    code: int
    message: str
    created: float
    details: str | None = None


@dataclasses.dataclass(eq=False)
class Server:
    """A server as in Nova's database, plus whether its guest really runs."""

    uuid: str
    number: int
    name: str
    project_id: str
    user_id: str
    created: float
    updated: float
    host: str | None
    metadata: dict[str, str]
    vm_state: str = "building"
    task_state: str | None = None
    power_state: int = NOSTATE
    guest_up: bool = False
    launched: float | None = None
    deleted: float | None = None
    locked_by: str | None = None  #: admin or owner
    locked_reason: str | None = None
    fault: ServerFault | None = None
    flavor: str = "1"
    operation: int = 0  #: counts operations; the end of an older one is ignored

    @property
    def status(self) -> str:
        plain, by_task = STATUSES.get(self.vm_state, ("UNKNOWN", {}))
        return by_task.get(self.task_state or "", plain)


@dataclasses.dataclass(eq=False)
class Migration:
    id: int
    uuid: str
    server: Server
    source_compute: str
    source_node: str
    created: float
    status: str = "accepted"
    migration_type: str = "evacuation"
    dest_compute: str | None = None
    dest_node: str | None = None
    dest_host: str | None = None
    updated: float | None = None  #: None until the first change, as in the database


@dataclasses.dataclass
class Aggregate:
    id: int
    uuid: str
    name: str
    created: float
    availability_zone: str | None = None
    hosts: list[str] = dataclasses.field(default_factory=list)
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    updated: float | None = None


@dataclasses.dataclass(frozen=True)
class Caller:
    """The caller, as the token describes it."""

    user_id: str
    user_name: str
    project_id: str
    project_name: str
    roles: tuple[str, ...]

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles


@dataclasses.dataclass(frozen=True)
class Flavor:
    id: str
    name: str
    vcpus: int
    ram: int
    disk: int


FLAVORS = {
    "1": Flavor("1", "tiny", 1, 64, 1),
    "2": Flavor("2", "small", 2, 2048, 5),
}
