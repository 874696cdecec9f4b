# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Orders to fencing devices: each is written down before it is sent.

It is *outstanding* until it is known what became of it: its device may carry it out later.
"""

import dataclasses
import datetime
import logging

import sqlalchemy as sa

from hacore.db import claims, operation_claims
from hacore.db.claims import Claim
from hacore.db.engine import Database, change, retry
from hacore.db.models import FencingOrder
from hacore.db.operation_claims import OperationClaim
from hacore.states import PowerVerdict

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Outstanding:
    """An order of which nobody knows yet what became of it.

    :ivar device: the name of its class in the file of devices.
    """

    device: str
    at: datetime.datetime


@retry
def begin(db: Database, claim: Claim, device: str) -> None:
    """Write an order down that is about to be sent; earlier ones to this device have been read."""
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        session.execute(_close(row.source_host_uuid, device, PowerVerdict.ON, now))
        session.add(
            FencingOrder(
                host_uuid=row.source_host_uuid,
                notification_uuid=row.uuid,
                device=device,
                created_at=now,
            )
        )
    LOG.warning("host %s: switching it off through its device %s", claim.host_name, device)


@retry
def close(db: Database, claim: Claim | OperationClaim, device: str, outcome: PowerVerdict) -> None:
    """Record what the device of the host shows: its orders are not outstanding any more."""
    with db.write() as session:
        if isinstance(claim, OperationClaim):
            _, _, now = operation_claims.lock_claimed(db, session, claim)
        else:
            _, now = claims.lock_claimed(db, session, claim)
        change(session, _close(claim.host_uuid, device, outcome, now))


def _close(host_uuid: str, device: str, outcome: PowerVerdict, now: datetime.datetime) -> sa.Update:
    return (
        sa.update(FencingOrder)
        .where(
            FencingOrder.host_uuid == host_uuid,
            FencingOrder.device == device,
            FencingOrder.closed_at.is_(None),
        )
        .values(closed_at=now, outcome=outcome, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def outstanding(db: Database, host_uuid: str) -> list[Outstanding]:
    """Return the outstanding orders to the devices of a host, the oldest first."""
    with db.read() as session:
        rows = session.scalars(
            sa.select(FencingOrder)
            .where(FencingOrder.host_uuid == host_uuid, FencingOrder.closed_at.is_(None))
            .order_by(FencingOrder.id)
        )
        return [Outstanding(row.device, row.created_at) for row in rows]
