# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What /operator/v1 serves, each field declared once: its value, its schema, its example."""

import datetime
from typing import Any

from hacore.db import holds
from hacore.db.history import StepRun
from hacore.db.models import HistoryEntry, Move, Notification, Operation
from hacore.db.recovery_history import RecoveryHistory
from hacore.resources import (
    BOOLEAN,
    INTEGER,
    STRING,
    UUID,
    Field,
    Resource,
    Schema,
    one_of,
    or_null,
    time_to_json,
)
from hacore.states import (
    Answer,
    Gate,
    MoveStatus,
    MoveType,
    NotificationStatus,
    NotificationType,
    OperationStatus,
    OperationType,
    PowerAction,
    ProofKind,
    StepState,
)

NUMBER: Schema = {"type": "number"}
TIME: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
    "description": "UTC.",
    "examples": ["2026-01-31T12:00:00.000000Z"],
}
FACTS: Schema = {"type": "object", "description": "What the gate saw."}

RECOVERY_UUID = "c0f1e2d3-7a6b-4c5d-9e8f-1a2b3c4d5e33"
SEGMENT_UUID = "5a1a3f4b-3c2f-4d27-9b0e-2f0d6c1b7a11"
_HOST_UUID = "7e0a9c8e-0c5b-4a53-8b1c-0b6a6c9f2d22"
_PAYLOAD = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}


def utc(time: datetime.datetime | None) -> str | None:
    """Return a time as the operator API writes it: in UTC, with microseconds."""
    return None if time is None else f"{time_to_json(time)}Z"


def _name(row: Any) -> str:
    name: str = row.name
    return name


def at(name: str, example: str | None, *, null: bool = False, attribute: str = "") -> Field:
    """Return a field that is a time."""
    return Field(name, or_null(TIME) if null else TIME, example, attribute, to_json=utc)


#: A notification and its recovery, as in a list.
RECOVERY = Resource(
    "recovery",
    "Recovery",
    (
        Field("id", INTEGER, 12),
        Field("uuid", UUID, RECOVERY_UUID),
        Field("type", one_of(NotificationType), "COMPUTE_HOST"),
        Field("status", one_of(NotificationStatus), "error"),
        Field("host", STRING, "compute1", to_json=_name),
        Field("host_uuid", UUID, _HOST_UUID, attribute="source_host_uuid"),
        Field("segment", STRING, "rack 1", to_json=_name),
        Field("segment_uuid", UUID, SEGMENT_UUID),
        Field("payload", {"type": "object"}, _PAYLOAD),
        at("generated_time", "2026-01-31T12:00:00.000000Z"),
        at("created_at", "2026-01-31T12:00:00.250000Z"),
        at("updated_at", "2026-01-31T12:00:04.500000Z", null=True),
        Field(
            "message",
            or_null(STRING),
            "Held (pause): recoveries are paused by alice: switches are replaced; goes on when the "
            "pause ends.",
        ),
        Field("failed_attempts", INTEGER, 0),
        at("retry_at", None, null=True),
    ),
)
MOVE = Resource(
    "move",
    "Move",
    (
        Field("uuid", UUID, "0d9c8b7a-6f5e-4d3c-8b2a-190f8e7d6c44"),
        Field("instance_uuid", STRING, "b9837317-a5b8-44f4-93b4-45500c562bb8"),
        Field("instance_name", STRING, "db1"),
        Field("type", one_of(MoveType, None), "evacuation"),
        Field("status", one_of(MoveStatus), "succeeded"),
        Field("from", STRING, "compute1", attribute="source_host"),
        Field("to", or_null(STRING), "compute2", attribute="dest_host"),
        Field("locked", BOOLEAN, False),
        at("began", "2026-01-31T12:00:04.300000Z", null=True, attribute="start_time"),
        at("ended", "2026-01-31T12:00:09.400000Z", null=True, attribute="end_time"),
        Field("reason", or_null(STRING), None, attribute="message"),
    ),
)
#: One line of the history.
EVENT = Resource(
    "event",
    "Event",
    (
        Field("id", INTEGER, 345),
        at("at", "2026-01-31T12:00:04.500000Z", attribute="created_at"),
        Field("claim", INTEGER, 1, attribute="claim_number"),
        Field("step", or_null(STRING), None),
        Field("state", one_of(StepState, None), None),
        Field("progress", or_null(NUMBER), None),
        Field("gate", one_of(Gate, None), "pause"),
        Field("answer", one_of(Answer, None), "hold"),
        Field("message", or_null(STRING), "recoveries are paused by alice: switches are replaced."),
    ),
)
#: What a gate has answered.
GATE = Resource(
    "gate",
    "Gate",
    (
        at("at", "2026-01-31T12:00:04.500000Z"),
        Field("claim", INTEGER, 1, attribute="claim_number"),
        Field("gate", one_of(Gate), "pause"),
        Field("answer", one_of(Answer), "hold"),
        Field("facts", FACTS, {"scope": "all"}),
        Field("message", STRING, "recoveries are paused by alice: switches are replaced."),
    ),
)
#: What an operator has asked hacore to do with a host.
OPERATION = Resource(
    "operation",
    "Operation",
    (
        Field("id", INTEGER, 3),
        Field("uuid", UUID, "4b1f6a2e-9d3c-4e58-a7b0-5c6d7e8f9a55"),
        Field("type", one_of(OperationType), "return"),
        Field("status", one_of(OperationStatus), "waiting"),
        Field("host", STRING, "compute1", to_json=_name),
        Field("host_uuid", UUID, _HOST_UUID),
        Field("by", STRING, "alice"),
        Field("reason", or_null(STRING), "The memory was replaced."),
        Field("options", {"type": "object"}, {"force": False}),
        at("created_at", "2026-01-31T15:00:00.250000Z"),
        at("updated_at", "2026-01-31T15:00:02.500000Z", null=True),
        at("deadline", "2026-01-31T15:30:00.250000Z"),
        at("retry_at", "2026-01-31T15:00:32.500000Z", null=True),
        Field(
            "message",
            or_null(STRING),
            "Nova does not hear compute1: start the host and its nova-compute.",
        ),
    ),
)
#: One line of the history of an operation.
OPERATION_EVENT = Resource(
    "event",
    "OperationEvent",
    (
        *(each for each in EVENT.fields if each.name not in ("gate", "answer", "message")),
        Field(
            "message",
            or_null(STRING),
            "waiting: Nova does not hear compute1: start the host and its nova-compute.",
        ),
    ),
)
PAUSE = Resource(
    "pause",
    "Pause",
    (
        Field("scope", STRING, "all"),
        Field("by", STRING, "alice"),
        Field("reason", STRING, "Switches are replaced."),
        at("since", "2026-01-31T11:55:00.000000Z"),
        at("until", "2026-01-31T13:55:00.000000Z", null=True),
    ),
)
#: Somebody's word that a host is off.
PROOF = Resource(
    "proof",
    "Proof",
    (
        Field("uuid", UUID, "6b1f0d52-9d1e-4b62-8a55-7c1d2e3f4a55"),
        Field("kind", one_of(ProofKind), "operator"),
        Field("host", STRING, "compute1"),
        Field("recovery_uuid", or_null(UUID), RECOVERY_UUID, attribute="notification_uuid"),
        Field("action", one_of(PowerAction, None), None),
        Field("by", or_null(STRING), "alice"),
        Field("reason", or_null(STRING), "The fuse of its rack is out."),
        at("at", "2026-01-31T12:05:00.000000Z"),
        at("void_at", None, null=True),
        Field("void_reason", or_null(STRING), None),
        Field(
            "message",
            STRING,
            "alice has confirmed that compute1 is off: The fuse of its rack is out.",
            attribute="sentence",
        ),
    ),
)
#: A host that Nova does not hear.
UNHEARD = Resource(
    "host",
    "UnheardHost",
    (
        Field("host", STRING, "compute1"),
        Field("zone", STRING, "nova"),
        Field("state", STRING, "silent"),
        at("since", "2026-01-31T11:59:28.000000Z"),
    ),
)

