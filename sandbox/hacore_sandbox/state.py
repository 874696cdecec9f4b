# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The records of the simulated cloud, and their indexes.

Invariant: `on_host` holds exactly the servers that are not deleted, by their
host.  The cost of a list depends on its result, not on the size of the cloud.
"""

import bisect
import collections
import random
import uuid
from collections.abc import Iterable

from hacore.clock import Clock
from hacore_sandbox.actions import Actions
from hacore_sandbox.faults import Faults
from hacore_sandbox.model import Aggregate, Host, Migration, Refused, Server, Service
from hacore_sandbox.settings import Settings
from hacore_sandbox.timeline import Slots, Timeline


class State:
    """All records, and the current time."""

    def __init__(self, clock: Clock, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.timeline = Timeline(clock)
        self.faults = Faults(seed)
        self._ids = random.Random(f"ids-{seed}")
        self._spread = random.Random(f"spread-{seed}")
        self.services: dict[str, Service] = {}
        self.hosts: dict[str, Host] = {}
        self.servers: dict[str, Server] = {}
        self.deleted: collections.deque[Server] = collections.deque(maxlen=10_000)
        self.on_host: dict[str | None, dict[str, Server]] = collections.defaultdict(dict)
        self.migrations: list[Migration] = []  # by id, oldest first
        self.migrations_of: dict[str, list[Migration]] = collections.defaultdict(list)
        self.migrations_from: dict[str, list[Migration]] = collections.defaultdict(list)
        self.aggregates: dict[int, Aggregate] = {}
        self.actions = Actions()
        self._ordered: list[Server] | None = None
        self._server_count = 0
        self._aggregate_count = 0
        for binary in ("nova-scheduler", "nova-conductor"):
            self._add_service(binary, "controller", "internal")
        for number in range(1, settings.hosts + 1):
            self._add_host(number)

    # -- time

    @property
    def now(self) -> float:
        return self.timeline.now

    def spread(self, duration_s: float) -> float:
        """A duration with its random spread."""
        swing = self.settings.jitter
        return duration_s * self.faults.slow * self._spread.uniform(1 - swing, 1 + swing)

    # -- new records and changes

    def new_uuid(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def _add_service(self, binary: str, host: str, zone: str) -> Service:
        service = Service(len(self.services) + 1, self.new_uuid(), binary, host, zone, self.now)
        self.services[service.uuid] = service
        return service

    def _add_host(self, number: int) -> None:
        name = self.settings.host_name.format(number)
        self.hosts[name] = Host(
            name=name,
            service=self._add_service("nova-compute", name, "nova"),
            node_id=number,
            node_uuid=self.new_uuid(),
            hypervisor_hostname=name + self.settings.hypervisor_suffix,
            capacity=self.settings.host_capacity,
            builds=Slots(self.settings.builds_per_host),
            number=number,
        )

    def add_server(
        self, name: str, project_id: str, user_id: str, host: str | None, metadata: dict[str, str]
    ) -> Server:
        self._server_count += 1
        server = Server(
            uuid=self.new_uuid(),
            number=self._server_count,
            name=name,
            project_id=project_id,
            user_id=user_id,
            created=self.now,
            updated=self.now,
            host=host,
            metadata=metadata,
        )
        self.servers[server.uuid] = server
        self.on_host[host][server.uuid] = server
        self.actions.record(server, "create", self.now, user_id=user_id, project_id=project_id)
        if host is not None:
            self.hosts[host].reserved += 1
        self._ordered = None
        return server

    def remove_server(self, server: Server) -> None:
        """Mark the row as deleted, as Nova does; only lists with changes-since show it."""
        if server.uuid not in self.servers:
            return
        del self.servers[server.uuid]
        del self.on_host[server.host][server.uuid]
        if server.host is not None:
            self.hosts[server.host].reserved -= 1
        server.vm_state, server.task_state, server.power_state = "deleted", None, 0
        server.deleted = server.updated = self.now
        self.deleted.append(server)
        self._ordered = None

    def move_server(self, server: Server, host: str) -> None:
        """Assign the server to `host`, which has reserved room for it."""
        del self.on_host[server.host][server.uuid]
        if server.host is not None:
            self.hosts[server.host].reserved -= 1
        server.host = host
        self.on_host[host][server.uuid] = server
        server.updated = self.now

    def add_migration(self, server: Server, source: Host, target: str | None) -> Migration:
        migration = Migration(
            id=len(self.migrations) + 1,
            uuid=self.new_uuid(),
            server=server,
            source_compute=source.name,
            source_node=source.hypervisor_hostname,
            created=self.now,
            dest_compute=target,
        )
        self.migrations.append(migration)
        self.migrations_of[server.uuid].append(migration)
        self.migrations_from[source.name].append(migration)
        return migration

    def set_migration(self, migration: Migration, status: str) -> None:
        migration.status = status
        migration.updated = self.now

    def add_aggregate(self, name: str, zone: str | None) -> Aggregate:
        if any(known.name == name for known in self.aggregates.values()):
            raise Refused(409, f"Aggregate {name} already exists.")
        self._aggregate_count += 1
        aggregate = Aggregate(self._aggregate_count, self.new_uuid(), name, self.now, zone)
        self.aggregates[aggregate.id] = aggregate
        return aggregate

    # -- lookups

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            raise Refused(404, f"Compute host {name} could not be found.")
        return self.hosts[name]

    def server(self, server_uuid: str) -> Server:
        if server_uuid not in self.servers:
            raise Refused(404, f"Instance {server_uuid} could not be found.")
        return self.servers[server_uuid]

    def last_report(self, service: Service) -> float:
        """The time of the last heartbeat."""
        if not service.alive or self.now < service.reports_from:
            return service.last_report
        interval = self.settings.report_interval_s
        return service.reports_from + (self.now - service.reports_from) // interval * interval

    def is_up(self, service: Service) -> bool:
        """Nova's view, which lags behind the real state."""
        if service.forced_down:
            return False
        return self.now - self.last_report(service) <= self.settings.service_down_s

    def reachable(self, host: str | None) -> bool:
        """Whether Nova's API reaches the cell of the host; see `Faults.is_cell_down`."""
        return not self.faults.is_cell_down(host, self.now)

    def check_cell(self, host: str | None) -> None:
        """Raise what a Nova answers that cannot reach the cell of a server, or of a service."""
        if not self.reachable(host):
            raise Refused(500, "Cell cell1 is not responding or returned an exception.")

    def emptiest(self, candidates: Iterable[Host]) -> Host | None:
        """The host with the fewest servers of those that are enabled, up and have room."""
        best: Host | None = None
        for host in candidates:
            if host.reserved >= host.capacity or host.service.disabled:
                continue
            if best is not None and host.reserved >= best.reserved:
                continue
            if self.is_up(host.service):
                best = host
        return best

    def ordered_servers(self) -> list[Server]:
        """All servers in the order of Nova's lists: newest first."""
        if self._ordered is None:
            self._ordered = sorted(self.servers.values(), key=list_order)
        return self._ordered

    def servers_from(self, host: str | None, marker: Server | None) -> Iterable[Server]:
        """The servers after `marker` in the order of lists; of one host if given."""
        if host is None:
            chosen = self.ordered_servers()
        else:
            here = self.on_host[host] if host in self.hosts else {}
            chosen = sorted(here.values(), key=list_order)
        start = 0
        if marker is not None:
            start = bisect.bisect_right(chosen, list_order(marker), key=list_order)
        return chosen[start:]


def list_order(server: Server) -> tuple[int, str]:
    return (-int(server.created), server.uuid)
