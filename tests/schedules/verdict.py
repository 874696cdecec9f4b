# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What must hold when all notifications have ended."""

import datetime
from typing import Any

from hacore.states import ENDED
from hacore.states import NotificationStatus as Status
from hacore_sandbox.cloud import OLD_ORDER, Cloud
from hacore_sandbox.model import RUNNING, Server
from tests.schedules.checks import Checks
from tests.schedules.plans import Plan
from tests.simulation import START


def not_ended(checks: Checks, bound_s: float) -> None:
    """The bound is over."""
    for row in checks.rows["notifications"].values():
        if row["status"] not in ENDED:
            checks.broken(
                f"notification {row['uuid']} is {row['status']} {bound_s:g} s after the last fault "
                f"({row['message']})"
            )


def at_the_end(checks: Checks, plan: Plan, cloud: Cloud, servers: dict[str, Server]) -> None:
    """Add what is wrong now to the violations of `checks`."""
    rows = checks.rows["notifications"].values()
    if any((row["message"] or "").startswith("Abandoned by") for row in rows):
        return  # what is left behind is listed, and an operator's
    cloud.advance()
    verdict = _Verdict(checks, plan, cloud, servers)
    verdict.locks()
    verdict.nobody_forgotten()
    verdict.power_states()
    verdict.states_set_back()
    verdict.one_instance_holds_up_nobody()
    verdict.reserved_hosts()
    verdict.given_back()
    verdict.living_hosts()
    verdict.maintenance()


