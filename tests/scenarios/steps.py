# Licensed under the Apache License, Version 2.0; see LICENSE.
"""steps.yaml: what happens, and when.  README.md lists the moments and the actions.

A step waits for its moment, and the next one is looked at when it is done.
An action that changes hacore's own database happens as soon as the engine that
runs waits: it may be in a transaction of its own.
"""

import datetime
import re
from collections.abc import Callable
from typing import Any

from hacore.api import recovery_details
from hacore.db import (
    approvals,
    hosts,
    interventions,
    notifications,
    operations,
    pauses,
    proofs,
    segments,
)
from hacore.errors import HacoreError
from hacore.states import NotificationType, OperationType, PowerAction, Rule
from tests.scenarios.moments import Step
from tests.scenarios.stage import Stage


class Director:
    """Lets the steps happen, one after the other."""

    def __init__(self, stage: Stage, rows: list[dict[str, Any]]) -> None:
        self._stage = stage
        self._steps = [Step.of(row) for row in rows]
        self._later: list[Callable[[], None]] = []  #: actions on the database
        self.notifications: dict[str, str] = {}  #: uuids by name
        self.operations: dict[str, str] = {}
        self.ended = False
        self._error: Exception | None = None  #: of an action; the engine must not see it
        stage.log.listener = lambda line: self._heard(line, before=False)
        stage.before_call = lambda call: self._heard(call, before=True)
        stage.database.tells = True
        self._arm()

    @property
    def waiting(self) -> str | None:
        """The moment that has not come yet; None when all is done."""
        return self._steps[0].moment if self._steps else None

    def catch_up(self) -> None:
        """Do what had to wait until no engine runs."""
        if self._error is not None:
            raise self._error
        while self._later:
            self._later.pop(0)()

    # ------------------------------------------------------------ moments

    def _arm(self) -> None:
        """Plan the next step, if its time is known."""
        if not self._steps or self._steps[0].text is not None:
            return
        step = self._steps[0]
        now = self._stage.clock.monotonic()
        when = step.at if step.at is not None else now + (step.later or 0.0)
        self._stage.clock.at(when, self._next)

    def _heard(self, text: str, *, before: bool) -> None:
        if self._steps and self._steps[0].before == before:
            wanted = self._steps[0].text
            if wanted is not None and wanted in text:
                self._next()

    def _next(self) -> None:
        step = self._steps.pop(0)
        try:
            for action in step.actions:
                self._do(action)
        except Exception as exc:
            self._error = exc
        finally:  # an engine that kills itself does not return
            self._arm()

    def _do(self, action: Any) -> None:
        if isinstance(action, dict):
            ((verb, values),) = action.items()
            getattr(self, f"_do_{verb}")(values)
            return
        for pattern, method in _SENTENCES:
            match = re.fullmatch(pattern, action)
            if match is not None:
                method(self, *match.groups())
                return
        raise ValueError(f"steps.yaml: {action!r} is not understood")

    def _tell(self, text: str) -> None:
        self._stage.log.world(text)

    # ------------------------------------------------------------- cloud

    def kill_host(self, host: str) -> None:
        self._tell(f"{host} dies")
        self._stage.kill(host)

    def revive_host(self, host: str) -> None:
        self._tell(f"{host} starts again")
        self._stage.control("POST", f"/hosts/{host}/revive")

    def power(self, host: str, how: str) -> None:
        self._tell(f"{host} {how}")
        power = "off" if how == "loses its power" else "on"
        self._stage.control("POST", f"/hosts/{host}/power", {"power": power})

    def bmc(self, host: str, mode: str, seconds: str | None) -> None:
        late = f" ({seconds} s)" if seconds else ""
        self._tell(f"the BMC of {host} is {mode} now{late}")
        values = {"mode": mode, **({"delay_s": float(seconds)} if seconds else {})}
        self._stage.control("PUT", f"/bmcs/{host}", values)

    def outlet(self, name: str, host: str, mode: str) -> None:
        self._tell(f"the outlet of {host} at {name} is {mode} now")
        self._stage.control("PUT", f"/bmcs/{name}-{host}", {"mode": mode})

    def password(self, how: str) -> None:
        self._tell(f"the password in the file of devices is {how}")
        assert self._stage.devices is not None
        self._stage.devices.write("admin" if how == "right" else "wrong")

    def crash(self, name: str) -> None:
        self._tell(f"the guest of {name} dies")
        self._stage.control("POST", f"/servers/{self._uuid(name)}/crash")

    def act_as_owner(self, verb: str, name: str) -> None:
        self._tell(f"the owner {verb} {name}")
        action = {
            "reboots": {"reboot": {"type": "HARD"}},
            "starts": {"os-start": None},
            "stops": {"os-stop": None},
        }[verb]
        self._stage.act("demo", self._uuid(name), action)

    def delete(self, name: str) -> None:
        self._tell(f"{name} is deleted")
        self._stage.cloud.state.remove_server(self._stage.cloud.state.servers[self._uuid(name)])

    def _do_set(self, values: dict[str, Any]) -> None:
        values = dict(values)
        name = values.pop("instance")
        self._tell(f"{name} is set to {_words(values)}")
        self._stage.control("PUT", f"/servers/{self._uuid(name)}", values)

    def evacuate_by_hand(self, name: str, target: str | None) -> None:
        self._tell(f"an operator evacuates {name}" + (f" to {target}" if target else ""))
        cloud = self._stage.cloud
        cloud.advance()
        cloud.evacuations.request(cloud.state.servers[self._uuid(name)], target)

    def live_migrate(self, name: str, host: str, status: str) -> None:
        self._tell(f"{name} is being migrated to {host}; the record is {status}")
        path = f"/servers/{self._uuid(name)}/live-migrate"
        self._stage.control("POST", path, {"host": host, "status": status})

    def disable(self, host: str, reason: str) -> None:
        self._tell(f"an operator disables {host} in Nova ({reason})")
        service = self._stage.service(host)
        self._stage.cloud.update_service(service, {"disabled": True, "disabled_reason": reason})

    def enable(self, host: str) -> None:
        self._tell(f"an operator enables {host} in Nova")
        service = self._stage.service(host)
        self._stage.cloud.update_service(service, {"disabled": False, "disabled_reason": None})

    def capacity(self, host: str, servers: str) -> None:
        self._tell(f"{host} has room for {servers} servers")
        self._stage.cloud.state.host(host).capacity = int(servers)

    # ------------------------------------------------------------ outages

    def away(self, who: str, seconds: str) -> None:
        self._tell(f"{who} is away for {seconds} s")
        service = {"Nova": "compute", "Keystone": "identity"}[who]
        self._stage.faults(unavailable={service: float(seconds)})

    def cut_off(self, engine: str, seconds: str) -> None:
        self._tell(f"engine {engine} does not reach Nova for {seconds} s")
        door = self._stage.doors[engine]
        door.cut_off_until = self._stage.clock.monotonic() + float(seconds)

    def cell_away(self, host: str, seconds: str) -> None:
        self._tell(f"the database of the cell of {host} is away for {seconds} s")
        self._stage.faults(cells_down={host: float(seconds)})

    def slow(self, times: str) -> None:
        self._tell(f"Nova is {times} times as slow")
        self._stage.faults(slow=float(times))

    def _do_fault(self, faults: dict[str, Any]) -> None:
        self._tell(f"Nova goes wrong: {'; '.join(_words(rule) for rule in _rules(faults))}")
        for rule in (*faults.get("evacuations", ()), *faults.get("calls", ())):
            if "servers" in rule:
                rule["servers"] = [self._uuid(name) for name in rule["servers"]]
        self._stage.faults(**faults)

    def late(self, seconds: str) -> None:
        assert self._stage.door is not None
        self._tell(f"this call will reach Nova {seconds} s later, and its answer nobody")
        self._stage.door.make_late(float(seconds))

    def well(self) -> None:
        self._tell("Nova is well again")
        self._stage.control("DELETE", "/faults")

    def database_away(self, engine: str | None, seconds: str) -> None:
        self._tell(f"the database is away for {seconds} s" + (f" for {engine}" if engine else ""))
        self._stage.database.away(float(seconds), engine or "")

    def database_full(self, seconds: str) -> None:
        self._tell(f"the database's disk is full for {seconds} s")
        self._stage.database.full(float(seconds))

    def lose_answer(self) -> None:
        self._tell("the database has carried out that commit, and its answer is lost")
        self._stage.database.lose_answer()

    def bus(self, how: str) -> None:
        self._tell(f"the message bus is {how}")
        self._stage.bus_works = how == "back"

    def jump(self, machine: str, seconds: str) -> None:
        self._tell(f"the clock of {machine} jumps by {seconds} s")
        stage = self._stage
        clock = stage.database_clock if machine == "the database" else stage.machines[machine]
        clock.off_s += float(seconds)

    # ------------------------------------------------------------ engines

    def start_engine(self, name: str) -> None:
        self._tell(f"engine {name} starts")
        self._stage.engine(name)

    def kill_engine(self, name: str) -> None:
        self._tell(f"engine {name} is killed")
        self._stage.kill_engine(name)

    def stop_engine(self, name: str) -> None:
        self._tell(f"engine {name} is told to stop")
        self._stage.terminate_engine(name)

    def freeze_engine(self, name: str, seconds: str) -> None:
        self._tell(f"engine {name} freezes for {seconds} s")
        self._stage.clock.freeze(name, float(seconds))

    # ---------------------------------------------------------------- API

    def notify_host(self, host: str, event: str | None, host_status: str | None) -> None:
        payload = {
            "event": event or "STOPPED",
            "host_status": host_status or "NORMAL",
            "cluster_status": "OFFLINE",
        }
        self._post(NotificationType.COMPUTE_HOST, host, payload)

    def notify_process(self, process: str, host: str, event: str | None) -> None:
        payload = {"process_name": process, "event": event or "STOPPED"}
        self._post(NotificationType.PROCESS, host, payload)

    def notify_instance(self, name: str, host: str, event: str | None, domain: str | None) -> None:
        payload = {
            "instance_uuid": self._uuid(name),
            "event": event or "LIFECYCLE",
            "vir_domain_event": domain or "STOPPED_FAILED",
        }
        self._post(NotificationType.VM, host, payload)

    def _do_notify(self, values: dict[str, Any]) -> None:
        self._post(NotificationType(values["type"]), values["host"], values["payload"])

    def _post(self, kind: NotificationType, host: str, payload: dict[str, Any]) -> None:
        words = ", ".join(str(value) for key, value in payload.items() if key != "cluster_status")
        report = notifications.Report(
            kind, host, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), payload
        )

        def post() -> None:
            row = notifications.create(
                self._stage.db,
                report,
                request_id=None,
                duplicate_window_s=self._stage.conf.duplicate_notification_detection_interval,
            )
            name = f"n{len(self.notifications) + 1}"
            self._stage.log.names[row.uuid] = name
            self.notifications[name] = row.uuid
            self._stage.log.line(f"{kind} of {host} ({words}): accepted as {name}")
            self._stage.wake()

        self._ask(post, f"{kind} of {host} ({words})")

    def return_host(self, host: str) -> None:
        what = f"an operator returns {host}"

        def returned() -> None:
            row = operations.create(
                self._stage.db,
                self._stage.hosts[host].uuid,
                OperationType.RETURN,
                "an operator",
                None,
                {},
            )
            name = self._stage.log.names[row.uuid]
            self.operations[name] = row.uuid
            self._stage.log.line(f"{what}: accepted as {name}")
            self._stage.wake()

        self._ask(returned, what)

    def set_maintenance(self, host: str, on: str) -> None:
        row = self._stage.hosts[host]

        def update() -> None:
            changes = {"on_maintenance": on == "on"}
            hosts.update(self._stage.db, row.segment_uuid, row.uuid, changes)
            self._stage.log.line(f"an operator takes {host} {on} maintenance: done")

        self._ask(update, f"an operator takes {host} {on} maintenance")

    def set_segment(self, segment: str, how: str) -> None:
        uuids = {name: uuid for uuid, name in self._stage.log.names.items()}

        def update() -> None:
            segments.update(self._stage.db, uuids[segment], {"enabled": how == "enables"})
            self._stage.log.line(f"an operator {how} {segment}: done")

        self._ask(update, f"an operator {how} {segment}")

    def show(self, name: str) -> None:
        def read() -> None:
            row, entries = notifications.get_with_history(self._stage.db, self.notifications[name])
            steps = recovery_details.serialize(entries)
            lines = [f"a person reads {name}: {row.status}: {row.message or ''}".rstrip(": ")]
            lines += [f"  {step['name']} {step['state']} {step['progress']}" for step in steps]
            self._stage.log.line("\n".join(lines))

        self._ask(read, f"a person reads {name}")

    def confirm_gone(self, name: str) -> None:
        def confirm() -> None:
            (uuid,) = self._stage.database.failed_moves(self._uuid(name))
            interventions.confirm_gone(self._stage.db, uuid, "an operator", 86400.0)
            self._stage.log.line(f"{what}: done")

        what = f"an operator confirms that {name} is gone"
        self._ask(confirm, what)

    def approve(self, name: str, rule: str | None, missing: str | None) -> None:
        def approved() -> None:
            approvals.approve(
                self._stage.db,
                self.notifications[name],
                Rule(rule) if rule else None,
                "an operator",
                "it is right",
                int(missing) if missing else None,
            )
            self._stage.log.line(f"{what}: done")
            self._stage.wake()

        what = f"an operator approves {name}"
        self._ask(approved, what)

    def confirm_off(self, host: str) -> None:
        def confirmed() -> None:
            uuid = self._stage.hosts[host].uuid
            proofs.confirm_off(self._stage.db, uuid, host, "an operator", "its fuse is out")
            self._stage.log.line(f"{what}: done")
            self._stage.wake()

        what = f"an operator confirms that {host} is off"
        self._ask(confirmed, what)

    def fenced_by_pacemaker(self, done: str, host: str) -> None:
        def posted() -> None:
            action = PowerAction.REBOOT if done == "rebooted" else PowerAction.OFF
            uuid = self._stage.hosts[host].uuid
            proofs.of_pacemaker(self._stage.db, uuid, host, action, "cluster", "by node2")
            self._stage.log.line(f"{what}: done")
            self._stage.wake()

        what = f"Pacemaker says that it has {done} {host}"
        self._ask(posted, what)

    def abandon(self, name: str) -> None:
        def abandoned() -> None:
            uuid = self.notifications[name]
            interventions.abandon(self._stage.db, uuid, "an operator", "done by hand")
            self._stage.log.line(f"{what}: done")

        what = f"an operator abandons {name}"
        self._ask(abandoned, what)

    def pause(self, segment: str | None, seconds: str | None) -> None:
        def paused() -> None:
            scope = self._uuid(segment) if segment else pauses.ALL
            for_s = float(seconds) if seconds else None
            pauses.pause(self._stage.db, scope, "an operator", "work on the network", for_s)
            self._stage.log.line(f"{what}: done")

        what = f"an operator pauses {segment or 'all recoveries'}"
        self._ask(paused, what)

    def resume(self, segment: str | None) -> None:
        def resumed() -> None:
            pauses.resume(self._stage.db, self._uuid(segment) if segment else pauses.ALL)
            self._stage.log.line(f"{what}: done")

        what = f"an operator resumes {segment or 'all recoveries'}"
        self._ask(resumed, what)

    def fall_silent(self, hosts: str) -> None:
        names = _hosts_of(hosts)
        self._tell(f"Nova does not hear {hosts} any more; guests run on")
        for name in names:
            self._stage.kill(name)

    def speak_again(self, hosts: str) -> None:
        self._tell(f"{hosts} send heartbeats again")
        for name in _hosts_of(hosts):
            self._stage.control("POST", f"/hosts/{name}/revive")

    def retry(self, name: str) -> None:
        def retried() -> None:
            uuid = self.notifications[name]
            interventions.try_again(self._stage.db, uuid, "an operator", 86400.0)
            self._stage.log.line(f"{what}: done")

        what = f"an operator retries {name}"
        self._ask(retried, what)

    def _ask(self, call: Callable[[], None], what: str) -> None:
        def ask() -> None:
            try:
                call()
            except HacoreError as exc:
                self._stage.log.line(f"{what}: refused, {exc.http_status}: {exc}")

        self._later.append(ask)

    def end(self) -> None:
        self.ended = True

    # -------------------------------------------------------------- names

    def _uuid(self, name: str) -> str:
        return next(uuid for uuid, known in self._stage.log.names.items() if known == name)


