# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is held for long: said each day, and given up in the end."""

import datetime

import pytest
import sqlalchemy as sa

from hacore.db import claims, holds, recovery_history
from hacore.db.engine import Database
from hacore.db.models import Notification
from hacore.states import Gate, Rule
from tests import factories

EXPIRE_S = 72 * 3600.0


@pytest.fixture
def held(db: Database) -> Notification:
    """A recovery that is held."""
    row = factories.notification(db, factories.host(db))
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.LIMITS, Rule.MAJORITY, "too many are missing.", {"missing": 6})
    return row


def since(db: Database, hours: float) -> None:
    """Let everything that is held be so for so long."""
    with db.write() as session:
        at = db.now(session) - datetime.timedelta(hours=hours)
        session.execute(sa.update(Notification).values(held_since=at))


def messages(db: Database, uuid: str) -> list[str]:
    return [entry.message or "" for entry in recovery_history.read(db, uuid).entries]


def test_each_day_is_said_once(db: Database, held: Notification) -> None:
    since(db, 25)
    assert [holds.remind(db, held.uuid, 1, EXPIRE_S) for _ in range(2)] == [True, False]
    since(db, 49)
    assert [holds.remind(db, held.uuid, 2, EXPIRE_S) for _ in range(2)] == [True, False]
    assert messages(db, held.uuid)[-2:] == [
        f"Still held (majority) after {hours} h; given up after 72 h ([DEFAULT] held_expire)."
        for hours in (24, 48)
    ]


def test_what_has_been_lifted_is_said_no_more(db: Database, held: Notification) -> None:
    since(db, 25)
    assert holds.lift(db, held.uuid, Rule.MAJORITY, "few are missing.")
    before = messages(db, held.uuid)
    assert not holds.remind(db, held.uuid, 1, EXPIRE_S)
    assert messages(db, held.uuid) == before


@pytest.mark.parametrize(("hours", "given_up"), [(71.9, False), (72.1, True)])
def test_it_is_given_up_in_the_end(
    db: Database, held: Notification, hours: float, given_up: bool
) -> None:
    since(db, hours)
    assert holds.longest_s(db) == pytest.approx(hours * 3600, abs=60)
    assert holds.expire(db, held.uuid, EXPIRE_S) is given_up
    assert (holds.longest_s(db) == 0) is given_up
    last = messages(db, held.uuid)[-1]
    assert last.endswith("Given up: held for 72 h ([DEFAULT] held_expire).") is given_up
