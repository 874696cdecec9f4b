# Licensed under the Apache License, Version 2.0; see LICENSE.
"""`Cloud`: the whole simulated Nova, without its APIs.

No threads and no sleep: time passes when `advance` is called, and every entry
point of the layers above calls it first.
"""

from collections.abc import Mapping

from hacore.clock import Clock
from hacore_sandbox.bmc import Bmcs
from hacore_sandbox.evacuation import Evacuations
from hacore_sandbox.lifecycle import Lifecycle
from hacore_sandbox.model import Host, Refused, Server, Service
from hacore_sandbox.settings import Settings
from hacore_sandbox.state import State
from hacore_sandbox.timeline import Slots

#: Seconds from the start of a nova-compute until it carries out what waited in its queue.
_ORDERS_S = 1.0
#: Records of live migrations whose order the source has not got.  Nova takes such a record for
#: that of an evacuation: then it is `done`.
_QUEUED = ("accepted", "done")
#: The fault of a server that such an order harms.
OLD_ORDER = "Error while check_can_live_migrate_source on instance {}"


class Cloud:
    """Hosts, servers and their evacuations."""

    def __init__(self, clock: Clock, settings: Settings | None = None, seed: int = 0) -> None:
        self.settings = settings or Settings()
        self.seed = seed
        self.state = State(clock, self.settings, seed)
        self.faults = self.state.faults
        self.lifecycle = Lifecycle(self.state)
        self.evacuations = Evacuations(self.state, self.lifecycle)
        self.bmcs = Bmcs(self.state, self.switch)
        self._carried_out: set[int] = set()  #: ids of the records of old orders

    @property
    def now(self) -> float:
        return self.state.now

    def advance(self) -> None:
        """Run the events that are due."""
        self.state.timeline.advance()

    # -- hosts

    def kill(self, name: str, *, guests_survive: bool = True) -> None:
        """Stop the nova-compute of a host, and unless `guests_survive` its guests too.

        Its power stays on: a network that is cut looks so, and a host that has crashed.
        """
        host = self.state.host(name)
        service = host.service
        host.boots += 1
        if not service.alive:
            return
        service.last_report = self.state.last_report(service)
        service.alive = False
        self.evacuations.host_died(name)
        if not guests_survive:
            self.lifecycle.lose_guests(name)

    def revive(self, name: str) -> None:
        """Start the nova-compute of a host; it reports once it is up."""
        host = self.state.host(name)
        if not host.powered:
            raise Refused(409, f"Compute host {name} has no power.")
        if host.service.alive:
            return
        host.boots += 1
        boots = host.boots
        self.state.timeline.after(
            self.settings.startup_s * self.faults.slow, lambda: self._started(host, boots)
        )

    def switch(self, name: str, on: bool) -> None:
        """Switch the power of a host: its nova-compute and guests die with it, or it starts."""
        host = self.state.host(name)
        if host.powered == on:
            return
        host.powered = on
        if on:
            self.revive(name)
        else:
            self.kill(name)
            self.lifecycle.lose_guests(name)  # also of a nova-compute that was dead before

    def _started(self, host: Host, boots: int) -> None:
        if host.boots != boots:
            return  # killed again in the meantime
        host.builds = Slots(self.settings.builds_per_host)
        self.evacuations.source_returned(host.name)
        service = host.service
        service.alive = True
        service.reports_from = service.last_report = self.now
        self._sync_traits(host)
        self.lifecycle.resume(host.name)
        self._end_live_migrations(host.name)
        self.state.timeline.after(_ORDERS_S, lambda: self._carry_out_old_orders(host, boots))

    def _carry_out_old_orders(self, host: Host, boots: int) -> None:
        """Orders that waited in the queue of a dead host: they harm servers that have left it.

        As nova does: the guest runs on, and the server falls to ERROR.
        """
        if host.boots != boots:
            return
        for record in self.state.migrations_from[host.name]:
            server = record.server
            old = record.migration_type == "live-migration" and record.status in _QUEUED
            if not old or record.id in self._carried_out or server.host == host.name:
                continue
            self._carried_out.add(record.id)
            if server.deleted is None:
                self.lifecycle.fail(server, OLD_ORDER.format(server.uuid))

    def _end_live_migrations(self, source: str) -> None:
        """As a nova-compute that starts: what did not leave runs on; only some records end."""
        for record in self.state.migrations_from[source]:
            server = record.server
            live = record.migration_type == "live-migration" and server.host == source
            if live and server.task_state == "migrating":
                self.lifecycle.set_state(server)
                if record.status in ("running", "post-migrating"):
                    self.state.set_migration(record, "error")

    def update_service(self, service: Service, changes: Mapping[str, bool | str | None]) -> float:
        """Set `disabled`, `disabled_reason`, `forced_down`.

        Returns how many seconds the answer waits for the nova-compute (nova:
        compute/api.py, _update_compute_provider_status).
        """
        toggled = changes.get("disabled", service.disabled) != service.disabled
        for name, value in changes.items():
            setattr(service, name, value)
        service.changed = self.now
        if toggled:
            host = self.state.host(service.host)
            is_up = service.alive and self.state.is_up(service)
            self.state.timeline.after(
                0.0 if is_up else self.settings.placement_sync_s, lambda: self._sync_traits(host)
            )
        unreachable = not service.alive and self.state.is_up(service)
        return self.settings.rpc_timeout_s if toggled and unreachable else 0.0

    def _sync_traits(self, host: Host) -> None:
        if host.service.alive:
            host.barred = host.service.disabled

    # -- servers

    def live_migrate(self, server: Server, target: str, status: str) -> None:
        """Bring a server into the middle of a live migration, which never gets any further.

        With its host it stays there: Nova ends none whose source is dead.
        """
        dest = self.state.host(target)
        if server.host is None or server.host == target:
            raise Refused(400, "The target host can't be the same one.")
        record = self.state.add_migration(server, self.state.host(server.host), target)
        record.migration_type, record.status = "live-migration", status
        record.dest_node, record.updated = dest.hypervisor_hostname, self.now
        self.lifecycle.set_state(server, task_state="migrating")

    def boot(
        self,
        name: str,
        project_id: str,
        user_id: str,
        host: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Server:
        """Create one server, on `host` or on the host with the fewest servers."""
        if host is None and (found := self.state.emptiest(self.state.hosts.values())):
            host = found.name
        server = self.state.add_server(name, project_id, user_id, host, dict(metadata or {}))
        if host is None:
            self.lifecycle.fail(
                server, "No valid host was found. There are not enough hosts available."
            )
        else:
            self.lifecycle.build(server)
        return server

    def fill(
        self,
        count: int,
        project_id: str,
        user_id: str,
        hosts: list[str] | None = None,
        *,
        name: str = "vm",
        metadata: Mapping[str, str] | None = None,
        vm_state: str = "active",
    ) -> list[Server]:
        """Create `count` servers at once, spread evenly, in `vm_state` and without build time."""
        names = hosts or list(self.state.hosts)
        made = []
        for number in range(count):
            host = self.state.host(names[number % len(names)]).name
            server = self.state.add_server(
                f"{name}-{number + 1}", project_id, user_id, host, dict(metadata or {})
            )
            server.launched = self.now
            self.lifecycle.set_states(server, {"vm_state": vm_state})
            made.append(server)
        return made
