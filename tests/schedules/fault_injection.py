# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What happens to the world of a schedule: failures, faults, monitors and operators."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from hacore.db import notifications
from hacore.db.models import Host, Segment
from hacore.db.notifications import Report
from hacore.errors import Conflict, DatabaseUnavailable
from hacore.states import NotificationType
from hacore_sandbox.faults import CallFault
from hacore_sandbox.model import Caller, Refused, Server
from tests.schedules.actors import Actors
from tests.schedules.engines import WatchedWorld
from tests.schedules.fencing import WatchedAgents
from tests.schedules.plans import Happening, Plan
from tests.schedules.transports import Doors
from tests.simulation import START

#: Groups of actors that are no engines begin with a dash.
API, OPERATOR = "-api", "-operator"
_MONITOR_RETRY_S = 5.0


class FaultInjection:
    """Lets what a plan says happen, one method for each `Happening.what`.

    :ivar to_come: how many have not come to their end.
    :ivar kinds: what has gone wrong so far.
    """

    def __init__(
        self,
        plan: Plan,
        clock: Actors,
        world: WatchedWorld,
        doors: Doors,
        servers: dict[str, Server],
        agents: WatchedAgents,
        tell: Callable[[str, str], None],
    ) -> None:
        self._plan = plan
        self._agents = agents
        self._clock = clock
        self._world = world
        self._cloud = world.cloud
        self._doors = doors
        self._checks = doors.checks
        self._servers = servers
        self._tell = tell
        self._watched: list[tuple[str, CallFault]] = []
        self.kinds: set[str] = set()
        self._switched_on = False
        self.to_come = len(plan.happenings)
        self._switch = self._cloud.bmcs._switch
        self._cloud.bmcs._switch = self._switched

    def happen(self, happening: Happening) -> None:
        self.to_come -= 1
        self._tell("world", str(happening))
        self._cloud.advance()
        getattr(self, f"_{happening.what}")(**happening.facts)

    def note_what_struck(self) -> None:
        """Add to `kinds` those faults of answers that at least one call met."""
        self.kinds |= {f"answers: {kind}" for kind, rule in self._watched if rule.struck}

    def _for_a_while(self, kind: str, seconds: float, end: Callable[[], None]) -> None:
        self.kinds.add(kind)

        def over() -> None:
            self._tell("world", f"{kind} is over")
            end()

        self._clock.at(self._clock.monotonic() + seconds, over)

    def _host_dies(self, host: str, guests_survive: bool) -> None:
        self.kinds.add("host dies")
        self._checks.host_dies(host)
        self._cloud.kill(host, guests_survive=guests_survive)

    def _host_returns(self, host: str) -> None:
        self.kinds.add("host returns")
        self._checks.host_returns(host)
        if self._cloud.state.host(host).powered:
            self._cloud.revive(host)
        else:
            self._cloud.switch(host, True)

    def _power_lost(self, host: str) -> None:
        self.kinds.add("fencing: a host loses its power")
        self._cloud.switch(host, False)

    def _device_fails(
        self, plug: str, fault: str, seconds: float | None, by_s: float = 0.0, box: str = ""
    ) -> None:
        self.kinds.add(f"fencing: {fault}")
        self._agents.fails(plug, fault, by_s, box)
        if seconds is not None:
            self._for_a_while(f"fencing: {fault}", seconds, lambda: self._agents.is_well(plug))

    def _switched(self, host: str, on: bool) -> None:
        """A device switches a host: its own, or another one."""
        powered = self._cloud.state.host(host).powered
        if self._cloud.state.host(host).service.alive and powered and not on:
            self._checks.host_dies(host)  # that nobody has reported
        self._switch(host, on)
        if on or not powered:
            return
        self.kinds.add("fencing: a host is switched off")
        self._tell("world", f"{host} is switched off")
        assert self._plan.fencing is not None
        after_s = self._plan.fencing.switched_on_after_s
        if after_s is not None and not self._switched_on:
            self._switched_on = True
            self.to_come += 1
            self._clock.at(self._clock.monotonic() + after_s, lambda: self._switch_on(host))

    def _switch_on(self, host: str) -> None:
        """A person does."""
        self.to_come -= 1
        if self._cloud.state.host(host).powered:
            return
        self.kinds.add("fencing: switched on again")
        self._tell("world", f"a person switches {host} on")
        self._checks.host_returns(host)
        self._cloud.advance()
        self._cloud.switch(host, True)

    def _guest_dies(self, instance: str) -> None:
        self.kinds.add("guest dies")
        self._cloud.lifecycle.crash(self._servers[instance])

    def _live_migrates(self, instance: str, host: str, status: str) -> None:
        """A live migration is under way, and stays so for good where its host dies."""
        self._cloud.live_migrate(self._servers[instance], host, status)
        self.kinds.add(f"live migration {status}")

    def _owner_reboots(self, instance: str) -> None:
        """The owner of an instance is faster than hacore, or slower; Nova may refuse."""
        server = self._servers[instance]
        owner = Caller(server.user_id, "demo", server.project_id, "demo", ("member",))
        if server.deleted is not None:
            return
        try:
            self._cloud.lifecycle.reboot(server, owner, hard=True)
        except Refused as exc:
            self._tell("world", str(exc))
        else:
            self._cloud.state.actions.record(
                server,
                "reboot",
                self._cloud.now,
                request_id="req-0000b007-0000-4000-9000-000000000000",
                user_id=owner.user_id,
                project_id=owner.project_id,
            )

    def _delete(self, instance: str) -> None:
        self.kinds.add("instance deleted")
        self._cloud.state.remove_server(self._servers[instance])

    def _away(self, service: str, seconds: float) -> None:
        self.kinds.add(f"{service} away")
        self._cloud.faults.put({"unavailable": {service: seconds}}, self._cloud.now)

    def _calls_go_wrong(self, rule: dict[str, Any], seconds: float) -> None:
        kind = next(str(rule[key]) for key in ("status", "drop", "delay_s") if key in rule)
        fault = self._add_rule(rule)
        self._for_a_while(f"calls: {kind}", seconds, lambda: self._cloud.faults.calls.remove(fault))

    def _add_rule(self, rule: dict[str, Any]) -> CallFault:
        """Put a rule behind those that there are."""
        faults, before = self._cloud.faults, self._cloud.faults.calls
        faults.put({"calls": [rule]}, self._cloud.now)
        (added,) = faults.calls
        faults.calls = [*before, added]
        return added

    def _answers_go_wrong(
        self, rule: dict[str, Any], seconds: float | None, kind: str, instance: str = ""
    ) -> None:
        """As `_calls_go_wrong`; without `seconds` for ever, and perhaps for one instance only."""
        if instance:
            rule = {**rule, "servers": [self._servers[instance].uuid]}
        fault = self._add_rule(rule)
        self._watched.append((kind, fault))
        if seconds is not None:
            self._clock.at(
                self._clock.monotonic() + seconds, lambda: self._cloud.faults.calls.remove(fault)
            )

    def _cell_down(self, hosts: list[str], seconds: float) -> None:
        self.kinds.add("answers: a cell is UNKNOWN")
        self._cloud.faults.put({"cells_down": dict.fromkeys(hosts, seconds)}, self._cloud.now)

    def _note(self, kind: str) -> None:
        self.kinds.add(kind)

    def _calls_are_late(self, ratio: float, by_s: float, seconds: float) -> None:
        self._doors.late_calls = ratio, by_s

        def end() -> None:
            self._doors.late_calls = None

        self._for_a_while("calls: late", seconds, end)

    def _cloud_slow(self, factor: float, seconds: float) -> None:
        self._cloud.faults.put({"slow": factor}, self._cloud.now)
        self._for_a_while(
            "cloud slow", seconds, lambda: self._cloud.faults.put({"slow": 1.0}, self._cloud.now)
        )

    def _evacuations_go_wrong(self, rule: dict[str, Any], seconds: float) -> None:
        self._cloud.faults.put({"evacuations": [rule]}, self._cloud.now)
        self._for_a_while(
            f"evacuations: {rule['kind']}",
            seconds,
            lambda: self._cloud.faults.put({"evacuations": []}, self._cloud.now),
        )

    def _database_away(self, seconds: float) -> None:
        self._doors.database_away = True

        def end() -> None:
            self._doors.database_away = False

        self._for_a_while("database away", seconds, end)

    def _commits_go_wrong(self, ratio: float, seconds: float) -> None:
        self._doors.lost_commits = ratio

        def end() -> None:
            self._doors.lost_commits = 0.0

        self._for_a_while("commits lost", seconds, end)

    # ------------------------------------------------- monitors, operators

    def _notify(self, type: str, host: str, payload: dict[str, Any]) -> None:  # noqa: A002
        payload = dict(payload)
        if "instance" in payload:
            payload["instance_uuid"] = self._servers[payload.pop("instance")].uuid
        report = Report(NotificationType(type), host, START, payload)
        self.to_come += 1
        self._clock.spawn(API, self._take_in, report)

    def _take_in(self, report: Report) -> None:
        """The API, and a monitor that posts again while it is answered 503."""
        while True:
            try:
                row = notifications.create(
                    self._world.db, report, request_id=None, duplicate_window_s=180
                )
            except DatabaseUnavailable:
                self._clock.pass_time(_MONITOR_RETRY_S)
                continue
            except Conflict as exc:
                self._tell("api", str(exc))
            else:
                self._tell("api", f"notification {row.uuid}: accepted")
                if self._plan.wakes:
                    self._world.wake()
            self.to_come -= 1
            return

    def _maintenance_ends(self, host: str) -> None:
        self.to_come += 1
        self._clock.spawn(OPERATOR, self._end_maintenance, host)

    def _end_maintenance(self, host: str) -> None:
        """An operator has looked at the host, and lets it take part again."""
        service = self._world.service(host)
        service.disabled = service.forced_down = False
        self._write(
            sa.update(Host)
            .where(Host.name == host)
            .values(on_maintenance=False, maintenance_by=None)
        )

    def _segment_disabled(self, number: int) -> None:
        self.to_come += 1
        self.kinds.add("segment disabled")
        name = self._plan.segments[number]["name"]
        statement = sa.update(Segment).where(Segment.name == name).values(enabled=False)
        self._clock.spawn(OPERATOR, self._write, statement)

    def _write(self, statement: sa.Update) -> None:
        while True:
            try:
                with self._world.db.write() as session:
                    session.execute(statement)
            except DatabaseUnavailable:
                self._clock.pass_time(_MONITOR_RETRY_S)
                continue
            self.to_come -= 1
            return
