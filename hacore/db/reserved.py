# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reserved hosts: taken by one recovery at a time, given back when not used.

Invariant: a host is taken by a compare-and-swap on its ``reserved`` flag, so
that two recoveries never share one.
"""

import logging
from collections.abc import Collection

import sqlalchemy as sa

from hacore.db import claims
from hacore.db.claims import Claim
from hacore.db.engine import Database, change, retry
from hacore.db.models import Host, Move
from hacore.states import MoveStatus

LOG = logging.getLogger(__name__)


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


def taken(db: Database, claim: Claim) -> list[str]:
    """Return the names of the hosts that this recovery has taken, in whichever attempt."""
    with db.read() as session:
        return list(session.scalars(sa.select(Host.name).where(Host.taken_by == claim.uuid)))


@retry
def give_back(db: Database, claim: Claim, name: str) -> bool:
    """Reserve the host again if no instance went to it; return whether it is reserved.

    While a move has no verdict an instance may be on its way there: the host stays
    taken, and the next attempt has it.
    """
    with db.write() as session:
        claims.lock_claimed(db, session, claim)
        undecided = sa.select(Move.id).where(
            Move.notification_uuid == claim.uuid, Move.status == MoveStatus.ONGOING
        )
        if session.scalar(undecided.limit(1)) is not None:
            return False
        used = session.scalar(
            sa.select(sa.func.count())
            .select_from(Move)
            .where(
                Move.notification_uuid == claim.uuid,
                Move.dest_host == name,
                # failed: Nova has not ended that evacuation, the instance may yet arrive
                Move.status.in_((MoveStatus.SUCCEEDED, MoveStatus.FAILED)),
            )
        )
        session.execute(
            sa.update(Host)
            .where(Host.name == name, Host.deleted == 0, Host.taken_by == claim.uuid)
            .values(reserved=not used, taken_by=None, updated_at=db.now(session))
            .execution_options(synchronize_session=False)
        )
    if not used:
        LOG.info("host %s: reserved again, no instance was evacuated to it", name)
    return not used
