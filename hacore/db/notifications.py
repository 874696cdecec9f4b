# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Accepting and showing notifications; hacore.db.claims has the engines' side.

Invariant: a notification is accepted when its row is committed, and of two
equal ones that are posted at the same instant, one is.  The lock on the host's
row sees to the second, and between the nodes of a Galera cluster, which do
not see each other's locks, the write of that row.
"""

import dataclasses
import datetime
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm.interfaces import ORMOption

from hacore.db import history, operation_claims, paging
from hacore.db.engine import Database, UtcNow, retry
from hacore.db.models import HistoryEntry, Host, Notification
from hacore.errors import Duplicate, Invalid, NotificationNotFound, OnMaintenance
from hacore.hostnames import hint
from hacore.states import LIVE, NotificationStatus, NotificationType


@dataclasses.dataclass(frozen=True)
class Report:
    """What a monitor says, checked as far as that goes without the database."""

    type: NotificationType
    hostname: str
    generated_time: datetime.datetime  # aware
    payload: Mapping[str, Any]


# What intake needs of the host: to read all of it takes twice as long.  The time is that
# before the wait for the lock.
_HOST = (
    sa.select(
        Host.id,
        Host.uuid,
        Host.name,
        Host.segment_uuid,
        Host.on_maintenance,
        Host.maintenance_by,
        UtcNow().label("now"),
    )
    .where(Host.name == sa.bindparam("name"), Host.deleted == 0)
    .with_for_update()
)
#: Those that `hint` may name.
_LIKE = sa.select(Host.name).where(
    Host.name.istartswith(sa.bindparam("short"), autoescape=False), Host.deleted == 0
)
_COUNT_LOCK = sa.update(Host).where(Host.id == sa.bindparam("row_id")).values(locks=Host.locks + 1)
_CANDIDATES = sa.select(
    Notification.uuid, Notification.payload, Notification.created_at, Notification.held_rule
).where(
    Notification.subject == sa.bindparam("subject"),
    Notification.source_host_uuid == sa.bindparam("host_uuid"),
    Notification.status.in_(LIVE),
    sa.or_(Notification.created_at >= sa.bindparam("oldest"), Notification.held_rule.is_not(None)),
)


@retry
def create(
    db: Database, report: Report, *, request_id: str | None, duplicate_window_s: float
) -> Notification:
    """Accept a notification by the rules of doc/recovery.md, "Which notifications are accepted".

    Raises Invalid for an unknown host, OnMaintenance, or Duplicate for one that
    equals another that has not ended and was accepted at most `duplicate_window_s` ago, or reports
    once more what is held.
    """
    with db.write() as session:
        # on the connection: the session would look for objects among the columns
        connection = session.connection()
        host = connection.execute(_HOST, {"name": report.hostname}).first()
        if host is None:
            known = session.scalars(_LIKE, {"short": report.hostname.partition(".")[0]})
            raise Invalid(
                f"hostname: host {report.hostname!r} is not registered in any segment"
                f"{hint(report.hostname, known)}"
            )
        _refuse_on_maintenance(session, host, report.type)
        now = db.time_in(host.now)
        subject = subject_of(report, host.uuid)
        oldest = now - datetime.timedelta(seconds=duplicate_window_s)
        _refuse_duplicate(connection, host.uuid, subject, report, oldest)
        notification = Notification(
            uuid=str(uuid.uuid4()),
            created_at=now,
            type=report.type,
            status=NotificationStatus.NEW,
            generated_time=report.generated_time,
            payload=dict(report.payload),
            source_host_uuid=host.uuid,
            segment_uuid=host.segment_uuid,
            request_id=request_id,
            subject=subject,
        )
        # Galera certifies what is written: of two nodes that both lock the host, one commits
        # and the other gets a deadlock error, and sees the first one's report when it retries.
        connection.execute(_COUNT_LOCK, {"row_id": host.id})
        session.add(notification)
        session.flush()
        return notification


@retry
def get(db: Database, notification_uuid: str) -> Notification:
    """Return one notification.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        return find(session, notification_uuid)


@retry
def get_with_history(
    db: Database, notification_uuid: str
) -> tuple[Notification, list[HistoryEntry]]:
    """Return one notification and the history of its recovery.

    Raises NotificationNotFound.
    """
    with db.read() as session:
        notification = find(session, notification_uuid)
        return notification, history.of(session, notification_uuid)


