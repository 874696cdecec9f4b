# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Rows for tests: each function writes what its name says, the rest by default."""

import datetime
import uuid
from collections.abc import Collection
from typing import Any

from hacore.db import watch
from hacore.db.engine import Database
from hacore.db.models import Host, Notification, Segment
from hacore.states import Hearing, NotificationStatus, NotificationType

STOPPED = {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}


def segment(db: Database, **values: Any) -> Segment:
    """A segment with a name of its own."""
    name = values.pop("name", f"segment-{uuid.uuid4().hex[:8]}")
    return _insert(
        db,
        Segment(
            uuid=str(uuid.uuid4()),
            name=name,
            **{"recovery_method": "auto", "service_type": "compute", "enabled": True, **values},
        ),
    )


def host(db: Database, name: str = "compute1", **values: Any) -> Host:
    """A host; in a new segment unless one is given."""
    segment_uuid = values.pop("segment_uuid", None) or segment(db).uuid
    return _insert(
        db,
        Host(
            uuid=str(uuid.uuid4()),
            name=name,
            segment_uuid=segment_uuid,
            **{"type": "COMPUTE", "control_attributes": "SSH", **values},
        ),
    )


def notification(db: Database, of: Host, **values: Any) -> Notification:
    """A host failure of `of`, accepted a moment ago."""
    kind = NotificationType(values.pop("type", NotificationType.COMPUTE_HOST))
    payload = values.pop("payload", STOPPED)
    subject = {
        NotificationType.COMPUTE_HOST: f"host:{of.uuid}",
        NotificationType.PROCESS: f"process:{of.uuid}",
        NotificationType.VM: f"instance:{payload.get('instance_uuid')}",
    }[kind]
    return _insert(
        db,
        Notification(
            uuid=str(uuid.uuid4()),
            type=kind,
            payload=payload,
            subject=subject,
            source_host_uuid=of.uuid,
            segment_uuid=of.segment_uuid,
            generated_time=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
            **{"status": NotificationStatus.NEW, **values},
        ),
    )


def look(db: Database, *silent: str, heard: Collection[str] = ()) -> None:
    """An engine has just looked at Nova's heartbeats, and has seen that."""
    hosts = [watch.Seen(name, "nova", Hearing.SILENT, 60.0, "x") for name in silent]
    hosts += [watch.Seen(name, "nova", Hearing.HEARD, 1.0, "x") for name in heard]
    # the next look is due in an hour: what was seen is current, however slow the test is
    watch.write(db, "engine1", 0, watch.Look(hosts, 10.0, 3600.0, None, 0.0, listed=True))


def _insert(db: Database, row: Any) -> Any:
    with db.write() as session:
        row.created_at = row.created_at or db.now(session)
        session.add(row)
    return row
