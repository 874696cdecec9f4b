# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Recoveries for tests of /operator/v1, and what its answers say."""

from typing import Any

import sqlalchemy as sa

from hacore.db import claims, holds, watch
from hacore.db.engine import Database
from hacore.db.models import HistoryEntry, Notification
from hacore.states import Gate, Rule
from tests import factories

ROOT = "/operator/v1"
NOWHERE = "11111111-2222-3333-4444-555555555555"
DAY_S = 86400
WHY = "6 of 10 hosts of segment rack 1 are missing; goes on when so many are not missing for 60 s."


def claim(db: Database, owner: str = "engine1") -> claims.Claim:
    taken = claims.claim(db, owner, 60, DAY_S)
    assert taken is not None
    return taken


def held(
    db: Database, name: str = "compute1", rule: Rule = Rule.MAJORITY, missing: int = 6
) -> Notification:
    """A recovery that a rule holds; Nova does not hear its host."""
    factories.look(db, name)
    row: Notification = factories.notification(db, factories.host(db, name))
    facts = {"missing": missing, "hosts": 10}
    holds.hold(db, claim(db), Gate.LIMITS, rule, WHY, facts)
    return row


def path(row: Notification, verb: str = "") -> str:
    return f"{ROOT}/recoveries/{row.uuid}{verb}"


def read(db: Database, row: Notification) -> Notification:
    with db.read() as session:
        return session.scalars(sa.select(Notification).where(Notification.id == row.id)).one()


def lines(db: Database, row: Notification) -> list[str | None]:
    with db.read() as session:
        found = sa.select(HistoryEntry.message).where(HistoryEntry.notification_uuid == row.uuid)
        return list(session.scalars(found.order_by(HistoryEntry.id)))


def reason(answer: Any, status: int) -> str:
    """The message of the fault that an answer must be."""
    assert answer.status_code == status, answer.text
    ((_name, fault),) = answer.json.items()
    assert fault["code"] == status
    return str(fault["message"])


def look(db: Database, *hosts: watch.Seen, illness: str | None = None) -> None:
    watch.write(db, "engine1", 60, watch.Look(hosts, 10.0, 5.0, illness, 12.0, listed=True))
