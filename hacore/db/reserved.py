# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reserved hosts: taken by one recovery at a time, given back when not used.

Invariant: a host is taken by a compare-and-swap on its ``reserved`` flag, so
that two recoveries never share one.  What is done to it in Nova is written on its
row before it is done: whichever engine gives it back knows what to undo.
"""

import dataclasses
import enum
import logging
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import claims
from hacore.db.claims import Claim
from hacore.db.engine import Database, change, retry
from hacore.db.models import Host, Move
from hacore.states import MoveStatus

LOG = logging.getLogger(__name__)

#: What a host is when nothing has to be undone on it.
UNTOUCHED: dict[str, Any] = {"enabled_from": None, "joined_aggregates": None}


class Use(enum.Enum):
    """Whether instances went to a host that was taken."""

    UNDECIDED = enum.auto()  #: one may be on its way there
    USED = enum.auto()
    UNUSED = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """A host that a recovery has taken, and what was done to it for that.

    ``enabled_from``: its disabled_reason before it was enabled; None: it was enabled.
    """

    name: str
    use: Use
    enabled_from: str | None
    joined_aggregates: frozenset[int]

    @property
    def touched(self) -> bool:
        """Whether there is something to undo in Nova."""
        return self.enabled_from is not None or bool(self.joined_aggregates)


@retry
def take(db: Database, claim: Claim, tried: Collection[str]) -> str | None:
    """Take a reserved host of the segment; return its name, or None when none is free.

    One that an earlier claim of this recovery took comes first.

    :param tried: names that are not wanted again.
    """
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        usable = sa.select(Host.id, Host.name).where(
            Host.segment_uuid == claim.segment_uuid,
            Host.deleted == 0,
            Host.uuid != claim.host_uuid,
            Host.on_maintenance.is_(False),
            Host.name.not_in(tried),
        )
        kept = session.execute(usable.where(Host.taken_by == claim.uuid)).first()
        if kept is not None:
            return str(kept.name)
        free = session.execute(usable.where(Host.reserved.is_(True)).order_by(Host.id)).all()
        for host in free:
            swapped = change(
                session,
                sa.update(Host)
                .where(Host.id == host.id, Host.reserved.is_(True))
                .values(reserved=False, taken_by=claim.uuid, updated_at=now),
            )
            if swapped == 1:
                LOG.info("host %s: reserved host taken (notification %s)", host.name, claim.uuid)
                return str(host.name)
    return None


@retry
def about_to_enable(db: Database, claim: Claim, name: str, disabled_reason: str | None) -> None:
    """Record, before it is done, that the host is enabled; what an earlier claim noted stays."""
    with db.write() as session:
        host = _lock(db, session, claim, name)
        if host is not None and host.enabled_from is None:
            host.enabled_from = (disabled_reason or "")[:255]


@retry
def about_to_join(db: Database, claim: Claim, name: str, aggregate_id: int) -> None:
    """Record, before it is done, that the host is added to an aggregate."""
    with db.write() as session:
        host = _lock(db, session, claim, name)
        if host is not None:
            host.joined_aggregates = sorted({*(host.joined_aggregates or ()), aggregate_id})


@retry
def undone(db: Database, claim: Claim, name: str) -> None:
    """Record that the host is in Nova as it was before it was taken."""
    with db.write() as session:
        claims.lock_claimed(db, session, claim)
        _change(session, claim, name, UNTOUCHED)


@retry
def taken(db: Database, claim: Claim) -> list[Taken]:
    """Return the hosts that this recovery has taken, in whichever attempt."""
    with db.read() as session:
        hosts = session.scalars(
            sa.select(Host).where(Host.taken_by == claim.uuid, Host.deleted == 0).order_by(Host.id)
        )
        return [
            Taken(
                host.name,
                _use(session, claim, host.name),
                host.enabled_from,
                frozenset(host.joined_aggregates or ()),
            )
            for host in hosts
        ]


@retry
def give_back(db: Database, claim: Claim, name: str) -> bool:
    """Reserve the host again if no instance went to it; return whether it is reserved.

    While a move has no verdict an instance may be on its way there: the host stays
    taken, and the next attempt has it.  One with instances is in service from now on.
    """
    with db.write() as session:
        _, now = claims.lock_claimed(db, session, claim)
        use = _use(session, claim, name)
        if use is Use.UNDECIDED:
            return False
        values: dict[str, Any] = {
            "reserved": use is Use.UNUSED,
            "taken_by": None,
            "updated_at": now,
        }
        _change(session, claim, name, values | (UNTOUCHED if use is Use.USED else {}))
    if use is Use.UNUSED:
        LOG.info("host %s: reserved again, no instance was evacuated to it", name)
    return use is Use.UNUSED


def _use(session: orm.Session, claim: Claim, name: str) -> Use:
    moves = session.execute(
        sa.select(Move.status, Move.dest_host).where(Move.notification_uuid == claim.uuid)
    ).all()
    if any(move.status == MoveStatus.ONGOING for move in moves):
        return Use.UNDECIDED
    # failed: Nova has not ended that evacuation, the instance may yet arrive
    arrived = (MoveStatus.SUCCEEDED, MoveStatus.FAILED)
    used = any(move.dest_host == name and move.status in arrived for move in moves)
    return Use.USED if used else Use.UNUSED


def _lock(db: Database, session: orm.Session, claim: Claim, name: str) -> Host | None:
    claims.lock_claimed(db, session, claim)
    return session.scalar(
        sa.select(Host)
        .where(Host.name == name, Host.deleted == 0, Host.taken_by == claim.uuid)
        .with_for_update()
    )


def _change(session: orm.Session, claim: Claim, name: str, values: dict[str, Any]) -> None:
    session.execute(
        sa.update(Host)
        .where(Host.name == name, Host.deleted == 0, Host.taken_by == claim.uuid)
        .values(values)
        .execution_options(synchronize_session=False)
    )
