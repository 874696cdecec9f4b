# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The operations on one server on one host: build, stop, start, reboot, lock,
delete, crash.

An operation that Nova hands to a dead nova-compute stays pending, with its
task_state set, until that nova-compute runs again.
"""

from collections.abc import Callable

from hacore_sandbox.model import (
    CRASHED,
    NOSTATE,
    POWER_OF,
    RUNNING,
    SHUTDOWN,
    STATUSES,
    Caller,
    Refused,
    Server,
    ServerFault,
)
from hacore_sandbox.state import State


class Lifecycle:
    """Nova's operations on a server, except evacuate."""

    def __init__(self, state: State) -> None:
        self._state = state

    # -- building blocks

    def set_state(
        self,
        server: Server,
        *,
        vm_state: str | None = None,
        task_state: str | None = None,
        power_state: int | None = None,
    ) -> None:
        """Set the states; without a `task_state` the current one is cleared."""
        server.task_state = task_state
        if vm_state is not None:
            server.vm_state = vm_state
        if power_state is not None:
            server.power_state = power_state
        server.updated = self._state.now

    def fail(self, server: Server, message: str, code: int = 500) -> None:
        """Set ERROR and a fault, as Nova does for an operation that failed."""
        server.fault = ServerFault(code, message, self._state.now)
        self.set_state(server, vm_state="error")

    def _on_its_host(self, server: Server, duration_s: float, done: Callable[[], None]) -> None:
        """Call `done` after `duration_s`, unless the server's nova-compute dies in the meantime."""
        server.operation += 1
        host, operation = server.host, server.operation
        if host is None:
            return
        compute = self._state.hosts[host]
        boots = compute.boots

        def end() -> None:
            alive = compute.service.alive and compute.boots == boots
            if alive and server.operation == operation and server.deleted is None:
                done()

        if compute.service.alive:
            self._state.timeline.after(self._state.spread(duration_s), end)

    # -- operations

    def build(self, server: Server) -> None:
        """Start a new server on the host that it names."""
        self.set_state(server, vm_state="building", task_state="spawning")
        if self._state.settings.build_s == 0:
            self._built(server)
        else:
            build_s = self._state.settings.build_s
            self._on_its_host(server, build_s, lambda: self._built(server))

    def _built(self, server: Server) -> None:
        server.launched = self._state.now
        server.guest_up = True
        self.set_state(server, vm_state="active", power_state=RUNNING)

    def stop(self, server: Server, caller: Caller) -> None:
        self._check(server, caller, "stop", ("active", "error"))
        self.begin_stop(server)

    def begin_stop(self, server: Server) -> None:
        self.set_state(server, task_state="powering-off")
        self._on_its_host(server, self._state.settings.stop_s, lambda: self.set_stopped(server))

    def set_stopped(self, server: Server) -> None:
        server.guest_up = False
        self.set_state(server, vm_state="stopped", power_state=SHUTDOWN)

    def start(self, server: Server, caller: Caller) -> None:
        self._check(server, caller, "start", ("stopped",))
        self.begin_start(server)

    def begin_start(self, server: Server) -> None:
        self.set_state(server, task_state="powering-on")
        self._on_its_host(server, self._state.settings.start_s, lambda: self.set_running(server))

    def set_running(self, server: Server) -> None:
        server.guest_up = True
        self.set_state(server, vm_state="active", power_state=RUNNING)

    def reboot(self, server: Server, caller: Caller, *, hard: bool) -> None:
        allowed = ("active", "stopped", "paused", "suspended", "error") if hard else ("active",)
        self._check(server, caller, "reboot", allowed)
        self.begin_reboot(server, hard=hard)

    def begin_reboot(self, server: Server, *, hard: bool) -> None:
        self.set_state(server, task_state="rebooting_hard" if hard else "rebooting")
        settings = self._state.settings
        reboot_s = settings.stop_s + settings.start_s
        self._on_its_host(server, reboot_s, lambda: self.set_running(server))

    def lock(self, server: Server, caller: Caller, reason: str | None) -> None:
        owner = server.project_id == caller.project_id
        if server.locked_by and owner:
            return  # nova: only an admin may lock a locked server
        server.locked_by = "owner" if owner else "admin"
        server.locked_reason = reason
        server.updated = self._state.now

    def unlock(self, server: Server, caller: Caller) -> None:
        if server.locked_by == "admin" and not caller.is_admin:
            rule = "os_compute_api:os-lock-server:unlock:unlock_override"
            raise Refused(403, f"Policy doesn't allow {rule} to be performed.")
        server.locked_by = server.locked_reason = None
        server.updated = self._state.now

    def reset_state(self, server: Server, vm_state: str) -> None:
        """Change the database only: neither the guest nor a running operation."""
        self.set_state(server, vm_state=vm_state)

    def delete(self, server: Server, caller: Caller) -> None:
        self._check_lock(server, caller)
        self.set_state(server, task_state="deleting")
        host = server.host and self._state.hosts[server.host]
        if not host or not self._state.is_up(host.service):
            self._state.remove_server(server)  # nova: a "local delete"
            return
        delete_s = self._state.settings.delete_s
        self._on_its_host(server, delete_s, lambda: self._state.remove_server(server))

    # -- events without a call

    def crash(self, server: Server) -> None:
        """The guest dies; Nova notices at its next power state sync."""
        server.guest_up = False
        self._state.timeline.after(
            self._state.settings.power_sync_s, lambda: self._power_sync(server)
        )

    def _power_sync(self, server: Server) -> None:
        host = server.host and self._state.hosts[server.host]
        down = not server.guest_up and server.vm_state == "active" and server.task_state is None
        if down and server.deleted is None and host and host.service.alive:
            server.power_state = CRASHED
            self._state.actions.record(server, "stop", self._state.now)
            self.begin_stop(server)

    def lose_guests(self, host: str) -> None:
        """The whole host lost its power, not only its nova-compute."""
        for server in self._state.on_host[host].values():
            server.guest_up = False

    def resume(self, host: str) -> None:
        """Resume the pending operations of a nova-compute that has started."""
        pending = {
            "powering-off": self.begin_stop,
            "powering-on": self.begin_start,
            "rebooting_hard": lambda server: self.begin_reboot(server, hard=True),
            "spawning": self.build,
        }
        for server in list(self._state.on_host[host].values()):
            if server.task_state == "deleting":
                self._state.remove_server(server)
            elif server.task_state in pending:
                pending[server.task_state](server)
            elif not server.guest_up and server.vm_state == "active":
                self.crash(server)

    def set_states(self, server: Server, states: dict[str, str | int | None]) -> None:
        """Put a server into any given states; for tests."""
        if "vm_state" in states:
            server.vm_state = str(states["vm_state"])
            if server.vm_state not in STATUSES:
                raise Refused(400, f"unknown vm_state {server.vm_state}")
            server.power_state = POWER_OF.get(server.vm_state, SHUTDOWN)
            if server.vm_state == "building":
                server.power_state, server.launched = NOSTATE, None
            server.guest_up = server.power_state not in (NOSTATE, SHUTDOWN)
            server.operation += 1
        if "task_state" in states:
            value = states["task_state"]
            server.task_state = None if value is None else str(value)
        if "power_state" in states:
            server.power_state = int(states["power_state"] or 0)
        server.updated = self._state.now

    # -- refusals

    def _check(
        self, server: Server, caller: Caller, action: str, vm_states: tuple[str, ...]
    ) -> None:
        self._check_lock(server, caller)
        if server.vm_state not in vm_states:
            raise wrong_state(server, action, "vm_state", server.vm_state)
        if server.task_state is not None:
            raise wrong_state(server, action, "task_state", server.task_state)

    def _check_lock(self, server: Server, caller: Caller) -> None:
        if server.locked_by and not caller.is_admin:
            raise Refused(409, f"Instance {server.uuid} is locked")


def wrong_state(server: Server, action: str, attribute: str, value: str) -> Refused:
    message = f"Cannot '{action}' instance {server.uuid} while it is in {attribute} {value}"
    return Refused(409, message)