HELD_EXAMPLE = {
    "rule": "pause",
    "reason": "recoveries are paused by alice: switches are replaced; goes on when the pause ends.",
    "since": "2026-01-31T12:00:04.500000Z",
}


def recovery(row: Notification) -> dict[str, Any]:
    """Return a recovery as in a list; `row` has its host and segment."""
    running = row.status == NotificationStatus.RUNNING
    return {
        **RECOVERY.serialize(row),
        "retry_at": utc(row.retry_at) if row.status == NotificationStatus.ERROR else None,
        # the last owner of an ended claim is not shown
        "owner": row.owner if running else None,
        "held": _held(row),
    }


def operation(row: Operation) -> dict[str, Any]:
    """Return an operation as in a list; `row` has its host."""
    running = row.status == OperationStatus.RUNNING
    return {**OPERATION.serialize(row), "owner": row.owner if running else None}


def _held(row: Notification) -> dict[str, Any] | None:
    if row.held_rule is None or row.status != NotificationStatus.ERROR:
        return None
    reason = (row.message or "").removeprefix(f"Held ({row.held_rule}): ")
    return {"rule": row.held_rule, "reason": reason, "since": utc(row.held_since)}


def approvals(row: Notification) -> list[dict[str, Any]]:
    """Return what operators have approved, the oldest first."""
    return [
        {"rule": each.rule, "by": each.by, "at": utc(each.at), "missing": each.missing}
        for each in holds.approvals_of(row)
        if each.by is not None
    ]


def claim(found: RecoveryHistory) -> dict[str, Any] | None:
    """Return the claim of a recovery that is running."""
    row = found.notification
    if row.status != NotificationStatus.RUNNING:
        return None
    return {
        "number": row.claim_number,
        "owner": row.owner,
        "lease_until": utc(row.lease_until),
        "live": found.is_claimed,
    }


def move(row: Move) -> dict[str, Any]:
    """Return a move; the seconds that it took, once it has ended."""
    took = row.end_time - row.start_time if row.start_time and row.end_time else None
    return {**MOVE.serialize(row), "seconds": None if took is None else took.total_seconds()}


def step(run: StepRun) -> dict[str, Any]:
    """Return a step of a recovery, or of an operation."""
    return {
        "claim": run.claim_number,
        "step": run.step,
        "state": run.state,
        "progress": run.progress,
        "began": utc(run.entries[0].created_at),
        "last_change": utc(run.entries[-1].created_at),
    }


def event(row: HistoryEntry) -> dict[str, Any]:
    """Return one line of the history."""
    return EVENT.serialize(row)
