# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the demo reads from the sandbox and from hacore, as values."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any


class DemoError(Exception):
    """The demo cannot go on; the message is a sentence for who watches it."""


# -- the sandbox's own truth


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    uuid: str
    name: str
    host: str | None
    vm_state: str
    task_state: str | None
    guest_up: bool
    locked: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    name: str
    alive: bool  #: nova-compute runs
    disabled: bool  #: its service is disabled
    disabled_reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """The simulated cloud at one moment; hosts by name, instances by uuid."""

    hosts: Mapping[str, Host]
    instances: Mapping[str, Instance]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Truth":
        """Take in an answer of GET /control/state."""
        hosts = [
            Host(row["name"], row["alive"], row["status"] == "disabled", row["disabled_reason"])
            for row in body["hosts"]
        ]
        instances = [
            Instance(
                uuid=row["id"],
                name=row["name"],
                host=row["host"],
                vm_state=row["vm_state"],
                task_state=row["task_state"],
                guest_up=row["guest_up"],
                locked=row["locked"],
            )
            # vm-2 before vm-10
            for row in sorted(body["servers"], key=lambda row: (len(row["name"]), row["name"]))
        ]
        return cls({host.name: host for host in hosts}, {one.uuid: one for one in instances})


# -- what hacore says


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    name: str
    state: str  #: taskflow's: RUNNING, SUCCESS, FAILURE, ...
    progress: float
    messages: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    instance_uuid: str
    instance_name: str
    source: str
    dest: str | None
    status: str
    message: str | None
    ended_after_s: float | None  #: since the notification came in

    @property
    def ended(self) -> bool:
        return self.status in ("succeeded", "failed", "ignored")


@dataclasses.dataclass(frozen=True, slots=True)
class Recovery:
    """A notification and what hacore has done about it so far."""

    uuid: str
    status: str
    message: str | None
    steps: tuple[Step, ...]
    moves: tuple[Move, ...]
    changed_after_s: float  #: its last change, since it came in

    @property
    def ended(self) -> bool:
        """Whether nothing more comes soon: one in error waits for minutes."""
        return self.status in ("finished", "ignored", "error", "failed")

    @property
    def ended_moves(self) -> int:
        return sum(move.ended for move in self.moves)

    @classmethod
    def read(
        cls, notification: Mapping[str, Any], moves: Sequence[Mapping[str, Any]]
    ) -> "Recovery":
        """Take in a notification (microversion 1.1 or later) and its vmoves (1.3)."""
        came = notification["created_at"]
        rows = [
            Move(
                instance_uuid=row["instance_uuid"],
                instance_name=row["instance_name"],
                source=row["source_host"],
                dest=row["dest_host"],
                status=row["status"],
                message=row["message"],
                ended_after_s=_seconds(came, row["end_time"]) if row["end_time"] else None,
            )
            for row in moves
        ]
        return cls(
            uuid=notification["notification_uuid"],
            status=notification["status"],
            message=notification["message"],
            steps=tuple(_step(row, rows) for row in notification["recovery_workflow_details"]),
            moves=tuple(rows),
            changed_after_s=_seconds(came, notification["updated_at"] or came),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """All that the verdict rests on."""

    before: Truth
    after: Truth
    recovery: Recovery
    on_maintenance: frozenset[str]  #: names of hosts, as hacore has them


def _step(row: Mapping[str, Any], moves: list[Move]) -> Step:
    # the line that ends a move is shown with the move
    told = {
        move.message or f"Instance {move.instance_uuid} moved from {move.source} to {move.dest}."
        for move in moves
        if move.ended
    }
    messages = [detail["message"] for detail in row["progress_details"]]
    return Step(
        name=row["name"],
        state=row["state"] or "PENDING",
        progress=row["progress"],
        messages=tuple(message for message in messages if message not in told),
    )


def _seconds(start: str, end: str) -> float:
    moment = datetime.datetime.fromisoformat
    return (moment(end) - moment(start)).total_seconds()
