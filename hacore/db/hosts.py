# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Hosts, as a person registers them; what recoveries do to them is in hacore.db.recoveries."""

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm

from hacore.db import operations, paging, segments
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Segment
from hacore.errors import Duplicate, HostNotFound
from hacore.hostnames import hint


@dataclasses.dataclass(frozen=True, slots=True)
class Registered:
    """A host that is registered, and where."""

    name: str
    segment_uuid: str
    segment_name: str
    on_maintenance: bool


@retry
def create(db: Database, segment_uuid: str, values: Mapping[str, Any]) -> Host:
    """Add a host to a segment; `values` are attributes of it.

    Raises SegmentNotFound, or Duplicate if its name is taken in this or another segment.
    """
    try:
        with db.write() as session:
            segment = segments.find(session, segment_uuid, lock=True)
            host = Host(uuid=str(uuid.uuid4()), created_at=db.now(session), **values)
            host.segment = segment
            session.add(host)
            session.flush()
            return host
    except db_exc.DBDuplicateEntry as exc:
        raise _taken(values) from exc


@retry
def get(db: Database, segment_uuid: str, host_uuid: str) -> Host:
    """Return one host with its segment.

    Raises HostNotFound.
    """
    with db.read() as session:
        return _find(session, segment_uuid, host_uuid)


@retry
def named(db: Database, name: str) -> Host:
    """Return the registered host of that name.

    Raises HostNotFound.
    """
    with db.read() as session:
        host = session.scalar(sa.select(Host).where(Host.name == name, Host.deleted == 0))
        if host is None:
            known = session.scalars(sa.select(Host.name).where(Host.deleted == 0))
            raise HostNotFound(
                f"No host named {name!r} is registered in any segment{hint(name, known)}"
            )
        return host


@retry
def list_(
    db: Database, segment_uuid: str, filters: Mapping[str, Any], page: paging.Page
) -> list[Host]:
    """Return a page of the segment's hosts whose attributes equal `filters`.

    Raises SegmentNotFound.
    """
    query = (sa.select(Host).where(Host.segment_uuid == segment_uuid, Host.deleted == 0)).filter_by(
        **filters
    )
    with db.read() as session:
        segment = segments.find(session, segment_uuid)
        hosts = paging.fetch(session, query, Host, page)
        for host in hosts:
            orm.attributes.set_committed_value(host, "segment", segment)
        return hosts


@retry
def registered(db: Database) -> list[Registered]:
    """Return all hosts of all segments, by name."""
    with db.read() as session:
        rows = session.execute(
            sa.select(Host.name, Segment.uuid, Segment.name, Host.on_maintenance)
            .join(Host.segment)
            .where(Host.deleted == 0, Segment.deleted == 0)
            .order_by(Host.name)
        )
        return [Registered(*row) for row in rows]


@retry
def refuse_in_use(db: Database, segment_uuid: str, host_uuid: str) -> Host:
    """Return the host if it can be changed now; to ask before something slow.

    Raises HostNotFound or InUse.
    """
    with db.read() as session:
        host = _find(session, segment_uuid, host_uuid)
        segments.refuse_in_use(session, segment_uuid, f"Host {host.name}")
        operations.refuse_in_use(session, host)
        return host


@retry
def update(db: Database, segment_uuid: str, host_uuid: str, changes: Mapping[str, Any]) -> Host:
    """Set the attributes in `changes`.

    Who sets on_maintenance or reserved takes it over from a recovery.

    Raises HostNotFound, InUse, or Duplicate if the name is taken.
    """
    try:
        with db.write() as session:
            host = _lock(session, segment_uuid, host_uuid)
            for name, value in changes.items():
                setattr(host, name, value)
            if "on_maintenance" in changes:
                host.maintenance_by = None
                host.was_reserved = False
            if "reserved" in changes:
                host.taken_by = host.enabled_from = host.joined_aggregates = None
                host.was_reserved = False
            host.updated_at = db.now(session)
            session.flush()
            return host
    except db_exc.DBDuplicateEntry as exc:
        raise _taken(changes) from exc


@retry
def delete(db: Database, segment_uuid: str, host_uuid: str) -> Host:
    """Soft-delete a host; its name is free again.  Returns it.

    Raises HostNotFound or InUse.
    """
    with db.write() as session:
        host = _lock(session, segment_uuid, host_uuid)
        host.deleted, host.deleted_at = host.id, db.now(session)
        return host


def _find(session: orm.Session, segment_uuid: str, host_uuid: str, lock: bool = False) -> Host:
    query = (
        sa.select(Host)
        .join(Host.segment)
        .options(orm.contains_eager(Host.segment))
        .where(
            Host.uuid == host_uuid,
            Host.segment_uuid == segment_uuid,
            Host.deleted == 0,
            Segment.deleted == 0,
        )
    )
    host = session.scalar(query.with_for_update(of=Host) if lock else query)
    if host is None:
        raise HostNotFound(f"No host of segment {segment_uuid} has the uuid {host_uuid}.")
    return host


def _lock(session: orm.Session, segment_uuid: str, host_uuid: str) -> Host:
    host = _find(session, segment_uuid, host_uuid, lock=True)
    segments.refuse_in_use(session, segment_uuid, f"Host {host.name}")
    operations.refuse_in_use(session, host)
    host.locks += 1
    return host


def _taken(values: Mapping[str, Any]) -> Duplicate:
    return Duplicate(f"name: a host named {values.get('name')!r} is registered already.")
