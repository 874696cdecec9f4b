# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Orders to fencing devices: written down before they are sent, and outstanding until read."""

import datetime

import pytest
import sqlalchemy as sa

from hacore.db import claims, orders, purge
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.db.models import FencingOrder
from hacore.errors import LeaseLost
from hacore.states import PowerVerdict
from tests import factories


@pytest.fixture
def claim(db: Database) -> Claim:
    factories.notification(db, factories.host(db))
    taken = claims.claim(db, "engine1", 60, 86400)
    assert taken is not None
    return taken


def outstanding(db: Database, claim: Claim) -> list[str]:
    return [each.device for each in orders.outstanding(db, claim.host_uuid)]


def test_one_is_outstanding_until_its_device_was_read(db: Database, claim: Claim) -> None:
    orders.begin(db, claim, "bmc")
    orders.begin(db, claim, "pdu")
    assert outstanding(db, claim) == ["bmc", "pdu"]
    orders.close(db, claim, "bmc", PowerVerdict.OFF)
    assert outstanding(db, claim) == ["pdu"]


def test_a_second_one_to_a_device_follows_a_read(db: Database, claim: Claim) -> None:
    orders.begin(db, claim, "bmc")
    orders.begin(db, claim, "bmc")
    assert outstanding(db, claim) == ["bmc"]
    with db.read() as session:
        rows = session.scalars(sa.select(FencingOrder).order_by(FencingOrder.id)).all()
    assert [row.outcome for row in rows] == [PowerVerdict.ON, None]


def test_an_engine_that_was_replaced_writes_none(db: Database, claim: Claim) -> None:
    with db.write() as session:
        ended = db.now(session) - datetime.timedelta(seconds=1)
        session.execute(sa.text("UPDATE notifications SET lease_until = :at"), {"at": ended})
    assert claims.claim(db, "engine2", 60, 86400) is not None
    with pytest.raises(LeaseLost):
        orders.begin(db, claim, "bmc")
    assert outstanding(db, claim) == []


def test_an_outstanding_one_is_never_purged(db: Database, claim: Claim) -> None:
    orders.begin(db, claim, "bmc")
    orders.begin(db, claim, "pdu")
    orders.close(db, claim, "pdu", PowerVerdict.OFF)
    with db.write() as session:
        long_ago = db.now(session) - datetime.timedelta(days=40)
        session.execute(sa.update(FencingOrder).values(created_at=long_ago))
        closed = sa.update(FencingOrder).where(FencingOrder.closed_at.is_not(None))
        session.execute(closed.values(closed_at=long_ago))
    assert purge.purge(db, 30)["fencing_orders"] == 1
    assert outstanding(db, claim) == ["bmc"]
