# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which processes of hacore run: each keeps one row, by a heartbeat.

The rows decide nothing, for claims have leases of their own: they are what an
operator is shown.  Dead is who was not seen for too long by the *database's*
clock.
"""

import dataclasses
import datetime
import importlib.metadata
import logging
import os
import threading
import uuid
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm

from hacore import processes
from hacore.clock import Clock
from hacore.db import history
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Notification, Service
from hacore.errors import DatabaseUnavailable
from hacore.states import NotificationStatus

LOG = logging.getLogger(__name__)

#: A process is seen so often that two heartbeats may fail before it counts as dead.
_BEATS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Holding:
    """A notification that an engine works on."""

    notification_uuid: str
    type: str
    host: str


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """A process of hacore, as its row tells."""

    name: str
    binary: str
    host: str
    pid: int
    version: str
    alive: bool
    since: datetime.datetime
    seen: datetime.datetime
    holding: tuple[Holding, ...]


class Presence:
    """The row of this process.  Neither `beat` nor `end` raises: no work depends on them.

    :param binary: what runs here, such as ``hacore-engine``.
    :param host: name of this machine.
    :param alive_s: it counts as dead when it was not seen for so long.
    """

    def __init__(self, db: Database, binary: str, host: str, alive_s: float) -> None:
        self._db = db
        self._binary = binary
        self._host = host
        self._alive_s = alive_s
        self._pid = os.getpid()
        self._identity = processes.this_process()
        #: Unlike any other's, also after a restart.
        self.name = f"{host}:{self._pid}:{uuid.uuid4().hex[:8]}"
        self._away = self._ended = False

    def keep(self, clock: Clock, stopping: threading.Event) -> None:
        """Be seen until `stopping` is set; the body of a thread."""
        while not clock.wait(stopping, self._alive_s / _BEATS):
            self.beat()

    def beat(self) -> None:
        """Be seen now."""
        if self._ended:
            return
        try:
            self._write()
            self._away = False
        except DatabaseUnavailable as exc:
            if not self._away:
                LOG.warning("this process is not seen in the list of services: %s", exc)
            self._away = True
        except Exception:  # leases are kept by the thread that calls this: it must not end
            LOG.exception("telling that this process lives broke; going on")

    def end(self) -> None:
        """Take the row away; `beat` does nothing from now on."""
        self._ended = True
        try:
            self._remove()
        except DatabaseUnavailable as exc:
            LOG.warning("this process stays in the list of services as dead: %s", exc)

    @retry
    def _write(self) -> None:
        with self._db.write() as session:
            now = self._db.now(session)
            until = now + datetime.timedelta(seconds=self._alive_s)
            mine = session.execute(
                sa.update(Service)
                .where(Service.name == self.name)
                .values(updated_at=now, alive_until=until)
                .execution_options(synchronize_session=False)
            )
            if cast("sa.CursorResult[Any]", mine).rowcount == 0:
                session.add(
                    Service(
                        name=self.name,
                        binary=self._binary,
                        host=self._host,
                        pid=self._pid,
                        version=importlib.metadata.version("hacore"),
                        created_at=now,
                        updated_at=now,
                        alive_until=until,
                        **_identity_columns(self._identity),
                    )
                )
                session.flush()
            _bury(session, self.name, now)

    @retry
    def _remove(self) -> None:
        with self._db.write() as session:
            session.execute(sa.delete(Service).where(Service.name == self.name))


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
    """Make due what processes of this machine held that are proved dead; return their names.

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
        held = session.scalars(
            sa.select(Notification)
            .where(
                Notification.owner.in_(dead),
                Notification.status == NotificationStatus.RUNNING,
                Notification.lease_until.is_not(None),
            )
            .with_for_update()
        )
        for row in held:
            row.lease_until = None
            row.updated_at = now
            text = f"Released: the process {row.owner} has died."
            history.add(session, row.uuid, row.claim_number, now, message=text)
        session.execute(
            sa.update(Service)
            .where(Service.name.in_(dead), Service.alive_until > now)
            .values(alive_until=now)
            .execution_options(synchronize_session=False)
        )
    return dead


def _identity(row: Service) -> processes.Identity:
    assert row.boot_id is not None  # noqa: S101 - the query asks for it
    assert row.pid_namespace is not None  # noqa: S101
    assert row.pid_started is not None  # noqa: S101
    return processes.Identity(row.boot_id, row.pid_namespace, row.pid, row.pid_started)


def _bury(session: orm.Session, name: str, now: datetime.datetime) -> None:
    """Remove the dead whose place `name` took: of its kind, on its machine, and seen before it.

    So a daemon that is killed and started again shows up once.
    """
    mine = orm.aliased(Service)
    dead = session.scalars(
        sa.select(Service.id)
        .join(mine, sa.and_(mine.binary == Service.binary, mine.host == Service.host))
        .where(mine.name == name, Service.alive_until < now, Service.updated_at < mine.created_at)
    ).all()
    if dead:
        # by their keys: a scan would wait for rows that others write, and they for ours
        session.execute(
            sa.delete(Service)
            .where(Service.id.in_(dead))
            .execution_options(synchronize_session=False)
        )


@retry
def list_(db: Database) -> list[Process]:
    """Return all processes by kind, host and age, with what they work on."""
    with db.read() as session:
        now = db.now(session)
        rows = session.scalars(
            sa.select(Service).order_by(Service.binary, Service.host, Service.id)
        ).all()
        held = session.execute(
            sa.select(Notification.owner, Notification.uuid, Notification.type, Host.name)
            .join(Host, Host.uuid == Notification.source_host_uuid)
            .where(
                Notification.status == NotificationStatus.RUNNING,
                Notification.owner.in_([row.name for row in rows]),
                Notification.lease_until >= now,
            )
            .order_by(Notification.id)
        ).all()
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
            holding=tuple(
                Holding(notification_uuid, kind, host)
                for owner, notification_uuid, kind, host in held
                if owner == row.name
            ),
        )
        for row in rows
    ]