def _hosts_of(text: str) -> list[str]:
    """``compute1 to compute6``, or one name."""
    first, _, last = text.partition(" to ")
    if not last:
        return [first]
    numbers = range(int(first.removeprefix("compute")), int(last.removeprefix("compute")) + 1)
    return [f"compute{number}" for number in numbers]


def _rules(faults: dict[str, Any]) -> list[dict[str, Any]]:
    known = [dict(rule) for key in ("evacuations", "calls") for rule in faults.get(key, ())]
    others = {key: value for key, value in faults.items() if key not in ("evacuations", "calls")}
    return [*known, others] if others else known


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


_SENTENCES: list[tuple[str, Callable[..., None]]] = [
    (r"kill host (\S+)", Director.kill_host),
    (r"revive host (\S+)", Director.revive_host),
    (r"(\S+) (loses its power|has power again)", Director.power),
    (r"the BMC of (\S+) is (normal|dead|lies|delay)(?: \(([\d.]+) s\))?", Director.bmc),
    (r"outlet (\S+) of (\S+) is (normal|dead|lies)", Director.outlet),
    (r"the password of the devices is (wrong|right)", Director.password),
    (r"(\S+) is disabled in Nova \((.+)\)", Director.disable),
    (r"crash (\S+)", Director.crash),
    (r"delete (\S+)", Director.delete),
    (r"the owner (reboots|starts|stops) (\S+)", Director.act_as_owner),
    (r"(\S+) is enabled in Nova", Director.enable),
    (r"(\S+) is confirmed gone", Director.confirm_gone),
    (r"(\S+) is retried by an operator", Director.retry),
    (r"(\S+) is approved(?: \((\w+)\))?(?: for (\d+) hosts)?", Director.approve),
    (r"(\S+) is confirmed off", Director.confirm_off),
    (r"Pacemaker has (switched off|rebooted) (\S+)", Director.fenced_by_pacemaker),
    (r"(\S+) is abandoned", Director.abandon),
    (r"(?:all|(segment\w+)) (?:is|are) paused(?: for ([\d.]+) s)?", Director.pause),
    (r"(?:all|(segment\w+)) (?:is|are) resumed", Director.resume),
    (r"(compute\d+(?: to compute\d+)?) falls? silent", Director.fall_silent),
    (r"(compute\d+(?: to compute\d+)?) (?:is|are) heard again", Director.speak_again),
    (r"evacuate (\S+) by hand(?: to (\S+))?", Director.evacuate_by_hand),
    (r"(\S+) is being migrated to (\S+) \((\S+)\)", Director.live_migrate),
    (r"(\S+) has room for (\d+)", Director.capacity),
    (r"(Nova|Keystone) is away for ([\d.]+) s", Director.away),
    (r"engine (\w+) does not reach Nova for ([\d.]+) s", Director.cut_off),
    (r"the cell of (\S+) is away for ([\d.]+) s", Director.cell_away),
    (r"Nova is ([\d.]+) times as slow", Director.slow),
    (r"Nova is well again", Director.well),
    (r"it reaches Nova ([\d.]+) s later", Director.late),
    (r"the database is away(?: for engine (\w+))? for ([\d.]+) s", Director.database_away),
    (r"the disk is full for ([\d.]+) s", Director.database_full),
    (r"the answer is lost", Director.lose_answer),
    (r"the bus is (away|back)", Director.bus),
    (r"the clock of (the database|\w+) jumps by (-?[\d.]+) s", Director.jump),
    (r"start engine (\w+)", Director.start_engine),
    (r"kill engine (\w+)", Director.kill_engine),
    (r"stop engine (\w+)", Director.stop_engine),
    (r"freeze engine (\w+) for ([\d.]+) s", Director.freeze_engine),
    (r"notify host (\S+)(?: (\w+))?(?: (\w+))?", Director.notify_host),
    (r"notify process (\S+) on (\S+)(?: (\w+))?", Director.notify_process),
    (r"notify instance (\S+) on (\S+)(?: (\w+) (\w+))?", Director.notify_instance),
    (r"return (\S+)", Director.return_host),
    (r"take (\S+) (on|off) maintenance", Director.set_maintenance),
    (r"(\S+) is (enabled|disabled) by an operator", Director.set_segment),
    (r"show (n\d+)", Director.show),
    (r"end", Director.end),
]
