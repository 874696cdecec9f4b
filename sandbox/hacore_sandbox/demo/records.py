# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the demo reads from the sandbox and from hacore."""

import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any


class DemoError(Exception):
    """The demo cannot continue; the message is shown to the user."""


# -- the simulated cloud


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
class CloudState:
    """The simulated cloud at one time; hosts by name, instances by uuid."""

    hosts: Mapping[str, Host]
    instances: Mapping[str, Instance]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "CloudState":
        """Parse an answer of GET /control/state."""
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


@dataclasses.dataclass(frozen=True, slots=True)
class Bmc:
    """The fencing device of a host."""

    power: str  #: of its host: on or off
    orders: tuple[str, ...]  #: the power that it was ordered to switch to, each time

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Bmc":
        """Parse a row of GET /control/bmcs."""
        return cls(row["power"], tuple(order["power"] for order in row["orders"]))


# -- the recovery, as hacore shows it


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
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
    ended_after_s: float | None  #: since the notification was created

    @property
    def ended(self) -> bool:
        return self.status in ("succeeded", "failed", "ignored")


@dataclasses.dataclass(frozen=True, slots=True)
class Recovery:
    """A notification and its recovery so far."""

    uuid: str
    status: str
    message: str | None
    tasks: tuple[Task, ...]
    moves: tuple[Move, ...]
    changed_after_s: float  #: its last change, since it was created

    @property
    def ended(self) -> bool:
        """Whether nothing changes soon: the next attempt after an error takes minutes."""
        return self.status in ("finished", "ignored", "error", "failed")

    @property
    def held(self) -> str | None:
        """The safety rule that holds it."""
        found = re.match(r"Held \((\w+)\): ", self.message or "")
        return found[1] if found and self.status == "error" else None

    @classmethod
    def read(
        cls, notification: Mapping[str, Any], moves: Sequence[Mapping[str, Any]]
    ) -> "Recovery":
        """Parse a notification (microversion 1.1 or later) and its vmoves (1.3)."""
        created = notification["created_at"]
        rows = [
            Move(
                instance_uuid=row["instance_uuid"],
                instance_name=row["instance_name"],
                source=row["source_host"],
                dest=row["dest_host"],
                status=row["status"],
                message=row["message"],
                ended_after_s=_seconds(created, row["end_time"]) if row["end_time"] else None,
            )
            for row in moves
        ]
        return cls(
            uuid=notification["notification_uuid"],
            status=notification["status"],
            message=notification["message"],
            tasks=tuple(_task(row, rows) for row in notification["recovery_workflow_details"]),
            moves=tuple(rows),
            changed_after_s=_seconds(created, notification["updated_at"] or created),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the checks need."""

    before: CloudState
    after: CloudState
    recovery: Recovery
    on_maintenance: frozenset[str]  #: names of hosts, according to hacore


def _task(row: Mapping[str, Any], moves: list[Move]) -> Task:
    ended = {move.instance_uuid for move in moves if move.ended}
    messages = [detail["message"] for detail in row["progress_details"]]
    return Task(
        name=row["name"],
        state=row["state"] or "PENDING",
        progress=row["progress"],
        # what became of an instance is shown with its move
        messages=tuple(message for message in messages if _instance_of(message) not in ended),
    )


def _instance_of(message: str) -> str | None:
    """The uuid in "Instance UUID: ..." or "Instance UUID ..."."""
    words = message.split(maxsplit=2)
    return words[1].rstrip(":") if len(words) > 1 and words[0] == "Instance" else None


def _seconds(start: str, end: str) -> float:
    moment = datetime.datetime.fromisoformat
    return (moment(end) - moment(start)).total_seconds()