class _Verdict:
    def __init__(
        self, checks: Checks, plan: Plan, cloud: Cloud, servers: dict[str, Server]
    ) -> None:
        self._checks = checks
        self._plan = plan
        self._cloud = cloud
        self._servers = servers
        self._hosts = {row["name"]: row for row in checks.rows["hosts"].values()}

    def _moves(self, notification: str) -> dict[str, dict[str, Any]]:
        return {
            move["instance_uuid"]: move
            for move in self._checks.rows["vmoves"].values()
            if move["notification_uuid"] == notification
        }

    def _recoveries(self, host: str) -> list[dict[str, Any]]:
        """The notifications that `host` had died, in the order of their coming."""
        return [
            row
            for row in self._checks.rows["notifications"].values()
            if row["source_host_uuid"] == self._hosts[host]["uuid"]
            and row["type"] == "COMPUTE_HOST"
            and '"STOPPED"' in row["payload"]
        ]

    # -------------------------------------------------------------- rules

    def locks(self) -> None:
        """Nothing is left locked by us, and nobody else's lock is gone."""
        for instance in self._plan.instances:
            server = self._servers[instance.name]
            if server.deleted is None and server.locked_by != instance.lock:
                self._checks.broken(
                    f"{instance.name} is locked by {server.locked_by} ({server.locked_reason}), it "
                    f"was by {instance.lock}"
                )

    def nobody_forgotten(self) -> None:
        """Who is still on a dead host has a move that says why, or its recovery does."""
        for host in self._plan.hosts:
            service = self._cloud.state.host(host.name).service
            recoveries = [
                row
                for row in self._recoveries(host.name)
                if not service.alive and _second(row) >= self._checks.died_at[host.name]
            ]
            done = [row for row in recoveries if row["status"] == Status.FINISHED]
            for server in list(self._cloud.state.on_host[host.name].values()):
                for row in done or recoveries[-1:]:
                    self._is_told(server, row)

    def _is_told(self, server: Server, row: dict[str, Any]) -> None:
        moves = self._moves(row["uuid"])
        move = moves.get(server.uuid)
        if move is None:
            if row["status"] == Status.FINISHED or moves:
                self._checks.broken(
                    f"{server.name} is on dead {server.host}; {row['uuid']} is {row['status']} "
                    f"({row['message']}) and does not know it"
                )
        elif move["status"] not in ("failed", "ignored") or not move["message"]:
            self._checks.broken(
                f"{server.name} is on dead {server.host} and its move is {move['status']} "
                f"({move['message']})"
            )

    def power_states(self) -> None:
        """What was evacuated is as it was before."""
        crashed = {
            happening.facts["instance"]
            for happening in self._plan.happenings
            if happening.what == "guest_dies"
        }
        restarted = {instance for _, instance in self._checks.acted_for}  # for an alarm
        for instance in self._plan.instances:
            server = self._servers[instance.name]
            if server.uuid not in self._checks.before:
                continue
            if instance.name in crashed or server.uuid in restarted:
                continue
            died_at, vm_state, power_state = self._checks.before[server.uuid]
            moves = [
                move
                for move in self._checks.rows["vmoves"].values()
                if move["instance_uuid"] == server.uuid and _second(move, "end_time") >= died_at
            ]
            # another recovery finds what the one before has left, or is leaving
            if len(moves) != 1 or _second(moves[0]) < died_at:
                continue
            if moves[0]["status"] != "succeeded" or server.deleted is not None:
                continue
            unrestored = "not be restored" in (moves[0]["message"] or "")
            if server.host in self._checks.died_at or unrestored:
                continue
            # its old host was started and enabled without `host return`, which ends such orders
            if server.fault is not None and server.fault.message == OLD_ORDER.format(server.uuid):
                continue
            now, due = (
                (server.vm_state, server.task_state),
                (_afterwards(vm_state, power_state), None),
            )
            if now != due:
                self._checks.broken(f"{instance.name} is {now} after its evacuation, not {due}")

    def states_set_back(self) -> None:
        """What hacore reset to ERROR and could not evacuate is as it was, or it says why not."""
        for instance in self._plan.instances:
            server = self._servers[instance.name]
            reset_at = self._checks.reset_at.get(server.uuid)
            if reset_at is None or server.deleted is not None or server.vm_state != "error":
                continue
            moves = self._moves_of(server)
            if server.task_state is not None or any(m["status"] == "succeeded" for m in moves):
                continue
            if server.fault is not None and server.fault.created >= reset_at:
                continue  # Nova itself has failed it since
            was = self._checks.before.get(server.uuid, (0.0, "error", 0))[1]
            if was != "error" and not any("ERROR since" in (m["message"] or "") for m in moves):
                self._checks.broken(
                    f"{instance.name} was {was} and is left in ERROR; its moves say "
                    f"{[m['message'] for m in moves]}"
                )

    def _moves_of(self, server: Server) -> list[dict[str, Any]]:
        rows = self._checks.rows["vmoves"].values()
        return [move for move in rows if move["instance_uuid"] == server.uuid]

    def one_instance_holds_up_nobody(self) -> None:
        """Where Nova refuses one instance for ever and all else works, the others are soon back."""
        wrong = [happening for happening in self._plan.happenings if happening.what in _FAULTS]
        crashes = [crash for engine in self._plan.engines for crash in engine.crashes]
        if len(wrong) != 1 or crashes or self._plan.ambushes:
            return
        facts = wrong[0].facts
        if wrong[0].what != "answers_go_wrong" or not facts.get("instance") or facts["seconds"]:
            return
        sick = self._servers[facts["instance"]]
        for host, died_at in self._checks.died_at.items():
            finished = [row for row in self._recoveries(host) if row["status"] in ENDED]
            if sick.host != host or not finished:
                continue
            self._others_are_back(sick, host, died_at, finished[-1])

    def _others_are_back(
        self, sick: Server, host: str, died_at: float, recovery: dict[str, Any]
    ) -> None:
        calls = len(self._checks.evacuate_calls(sick.uuid))
        claims = sum(row["attempt"] for row in self._recoveries(host))
        if calls > _MOST_CALLS * claims:
            self._checks.broken(f"evacuate of {sick.name} was called {calls} times")
        of_sick = [sent.at for sent in self._checks.evacuate_calls(sick.uuid)]
        for move in self._moves(recovery["uuid"]).values():
            if move["instance_uuid"] == sick.uuid or move["status"] == "ignored":
                continue
            sent = self._checks.evacuate_calls(move["instance_uuid"])
            if not sent and "confirm-gone" in (move["message"] or ""):
                continue
            before = sum(at < sent[0].at for at in of_sick) if sent else len(of_sick)
            if of_sick and (not sent or before > 1):  # else nothing was called: no reserved host
                self._checks.broken(
                    f"{move['instance_uuid']} waited for its turn until evacuate of "
                    f"{sick.name} had been called {before} times"
                )

    def given_back(self) -> None:
        """A reserved host that was taken and not used is as it was before."""
        process = {row["source_host_uuid"] for row in self._processes()}
        (aggregate,) = self._cloud.state.aggregates.values()
        for host in self._plan.hosts:
            row = self._hosts[host.name]
            if host.name not in self._checks.ever_taken or not row["reserved"] or row["taken_by"]:
                continue
            if host.name in self._checks.died_at or row["uuid"] in process:
                continue
            if host.disabled and not self._cloud.state.host(host.name).service.disabled:
                self._checks.broken(f"reserved host {host.name} is given back and left enabled")
            if host.name in aggregate.hosts:
                self._checks.broken(f"reserved host {host.name} is given back and in an aggregate")

    def _processes(self) -> list[dict[str, Any]]:
        """Reports that nova-compute has stopped, if they led to anything."""
        return [
            row
            for row in self._checks.rows["notifications"].values()
            if row["type"] == "PROCESS"
            and '"STOPPED"' in row["payload"]
            and '"nova-compute"' in row["payload"]
            and row["status"] != Status.IGNORED
        ]

    def reserved_hosts(self) -> None:
        """One that was taken is given back, unless an instance is there or may arrive yet.

        Of a move that failed the destination is only noted where Nova has not ended it.
        """
        for host in self._hosts.values():
            if host["taken_by"] is None:
                continue
            moves = self._moves(host["taken_by"]).values()
            if not any(move["dest_host"] == host["name"] for move in moves):
                self._checks.broken(
                    f"reserved host {host['name']} is kept by {host['taken_by']}, which has ended "
                    "and moved nothing there"
                )

    def living_hosts(self) -> None:
        """A false alarm leaves no trace, nor does a report that leads to nothing."""
        for host in self._plan.hosts:
            service = self._cloud.state.host(host.name).service
            if host.name in self._checks.died_at or service.forced_down:
                continue
            row = self._hosts[host.name]
            process = any(other["source_host_uuid"] == row["uuid"] for other in self._processes())
            taken = row["taken_by"] is not None or any(
                move["dest_host"] == host.name for move in self._checks.rows["vmoves"].values()
            )
            if service.disabled and not host.disabled and not process:
                self._checks.broken(f"{host.name} lives and is left disabled")
            if row["on_maintenance"] and not process:
                self._checks.broken(f"{host.name} lives and is left on maintenance")
            if host.reserved and not row["reserved"] and not taken:
                self._checks.broken(f"{host.name} lives and has lost its reserved flag")

    def maintenance(self) -> None:
        """A host that was evacuated is on maintenance until a person says otherwise."""
        freed = {
            happening.facts["host"]
            for happening in self._plan.happenings
            if happening.what == "maintenance_ends"
        }
        for host in self._plan.hosts:
            finished = [
                row
                for row in self._recoveries(host.name)
                if row["status"] == Status.FINISHED and "evacuated" in row["message"]
            ]
            row = self._hosts[host.name]
            if finished and host.name not in freed and not row["on_maintenance"]:
                self._checks.broken(f"{host.name} was evacuated and is not on maintenance")


#: What of a plan goes wrong with Nova, with hacore's database or with instances.
_FAULTS = frozenset({
    "away", "calls_go_wrong", "calls_are_late", "answers_go_wrong", "cell_down", "cloud_slow",
    "commits_go_wrong", "database_away", "evacuations_go_wrong", "delete", "segment_disabled",
    "host_returns", "owner_reboots",
})  # fmt: skip
#: Evacuate calls for one instance under one claim.
_MOST_CALLS = 12


def _second(row: dict[str, Any], column: str = "created_at") -> float:
    """When a row was made; or ended, if it has."""
    at = datetime.datetime.fromisoformat(row[column] or row["created_at"])
    return (at.replace(tzinfo=datetime.UTC) - START).total_seconds()


def _afterwards(vm_state: str, power_state: int) -> str:
    """The table of doc/recovery.md, "The state of an instance afterwards"."""
    if vm_state == "resized":
        return "active" if power_state == RUNNING else "stopped"
    kept = {"active": "active", "error": "error"}
    return kept.get(vm_state, "stopped")