@retry
def list_(
    db: Database,
    filters: Mapping[str, Any],
    page: paging.Page,
    generated_since: datetime.datetime | None = None,
) -> list[Notification]:
    """Return a page of the notifications whose attributes equal `filters`."""
    query = sa.select(Notification).filter_by(**filters)
    if generated_since is not None:
        query = query.where(Notification.generated_time >= generated_since)
    with db.read() as session:
        return paging.fetch(session, query, Notification, page)


def find(session: orm.Session, notification_uuid: str, *options: ORMOption) -> Notification:
    """Return the notification within a transaction.

    :param options: what to load with it.

    Raises NotificationNotFound.
    """
    notification = session.scalar(
        sa.select(Notification).where(Notification.uuid == notification_uuid).options(*options)
    )
    if notification is None:
        raise NotificationNotFound(f"No notification has the uuid {notification_uuid}.")
    return notification


def subject_of(report: Report, host_uuid: str) -> str:
    """Name what is under recovery: the host, its processes, or one instance."""
    if report.type is NotificationType.COMPUTE_HOST:
        return f"host:{host_uuid}"
    if report.type is NotificationType.PROCESS:
        return f"process:{host_uuid}"
    return subject_of_instance(report.payload["instance_uuid"])


def subject_of_instance(instance_uuid: str) -> str:
    """Name an instance; clients write its uuid in either case, and some without dashes."""
    return f"instance:{uuid.UUID(instance_uuid)}"


def started_after(
    connection: sa.Connection,
    host_uuid: str,
    type_: NotificationType,
    process_name: str | None,
    after: datetime.datetime,
) -> str | None:
    """Return the first report after that time that the host, or its process, has started."""
    later = sa.select(Notification.uuid, Notification.payload).where(
        Notification.source_host_uuid == host_uuid,
        Notification.type == type_,
        Notification.created_at > after,
    )
    for row in connection.execute(later.order_by(Notification.created_at)):
        if (
            row.payload.get("event") == "STARTED"
            and row.payload.get("process_name") == process_name
        ):
            uuid_: str = row.uuid
            return uuid_
    return None


def _refuse_on_maintenance(
    session: orm.Session, host: sa.Row[*tuple[Any, ...]], type_: NotificationType
) -> None:
    if not host.on_maintenance:
        return
    if type_ is NotificationType.COMPUTE_HOST and operation_claims.open_of(session, host.uuid):
        return  # it dies while it is brought back
    if type_ is NotificationType.COMPUTE_HOST and host.maintenance_by is not None:
        setter = session.scalar(
            sa.select(Notification.type).where(Notification.uuid == host.maintenance_by)
        )
        if setter == NotificationType.PROCESS:
            return  # its nova-compute died first, and now the host itself
    raise OnMaintenance(f"hostname: host {host.name} is on maintenance.")


def _refuse_duplicate(
    connection: sa.Connection,
    host_uuid: str,
    subject: str,
    report: Report,
    oldest: datetime.datetime,
) -> None:
    values = {"subject": subject, "host_uuid": host_uuid, "oldest": oldest}
    for candidate in connection.execute(_CANDIDATES, values):
        held = candidate.held_rule is not None and report.type is NotificationType.COMPUTE_HOST
        if held and candidate.payload.get("event") == report.payload.get("event"):
            # at any age, whatever was heard since: only what Nova hears lifts the hold
            raise Duplicate(
                f"Duplicate of notification {candidate.uuid}, which is held "
                f"({candidate.held_rule})."
            )
        if candidate.payload == report.payload and not _started_since(
            connection, host_uuid, report, candidate.created_at
        ):
            raise Duplicate(f"Duplicate of notification {candidate.uuid}, which has not ended yet.")


def _started_since(
    connection: sa.Connection, host_uuid: str, report: Report, at: datetime.datetime
) -> bool:
    """Whether what stopped at that time has started since, so that it stops a second time now."""
    if report.type is NotificationType.VM or report.payload.get("event") == "STARTED":
        return False
    process_name = report.payload.get("process_name")
    return started_after(connection, host_uuid, report.type, process_name, at) is not None
