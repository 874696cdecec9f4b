# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An approval is given by the facts that were shown: those that are worse by now refuse it."""

from collections.abc import Collection

import pytest

from hacore.db import approvals, claims, gates, holds, recovery_history
from hacore.db.engine import Database
from hacore.db.models import HistoryEntry, Notification
from hacore.errors import Conflict
from hacore.states import Answer, Gate, Rule
from tests import factories

HOSTS = [f"compute{number}" for number in range(1, 11)]
FACTS = {"domain": "segment rack1", "hosts": 10, "missing": 6, "names": HOSTS[:6]}


@pytest.fixture
def held(db: Database) -> Notification:
    """The recovery of the first of ten hosts, of which six were missing when it was held."""
    segment = factories.segment(db, name="rack1")
    hosts = [factories.host(db, name, segment_uuid=segment.uuid) for name in HOSTS]
    row: Notification = factories.notification(db, hosts[0])
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.LIMITS, Rule.MAJORITY, "6 of 10", FACTS)
    return row


def approve(db: Database, row: Notification, missing: int | None = None) -> None:
    approvals.approve(db, row.uuid, Rule.MAJORITY, "alice", "they are off", missing)


@pytest.mark.parametrize(("silent", "shown"), [(6, None), (6, 6), (5, None), (9, 9)])
def test_facts_that_are_no_worse(
    db: Database, held: Notification, silent: int, shown: int | None
) -> None:
    factories.look(db, *HOSTS[:silent], heard=HOSTS[silent:])
    approve(db, held, shown)
    with db.read() as session:
        row = holds.notifications.find(session, held.uuid)
        assert row.held_rule is None
        assert [each.missing for each in holds.approvals_of(row)] == [shown or 6]


@pytest.mark.parametrize("shown", [6, None])
def test_more_are_missing_by_now(db: Database, held: Notification, shown: int | None) -> None:
    """Though no gate has counted since."""
    factories.look(db, *HOSTS[:9], heard=HOSTS[9:])
    with pytest.raises(Conflict, match=r"9 of 10 hosts are missing \(shown: 6\)\. Look again\."):
        approve(db, held, shown)
    assert holds.counts(db) == {"majority": 1}


@pytest.mark.parametrize("heard", [HOSTS[:1], HOSTS])
def test_the_host_is_heard_by_now(db: Database, held: Notification, heard: Collection[str]) -> None:
    factories.look(db, *[name for name in HOSTS[:6] if name not in heard], heard=heard)
    with pytest.raises(Conflict, match="have changed: Nova hears compute1, and what it hears is"):
        approve(db, held)
    assert holds.counts(db) == {"majority": 1}


def test_no_engine_looks(db: Database, held: Notification) -> None:
    with pytest.raises(Conflict, match="No engine watches Nova at the moment"):
        approve(db, held)
    assert holds.counts(db) == {"majority": 1}


def test_an_instance_needs_no_look(db: Database) -> None:
    row = factories.notification(
        db, factories.host(db), type="VM", payload={"instance_uuid": "a", "event": "LIFECYCLE"}
    )
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.RESTARTS, Rule.RESTARTS, "5 times", {"restarts": 5})
    approvals.approve(db, row.uuid, None, "alice", "seen", None)
    assert holds.counts(db) == {}
    assert [asked.answer for asked in gates.of(db, row.uuid)] == [Answer.HOLD]


def test_an_approval_of_one_rule_leaves_that_of_another(db: Database, held: Notification) -> None:
    """Where two rules hold it, one after the other, both have to be approved; each only once."""
    factories.look(db, *HOSTS[:6])
    approve(db, held)
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.LIVENESS, Rule.NOVA, "Nova is ill", {})
    approvals.approve(db, held.uuid, Rule.NOVA, "bob", "it is off", None)
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.LIMITS, Rule.BURST, "11 at once", {})
    assert holds.lift(db, held.uuid, Rule.BURST, "held for 120 s.", passes=True)

    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    for rule in (Rule.MAJORITY, Rule.NOVA, Rule.BURST):
        assert holds.is_approved(db, claim, rule)
    assert not holds.is_approved(db, claim, Rule.RESTARTS)
    holds.lapse(db, claim)
    assert not any(holds.is_approved(db, claim, rule) for rule in Rule)
    lapsed = [entry.message for entry in history_of(db, held) if "lapsed" in (entry.message or "")]
    assert lapsed == [
        f"The approval ({rule}) has lapsed: Nova hears the host." for rule in ("majority", "nova")
    ]


def history_of(db: Database, row: Notification) -> list[HistoryEntry]:
    entries: list[HistoryEntry] = recovery_history.read(db, row.uuid).entries
    return entries
