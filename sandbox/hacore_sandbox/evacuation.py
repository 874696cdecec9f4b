# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An evacuation, from the API call to the server running on its new host.

The phases, their order and what each one writes were observed on Nova 34.  Each
phase takes time of the control plane (conductor, scheduler, message bus,
database), which all evacuations share: for that reason many evacuations at once
do not finish earlier.
"""

import dataclasses

from hacore_sandbox.lifecycle import Lifecycle, wrong_state
from hacore_sandbox.model import NOSTATE, RUNNING, Host, Migration, Refused, Server
from hacore_sandbox.state import State
from hacore_sandbox.timeline import Station

NO_VALID_HOST = "No valid host was found. There are not enough hosts available."
_AFTERMATH_S = 1.0  # from the failure of a rebuild to the server's ERROR
EVACUABLE = ("active", "stopped", "error")  # nova/compute/api.py, evacuate


@dataclasses.dataclass(eq=False)
class Flight:
    """One evacuation in flight."""

    server: Server
    migration: Migration
    target: str | None
    forced: bool  #: to `target`, without the scheduler
    end_stopped: bool
    fault: str | None
    dest: Host | None = None
    builds: bool = False  #: holds one of the destination's build slots
    lost: bool = False
    phase: int = 0


class Evacuations:
    """Every evacuation of the cloud."""

    def __init__(self, state: State, lifecycle: Lifecycle) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._control = Station(state.settings.control_workers)
        self._flights: set[Flight] = set()
        # Each one runs when the control plane has done its work for it.
        self._phases = (
            self._picked_up,
            self._schedule,
            self._claim,
            self._begin,
            self._network,
            self._attach,
            self._spawn,
            self._spawned,
            self._arrive,
        )

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    # -- the API call

    def request(
        self,
        server: Server,
        target: str | None = None,
        *,
        forced: bool = False,
        end_stopped: bool = False,
    ) -> Migration:
        """Accept an evacuation, or refuse it with the checks of nova-api in their order."""
        if target is not None and target not in self._state.hosts:
            raise Refused(404, f"Compute host {target} not found.")
        if target is not None and target == server.host:
            raise Refused(400, "The target host can't be the same one.")
        if server.vm_state not in EVACUABLE:
            raise wrong_state(server, "evacuate", "vm_state", server.vm_state)
        if server.task_state is not None and not self._state.settings.evacuate_busy:
            raise wrong_state(server, "evacuate", "task_state", server.task_state)
        if server.launched is None:
            raise wrong_state(server, "evacuate", "launched_at", "None")
        if server.host is None:
            raise Refused(404, "Compute host None could not be found.")
        source = self._state.hosts[server.host]
        if self._state.is_up(source.service):
            raise Refused(400, f"Compute service of {source.name} is still in use.")
        self._lifecycle.set_state(server, task_state="rebuilding")
        server.operation += 1
        flight = Flight(
            server=server,
            migration=self._state.add_migration(server, source, target),
            target=target,
            forced=forced,
            end_stopped=server.vm_state == "stopped"
            or (end_stopped and server.vm_state != "error"),
            fault=self._state.faults.of_evacuation(server.uuid),
        )
        self._flights.add(flight)
        self._queue(flight)
        return flight.migration

    # -- the control plane

    def _queue(self, flight: Flight) -> None:
        """Queue at the control plane for the next phase."""
        settings = self._state.settings
        crowd = max(0, len(self._flights) - settings.crowd)
        pace = min(settings.crowd_max, 1.0 + crowd * settings.crowd_cost)
        work_s = settings.control_work_s * pace * self._state.faults.slow / len(self._phases)
        wait_s = self._control.wait_s(self._state.now, work_s)
        self._state.timeline.after(wait_s, lambda: self._advance(flight))

    def _advance(self, flight: Flight) -> None:
        if flight.lost:
            return
        if flight.server.deleted is not None:
            self._end(flight, "failed")
            return
        phase = self._phases[flight.phase]
        flight.phase += 1
        phase(flight)

    def _end(self, flight: Flight, status: str) -> None:
        self._state.set_migration(flight.migration, status)
        self._flights.discard(flight)
        if flight.builds and flight.dest is not None:
            flight.dest.builds.give_back()
        if status != "done" and flight.dest is not None:
            flight.dest.reserved -= 1

    def _preempted(self, flight: Flight, expected: str) -> bool:
        """Fail the rebuild, as nova does, if something else changed the task_state.

        The migration fails at once and the server a second later, on whatever host it
        is then: another evacuation may have moved it to its new host in the meantime.
        """
        server = flight.server
        if server.task_state == expected:
            return False
        message = (
            f"Conflict updating instance {server.uuid}. Expected: "
            f"{{'task_state': ['{expected}']}}. Actual: {{'task_state': {server.task_state!r}}}"
        )
        self._end(flight, "failed")

        def fail() -> None:
            if server.deleted is None:
                self._lifecycle.fail(server, message)

        self._state.timeline.after(_AFTERMATH_S * self._state.faults.slow, fail)
        return True

    # -- conductor and scheduler

    def _picked_up(self, flight: Flight) -> None:
        # nova takes the first accepted migration of the server: if it was evacuated
        # twice, both rebuilds continue with the same record
        for migration in self._state.migrations_of[flight.server.uuid]:
            if migration.status == "accepted":
                flight.migration = migration
                break
        self._queue(flight)

    def _schedule(self, flight: Flight) -> None:
        dest = None if flight.fault == "no_valid_host" else self._choose(flight)
        if dest is None:
            self._end(flight, "error")
            self._lifecycle.fail(flight.server, NO_VALID_HOST)
            return
        flight.dest = dest
        dest.reserved += 1
        self._queue(flight)

    def _choose(self, flight: Flight) -> Host | None:
        """The host that the scheduler picks, or None."""
        hosts = self._state.hosts
        if flight.forced and flight.target is not None:
            return hosts[flight.target]
        candidates = [hosts[flight.target]] if flight.target else hosts.values()
        source = flight.migration.source_compute
        return self._state.emptiest(host for host in candidates if host.name != source)

    # -- nova-compute on the destination

    def _claim(self, flight: Flight) -> None:
        dest = flight.dest
        assert dest is not None
        if not dest.service.alive:  # the scheduler saw it up; nobody reads its message
            flight.lost = True
            self._flights.discard(flight)
            return
        dest.builds.take(lambda: self._claimed(flight, dest))

    def _claimed(self, flight: Flight, dest: Host) -> None:
        flight.builds = True
        migration = flight.migration
        migration.dest_compute = dest.name
        migration.dest_node = dest.hypervisor_hostname
        migration.dest_host = f"192.0.2.{dest.number % 254 + 1}"
        self._state.set_migration(migration, "pre-migrating")
        if flight.fault == "failed_claim":
            self._lifecycle.set_state(flight.server)  # vm_state is kept
            self._end(flight, "failed")
        elif flight.fault != "hang":
            self._queue(flight)

    def _begin(self, flight: Flight) -> None:
        if not self._preempted(flight, "rebuilding"):
            state = self._lifecycle.set_state
            state(flight.server, task_state="rebuilding", power_state=NOSTATE)
            self._queue(flight)

    def _network(self, flight: Flight) -> None:
        self._queue(flight)

    def _attach(self, flight: Flight) -> None:
        if not self._preempted(flight, "rebuilding"):
            self._lifecycle.set_state(flight.server, task_state="rebuild_block_device_mapping")
            self._queue(flight)

    def _spawn(self, flight: Flight) -> None:
        if self._preempted(flight, "rebuild_block_device_mapping"):
            return
        self._lifecycle.set_state(flight.server, task_state="rebuild_spawning")
        spawn_s = self._state.spread(self._state.settings.spawn_s)
        self._state.timeline.after(spawn_s, lambda: self._after_spawn(flight))

    def _after_spawn(self, flight: Flight) -> None:
        if flight.lost or flight.fault != "spawn_error":
            self._queue(flight)
        else:
            self._lifecycle.fail(flight.server, "sandbox: injected failure of spawn")
            self._end(flight, "failed")

    def _spawned(self, flight: Flight) -> None:
        if self._preempted(flight, "rebuild_spawning"):
            return
        server = flight.server
        server.launched = self._state.now
        server.guest_up = True
        # nova: from here until _arrive the server appears healthy, on its old host
        set_state = self._lifecycle.set_state
        if flight.end_stopped:
            set_state(server, vm_state="active", task_state="powering-off", power_state=RUNNING)
            stop_s = self._state.spread(self._state.settings.stop_s)
            self._state.timeline.after(stop_s, lambda: self._stopped(flight))
        else:
            set_state(server, vm_state="active", power_state=RUNNING)
            self._queue(flight)

    def _stopped(self, flight: Flight) -> None:
        if not flight.lost:
            self._lifecycle.set_stopped(flight.server)
            self._queue(flight)

    def _arrive(self, flight: Flight) -> None:
        assert flight.dest is not None
        server = flight.server
        server.fault = server.fault if server.vm_state == "error" else None
        self._state.move_server(server, flight.dest.name)
        self._end(flight, "done")

    # -- hosts that die and are started again

    def host_died(self, name: str) -> None:
        """Evacuations to the host never end."""
        for flight in [f for f in self._flights if f.dest is not None and f.dest.name == name]:
            flight.lost = True
            self._flights.discard(flight)

    def source_returned(self, name: str) -> None:
        """A starting nova-compute deletes its copies of what was evacuated.

        As nova does (_destroy_evacuated_instances): also for evacuations that have
        not ended yet, and only the last migration of each server becomes
        `completed`; earlier ones keep their status.
        """
        last = {
            migration.server.uuid: migration
            for migration in self._state.migrations_from[name]
            if migration.migration_type == "evacuation"
            and migration.status in ("accepted", "pre-migrating", "done")
        }
        for migration in last.values():
            if migration.server.deleted is None:
                self._state.set_migration(migration, "completed")
