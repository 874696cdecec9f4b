# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A row of Masakari's tables as the values of one of hacore's.  Pure.

Masakari's times are UTC without a zone (masakari/db/sqlalchemy/models.py).
"""

import datetime
import enum
import json
from typing import Any, TypeVar

from hacore.db import notifications
from hacore.masakari.source import Row
from hacore.states import (
    LIVE,
    MoveStatus,
    MoveType,
    NotificationStatus,
    NotificationType,
    RecoveryMethod,
)

Values = dict[str, Any]
W = TypeVar("W", bound=enum.StrEnum)


class Refused(Exception):
    """The row is invalid; the message says why, without a full stop."""


def segment(row: Row) -> Values:
    """Return the values of a Segment."""
    return {
        **_alike(row, "uuid", "name", "description", "service_type"),
        **_times(row),
        **_deleted(row),
        "recovery_method": _word(RecoveryMethod, row, "recovery_method"),
        # older rows have none
        "enabled": row["enabled"] is None or bool(row["enabled"]),
    }


def host(row: Row) -> Values:
    """Return the values of a Host."""
    return {
        **_alike(row, "uuid", "name", "type", "control_attributes"),
        **_times(row),
        **_deleted(row),
        "reserved": bool(row["reserved"]),
        "on_maintenance": bool(row["on_maintenance"]),
        "segment_uuid": row["failover_segment_id"],
    }


def notification(row: Row, segment_of_host: str) -> Values:
    """Return the values of a Notification.

    :param segment_of_host: for a row from before Masakari recorded the segment.
    """
    status = _word(NotificationStatus, row, "status")
    if status in LIVE:
        raise Refused(
            f"its status is {status}: wait until Masakari has ended it, or leave it out and report "
            "the failure to hacore"
        )
    kind = _word(NotificationType, row, "type")
    payload = _payload(row["payload"])
    generated_time = _time(row, "generated_time")
    report = notifications.Report(kind, "", generated_time, payload)
    try:
        subject = notifications.subject_of(report, row["source_host_uuid"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Refused("its payload names no instance") from None
    return {
        **_alike(row, "source_host_uuid", "message"),
        **_times(row),
        "uuid": row["notification_uuid"],
        "type": kind,
        "status": status,
        "generated_time": generated_time,
        "payload": payload,
        "segment_uuid": row["failover_segment_uuid"] or segment_of_host,
        "subject": subject,
    }


def move(row: Row, host_name: str, position: int) -> Values:
    """Return the values of a Move.

    :param host_name: of the notification, for a row without a source.
    :param position: among the moves of the notification, 0 first.
    """
    return {
        **_alike(row, "uuid", "notification_uuid", "instance_uuid", "instance_name"),
        **_alike(row, "dest_host", "message"),
        **_times(row),
        "source_host": row["source_host"] or host_name,
        "start_time": _time_or_none(row["start_time"]),
        "end_time": _time_or_none(row["end_time"]),
        "type": None if row["type"] is None else _word(MoveType, row, "type"),
        "status": _word(MoveStatus, row, "status"),
        "position": position,
        # not recorded by Masakari; only a recovery that has not ended needs them
        "vm_state": "unknown",
        "power_state": 0,
    }


def is_deleted(row: Row) -> bool:
    """Whether the row is deleted in Masakari."""
    return bool(row["deleted"])


def _alike(row: Row, *names: str) -> Values:
    return {name: row[name] for name in names}


def _times(row: Row) -> Values:
    return {
        "created_at": _time(row, "created_at"),
        "updated_at": _time_or_none(row["updated_at"]),
    }


def _deleted(row: Row) -> Values:
    return {"deleted_at": _time_or_none(row["deleted_at"])}


def _time(row: Row, name: str) -> datetime.datetime:
    value = _time_or_none(row[name])
    if value is None:
        raise Refused(f"its {name} is empty")
    return value


def _time_or_none(value: datetime.datetime | None) -> datetime.datetime | None:
    return value.replace(tzinfo=datetime.UTC) if value else None


def _word(words: type[W], row: Row, name: str) -> W:
    try:
        return words(row[name])
    except ValueError:
        raise Refused(f"its {name} is {row[name]!r}, expected one of {', '.join(words)}") from None


def _payload(text: str | None) -> dict[str, Any]:
    try:
        payload = json.loads(text or "")
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise Refused("its payload is not a JSON object")
    try:
        plain = json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        plain = b"\\u0000"
    if b"\\u0000" in plain:
        raise Refused("its payload contains characters that not every database can store")
    return payload
