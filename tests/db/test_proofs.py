# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Proofs that a host is off: whose word counts, for how long, and what goes on with it."""

import datetime

import pytest
import sqlalchemy as sa

from hacore.db import claims, holds, proofs, purge, recovery_history
from hacore.db.engine import Database
from hacore.db.models import Host, Notification, Proof
from hacore.errors import Conflict, HostNotFound, Invalid
from hacore.states import Gate, PowerAction, ProofKind, Rule
from tests import factories

LIFETIME_S = 900.0
NOWHERE = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def host(db: Database) -> Host:
    """A host that Nova does not hear."""
    factories.look(db, "compute1")
    return factories.host(db, "compute1")  # type: ignore[no-any-return]


def confirm(db: Database, host: Host, name: str = "compute1") -> proofs.Given:
    return proofs.confirm_off(db, host.uuid, name, "alice", "its fuse is out.")


def fenced(db: Database, host: Host, action: PowerAction = PowerAction.OFF) -> proofs.Given:
    return proofs.of_pacemaker(db, host.uuid, host.name, action, "cluster", "fenced by node2")


def held(db: Database, host: Host, rule: Rule) -> Notification:
    row: Notification = factories.notification(db, host)
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.PROOF, rule, "why.", {})
    return row


def age(db: Database, seconds: float) -> None:
    """Let all proofs be so old."""
    with db.write() as session:
        at = db.now(session) - datetime.timedelta(seconds=seconds)
        session.execute(sa.update(Proof).values(created_at=at))


def standing(db: Database, host: Host, recovery: str = NOWHERE) -> list[ProofKind]:
    return [each.kind for each in proofs.standing(db, host.uuid, recovery, LIFETIME_S)]


def due(db: Database) -> claims.Claim | None:
    return claims.claim(db, "engine2", 60, 86400)


def test_what_it_says(db: Database, host: Host) -> None:
    assert (
        confirm(db, host).sentence == "alice has confirmed that compute1 is off: its fuse is out."
    )
    assert fenced(db, host).sentence == "Pacemaker has switched off compute1: fenced by node2."
    rebooted = fenced(db, host, PowerAction.REBOOT)
    assert rebooted.sentence == "Pacemaker has rebooted compute1: fenced by node2."


def test_a_host_that_is_heard_is_not_confirmed_off(db: Database) -> None:
    host = factories.host(db, "compute1")
    factories.look(db, heard=["compute1"])
    with pytest.raises(Conflict, match="Nova hears compute1, so it is not off"):
        confirm(db, host)
    assert proofs.of_host(db, host.uuid) == []


def test_nobody_looks(db: Database) -> None:
    host = factories.host(db, "compute1")
    with pytest.raises(Conflict, match="No engine watches Nova at the moment"):
        confirm(db, host)


def test_another_name_is_given(db: Database, host: Host) -> None:
    with pytest.raises(Invalid, match="'compute11' is given, and host "):
        confirm(db, host, "compute11")
    with pytest.raises(Invalid, match="'compute11' is given"):
        proofs.of_pacemaker(db, host.uuid, "compute11", PowerAction.OFF, "cluster", "x")
    assert standing(db, host) == []


def test_no_such_host(db: Database, host: Host) -> None:
    with db.write() as session:
        session.execute(sa.update(Host).values(deleted=Host.id))
    with pytest.raises(HostNotFound):
        confirm(db, host)


def test_pacemaker_may_be_faster_than_silence(db: Database) -> None:
    """Whether Nova hears the host after that is for who uses the proof."""
    host = factories.host(db, "compute1")
    factories.look(db, heard=["compute1"])
    fenced(db, host)
    assert standing(db, host) == [ProofKind.PACEMAKER]


def test_what_each_node_posts_within_a_minute_is_one_proof(db: Database, host: Host) -> None:
    first = fenced(db, host)
    assert fenced(db, host).uuid == first.uuid
    assert fenced(db, host, PowerAction.REBOOT).uuid != first.uuid
    age(db, 61)
    assert fenced(db, host).uuid != first.uuid


