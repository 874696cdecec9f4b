# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which processes of hacore run: one row each, kept up to date by hacore.heartbeat.

The rows decide nothing, because claims have leases of their own: they are what an
operator is shown.  A process whose last heartbeat is too old by the *database's* clock
counts as dead.
"""

import dataclasses
import datetime
import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore import processes
from hacore.db import leases
from hacore.db.engine import Database, change, retry
from hacore.db.leases import Row
from hacore.db.models import Host, Notification, Operation, Service
from hacore.states import NotificationStatus

#: The first version whose engines hold what is not safe; see doc/safety.md.
LIMITS_SINCE = "0.2.0"
#: The first version that knows operations: others pause none where they recover from a failure.
OPERATIONS_SINCE = "0.2.0"
ENGINE = "hacore-engine"


@dataclasses.dataclass(frozen=True, slots=True)
class Claimed:
    """A notification, or an operation, that an engine works on."""

    uuid: str
    type: str
    host: str


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """A process of hacore, as its row shows it."""

    name: str
    binary: str
    host: str
    pid: int
    version: str
    alive: bool
    since: datetime.datetime
    seen: datetime.datetime
    claims: tuple[Claimed, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """What a process writes about itself with its first heartbeat.

    :ivar name: unlike that of any other process, also after a restart.
    :ivar identity: for `release_claims_of_the_dead`; None where the system does not provide it.
    """

    name: str
    binary: str
    host: str
    pid: int
    version: str
    identity: processes.Identity | None


@retry
def record(db: Database, process: Registration, alive_s: float) -> None:
    """Write a heartbeat: the process counts as dead unless the next one follows in `alive_s`."""
    with db.write() as session:
        now = db.now(session)
        until = now + datetime.timedelta(seconds=alive_s)
        known = change(
            session,
            sa.update(Service)
            .where(Service.name == process.name)
            .values(updated_at=now, alive_until=until),
        )
        if not known:
            session.add(
                Service(
                    name=process.name,
                    binary=process.binary,
                    host=process.host,
                    pid=process.pid,
                    version=process.version,
                    created_at=now,
                    updated_at=now,
                    alive_until=until,
                    **_identity_columns(process.identity),
                )
            )
            session.flush()
        _delete_replaced(session, process.name, now)


@retry
def remove(db: Database, name: str) -> None:
    """Remove the row of a process that ends."""
    with db.write() as session:
        session.execute(sa.delete(Service).where(Service.name == name))


def _identity_columns(identity: processes.Identity | None) -> dict[str, Any]:
    if identity is None:
        return {}
    return {
        "boot_id": identity.boot_id,
        "pid_namespace": identity.pid_namespace,
        "pid_started": identity.started,
    }


@retry
def release_claims_of_the_dead(db: Database, binary: str) -> list[str]:
    """Release the claims of this machine's processes that are proved dead; return their names.

    Nobody has to wait for the lease of a process that cannot write any more.

    :param binary: of those processes, such as ``hacore-engine``.
    """
    me = processes.this_process()
    if me is None:
        return []
    with db.write() as session:
        neighbours = session.scalars(
            sa.select(Service).where(
                Service.binary == binary,
                Service.boot_id == me.boot_id,
                Service.pid_namespace == me.pid_namespace,
                Service.pid_started.is_not(None),
            )
        )
        dead = [row.name for row in neighbours if processes.is_dead(_identity(row))]
        if not dead:
            return []
        now = db.now(session)
        _release(session, Notification, dead, now)
        _release(session, Operation, dead, now)
        change(
            session,
            sa.update(Service)
            .where(Service.name.in_(dead), Service.alive_until > now)
            .values(alive_until=now),
        )
    return dead


def _release(
    session: orm.Session, table: type[Row], owners: list[str], now: datetime.datetime
) -> None:
    claimed = session.scalars(
        sa.select(table)
        .where(
            table.owner.in_(owners), table.status == leases.RUNNING, table.lease_until.is_not(None)
        )
        .with_for_update()
    )
    for row in claimed:
        row.lease_until = None
        row.updated_at = now
        leases.note(session, row, now, message=f"Released: the process {row.owner} has died.")


def _identity(row: Service) -> processes.Identity:
    assert row.boot_id is not None  # noqa: S101 - the query asks for it
    assert row.pid_namespace is not None  # noqa: S101
    assert row.pid_started is not None  # noqa: S101
    return processes.Identity(row.boot_id, row.pid_namespace, row.pid, row.pid_started)


def _delete_replaced(session: orm.Session, name: str, now: datetime.datetime) -> None:
    """Remove the dead rows that `name` replaces: same binary, same host, last seen before it began.

    A daemon that is killed and started again is thus listed once.
    """
    mine = orm.aliased(Service)
    dead = session.scalars(
        sa.select(Service.id)
        .join(mine, sa.and_(mine.binary == Service.binary, mine.host == Service.host))
        .where(mine.name == name, Service.alive_until < now, Service.updated_at < mine.created_at)
    ).all()
    if dead:
        # by their keys: a scan would wait for rows that others write, and they for ours
        change(session, sa.delete(Service).where(Service.id.in_(dead)))


@retry
def list_(db: Database) -> list[Process]:
    """Return all processes by kind, host and age, with what they work on."""
    with db.read() as session:
        now = db.now(session)
        rows = session.scalars(
            sa.select(Service).order_by(Service.binary, Service.host, Service.id)
        ).all()
        owners = [row.name for row in rows]
        claimed = [
            *session.execute(_claimed(owners, now)),
            *session.execute(_claimed_operations(owners, now)),
        ]
    return [
        Process(
            name=row.name,
            binary=row.binary,
            host=row.host,
            pid=row.pid,
            version=row.version,
            alive=row.alive_until >= now,
            since=row.created_at,
            seen=row.updated_at or row.created_at,
            claims=tuple(
                Claimed(uuid, kind, host)
                for owner, uuid, kind, host in claimed
                if owner == row.name
            ),
        )
        for row in rows
    ]


def _claimed(owners: list[str], now: datetime.datetime) -> sa.Select[str | None, str, str, str]:
    return (
        sa.select(Notification.owner, Notification.uuid, Notification.type, Host.name)
        .join(Host, Host.uuid == Notification.source_host_uuid)
        .where(
            Notification.status == NotificationStatus.RUNNING,
            Notification.owner.in_(owners),
            Notification.lease_until >= now,
        )
        .order_by(Notification.id)
    )


def _claimed_operations(
    owners: list[str], now: datetime.datetime
) -> sa.Select[str | None, str, str, str]:
    return (
        sa.select(Operation.owner, Operation.uuid, Operation.type, Host.name)
        .join(Operation.host)
        .where(
            Operation.status == leases.RUNNING,
            Operation.owner.in_(owners),
            Operation.lease_until >= now,
        )
        .order_by(Operation.id)
    )


def without_limits(db: Database) -> list[Process]:
    """Return the engines that are alive and of a version that holds nothing."""
    return [
        process
        for process in list_(db)
        if process.binary == ENGINE
        and process.alive
        and number(process.version) < number(LIMITS_SINCE)
    ]


def without_operations(db: Database) -> list[Process]:
    """Return the processes that are alive and of a version that does not know operations."""
    return [
        process
        for process in list_(db)
        if process.alive and number(process.version) < number(OPERATIONS_SINCE)
    ]


def unenforced(db: Database) -> str | None:
    """Return the sentence about the engines of `without_limits`; None: there are none."""
    old = without_limits(db)
    if not old:
        return None
    one = len(old) == 1
    named = ", ".join(f"{each.version} on {each.host} (process {each.pid})" for each in old)
    return (
        f"Mass-failure limits, holds and pauses are not enforced until engine{'' if one else 's'} "
        f"{named} {'is' if one else 'are'} upgraded."
    )


def number(version: str) -> tuple[int, ...]:
    """Return the number of a version, without what may follow: 0.2.0.dev3 is 0.2.0."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