def test_how_long_one_stands(db: Database, host: Host) -> None:
    recovery = factories.notification(db, host)
    confirm(db, host)
    age(db, LIFETIME_S + 1)
    assert standing(db, host, recovery.uuid) == [ProofKind.OPERATOR]  # it was made for this one
    assert standing(db, host) == []
    age(db, LIFETIME_S - 1)
    assert standing(db, host) == [ProofKind.OPERATOR]


def test_a_reboot_proves_something_for_two_minutes_only(db: Database, host: Host) -> None:
    recovery = factories.notification(db, host)
    fenced(db, host, PowerAction.REBOOT)
    age(db, proofs.REBOOT_S - 1)
    assert standing(db, host, recovery.uuid) == [ProofKind.PACEMAKER]
    age(db, proofs.REBOOT_S + 1)
    assert standing(db, host, recovery.uuid) == []


@pytest.mark.parametrize("rule", [Rule.PROOF, Rule.MAJORITY, Rule.NOVA, Rule.BURST])
def test_what_waits_for_it_goes_on(db: Database, host: Host, rule: Rule) -> None:
    row = held(db, host, rule)
    assert due(db) is None
    given = confirm(db, host)
    assert given.notification_uuid == row.uuid
    claim = due(db)
    assert claim is not None
    assert claim.uuid == row.uuid
    lines = [entry.message for entry in recovery_history.read(db, row.uuid).entries]
    assert given.sentence in lines
    assert "Goes on: it is proved that compute1 is off." in lines


@pytest.mark.parametrize("rule", [Rule.PAUSE, Rule.RESTARTS])
def test_a_pause_goes_on_holding(db: Database, host: Host, rule: Rule) -> None:
    held(db, host, rule)
    confirm(db, host)
    assert due(db) is None


def test_a_void_one_is_void_once_and_for_all(db: Database, host: Host) -> None:
    row = held(db, host, Rule.PROOF)
    given = confirm(db, host)
    assert proofs.void(db, given, "Nova hears compute1.")
    assert not proofs.void(db, given, "Nova hears compute1.")
    assert standing(db, host, row.uuid) == []
    (shown,) = proofs.of_host(db, host.uuid)
    assert (shown.void_at is not None, shown.void_reason) == (True, "Nova hears compute1.")


def test_one_of_a_step_belongs_to_its_claim(db: Database, host: Host) -> None:
    row = factories.notification(db, host)
    claim = claims.claim(db, "engine", 60, 86400)
    assert claim is not None
    proofs.of_step(db, claim, "2026-01-01T00:00:00")
    (given,) = proofs.standing(db, host.uuid, row.uuid, LIFETIME_S)
    assert (given.kind, given.beat) == (ProofKind.STEP, "2026-01-01T00:00:00")
    assert given.sentence == "A step has proved that compute1 is off."


def test_old_ones_are_purged_with_their_recovery(db: Database, host: Host) -> None:
    confirm(db, host)
    recovery = factories.notification(db, host)  # live
    bound = confirm(db, host)
    assert bound.notification_uuid == recovery.uuid
    age(db, 40 * 86400)
    confirm(db, host)
    assert purge.purge(db, 30, dry_run=True)["proofs"] == 1
    assert purge.purge(db, 30)["proofs"] == 1
    assert len(proofs.of_host(db, host.uuid)) == 2


def test_a_host_that_is_in_service_again_has_none_but_of_a_new_failure(
    db: Database, host: Host
) -> None:
    confirm(db, host)
    failure = factories.notification(db, host)
    fenced(db, host)
    with db.write() as session:
        proofs.void_all(session, host.uuid, db.now(session), "compute1 was brought back.")
    assert standing(db, host, failure.uuid) == [ProofKind.PACEMAKER]
    assert proofs.of_host(db, host.uuid)[1].void_reason == "compute1 was brought back."
