# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How many hosts are missing, and that no two engines pass where one may."""

import concurrent.futures
import datetime
import os
import threading

import pytest
import sqlalchemy as sa

from hacore.db import approvals, census, claims, gates, holds, mass_failure, watch
from hacore.db.census import Seen
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.db.mass_failure import Decision, Limits
from hacore.db.models import Domain, Host, Notification
from hacore.errors import DatabaseBusy
from hacore.states import Answer, Hearing, Rule
from hacore.states import NotificationStatus as Status
from tests import factories

#: Of two engines at a limit at the same moment; .ci/long draws more.
ROUNDS = int(os.environ.get("HACORE_TEST_ROUNDS", "5"))
HOSTS = [f"compute{number}" for number in range(1, 11)]
MAJORITY = Limits(max_share=50, min_hosts=3, burst_hosts=0, burst_share=0)
BURST = Limits(max_share=0, min_hosts=3, burst_hosts=1, burst_share=0)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def seen(*unheard: str, heard_s: dict[str, float] | None = None) -> Seen:
    return Seen(dict.fromkeys(HOSTS, "nova"), frozenset(unheard), heard_s or {}, 16.0)


@pytest.fixture
def hosts(db: Database) -> dict[str, Host]:
    segment = factories.segment(db, name="rack1")
    factories.look(db, heard=HOSTS)
    return {name: factories.host(db, name, segment_uuid=segment.uuid) for name in HOSTS}


def claimed(db: Database, owner: str = "a") -> Claim:
    claim = claims.claim(db, owner, 60, 86400)
    assert claim is not None
    return claim


def look(db: Database, what: Seen) -> None:
    """Write what Nova lists, as an engine that watches does."""
    hosts = [
        watch.Seen(name, zone, Hearing.SILENT if name in what.unheard else Hearing.HEARD, 1.0, "x")
        for name, zone in what.zones.items()
    ]
    watch.write(db, "engine1", 0, watch.Look(hosts, 10.0, 3600.0, None, 0.0, listed=True))


def ask(
    db: Database, claim: Claim, what: Seen, limits: Limits = MAJORITY, *, begins: bool = True
) -> Decision:
    counts = census.take(db, what).of(claim.host_name, claim.segment_uuid, claim.segment_name)
    return mass_failure.ask(db, claim, counts, limits, begins=begins)


@pytest.mark.parametrize(("missing", "held"), [(2, False), (5, False), (6, True), (10, True)])
def test_a_majority(db: Database, hosts: dict[str, Host], missing: int, held: bool) -> None:
    factories.notification(db, hosts["compute1"])
    decision = ask(db, claimed(db), seen(*HOSTS[:missing]))
    assert decision.rule == (Rule.MAJORITY if held else None)
    assert decision.facts["missing"] == missing
    assert decision.facts["hosts"] == 10


@pytest.mark.parametrize(("of", "missing", "held"), [(2, 2, False), (3, 2, False), (3, 3, True)])
def test_small_segments(db: Database, of: int, missing: int, held: bool) -> None:
    segment = factories.segment(db)
    names = HOSTS[:of]
    rows = [factories.host(db, name, segment_uuid=segment.uuid) for name in names]
    factories.notification(db, rows[0])
    decision = ask(db, claimed(db), seen(*names[:missing]))
    assert decision.rule == (Rule.MAJORITY if held else None)


def test_a_zone_is_counted_by_what_nova_lists(db: Database) -> None:
    """Hosts of several segments; one that Nova does not list is in no zone."""
    for number, names in enumerate((HOSTS[:3], HOSTS[3:6], HOSTS[6:])):
        segment = factories.segment(db, name=f"rack{number}")
        for name in names:
            host = factories.host(db, name, segment_uuid=segment.uuid)
            if name in ("compute1", "compute4"):
                factories.notification(db, host)
    zones = dict.fromkeys(HOSTS[:5], "a") | dict.fromkeys(HOSTS[5:9], "b")
    what = Seen(zones, frozenset({"compute1", "compute4", "compute5", "compute6"}), {}, 16.0)
    look(db, what)
    first, second = claimed(db), claimed(db)
    decision = ask(db, first, what)
    assert decision.rule is Rule.MAJORITY
    assert "3 of 5 hosts of availability zone a are missing" in decision.message
    fewer = Seen(zones, frozenset({"compute1", "compute4"}), {}, 16.0)
    assert ask(db, second, fewer).message == "1 of 3 hosts of segment rack1 is missing."


def test_reports_count_before_anybody_is_silent(db: Database, hosts: dict[str, Host]) -> None:
    for name in HOSTS[:6]:
        factories.notification(db, hosts[name])
    decision = ask(db, claimed(db), seen())
    assert decision.rule is Rule.MAJORITY
    assert decision.message == (
        "6 of 10 hosts of segment rack1 are missing (compute1, compute2, compute3, compute4, "
        "compute5 and 1 more), more than 50 %: this may be a failure of the network and not of the "
        "hosts; goes on when no more than 50 % have been missing for 60 s, or when an operator "
        "approves it."
    )


def test_a_report_that_a_heartbeat_contradicts_does_not_count(
    db: Database, hosts: dict[str, Host]
) -> None:
    for name in HOSTS[:6]:
        factories.notification(db, hosts[name], created_at=now() - datetime.timedelta(seconds=60))
    heard_s = dict.fromkeys(HOSTS, 2.0)
    assert ask(db, claimed(db), seen(heard_s=heard_s)).facts["missing"] == 0
    assert ask(db, claimed(db), seen(heard_s=dict.fromkeys(HOSTS, 50.0))).rule is Rule.MAJORITY


def test_one_host_reported_by_many_counts_once(db: Database, hosts: dict[str, Host]) -> None:
    for _ in range(5):
        factories.notification(db, hosts["compute1"])
    assert ask(db, claimed(db), seen("compute1")).facts["missing"] == 1


def test_who_was_recovered_and_is_not_back_counts_for_a_day(
    db: Database, hosts: dict[str, Host]
) -> None:
    for name, hours in {"compute2": 1, "compute3": 23, "compute4": 25}.items():
        at = now() - datetime.timedelta(hours=hours)
        row = factories.notification(
            db, hosts[name], status=Status.FINISHED, created_at=at, updated_at=at
        )
        with db.write() as session:
            session.execute(
                sa.update(Host)
                .where(Host.name == name)
                .values(on_maintenance=True, maintenance_by=row.uuid)
            )
    factories.notification(db, hosts["compute1"])
    decision = ask(db, claimed(db), seen("compute1", "compute4"))
    assert decision.facts["names"] == ["compute1", "compute2", "compute3"]
    assert decision.facts["hosts"] == 9


def test_who_a_person_put_on_maintenance_does_not_count(
    db: Database, hosts: dict[str, Host]
) -> None:
    with db.write() as session:
        session.execute(
            sa.update(Host).where(Host.name.in_(HOSTS[1:6])).values(on_maintenance=True)
        )
    factories.notification(db, hosts["compute1"])
    decision = ask(db, claimed(db), seen(*HOSTS[:6]))
    assert (decision.rule, decision.facts["hosts"], decision.facts["missing"]) == (None, 5, 1)


def test_an_approval_stands_for_what_was_shown(db: Database, hosts: dict[str, Host]) -> None:
    row = factories.notification(db, hosts["compute1"])
    claim = claimed(db)
    decision = ask(db, claim, seen(*HOSTS[:6]))
    assert decision.rule is not None
    factories.look(db, *HOSTS[:6])
    holds.hold(db, claim, gates.Gate.LIMITS, decision.rule, decision.message, decision.facts)
    approvals.approve(db, row.uuid, Rule.MAJORITY, "bob", "it is right", 6)
    claim = claimed(db)
    assert ask(db, claim, seen(*HOSTS[:6])).rule is None
    assert ask(db, claim, seen(*HOSTS[:7])).rule is Rule.MAJORITY
    held, goes_on = gates.of(db, row.uuid)
    assert (held.answer, goes_on.answer) == (Answer.HOLD, Answer.GO)
    assert goes_on.message == "6 of 10 hosts of segment rack1 are missing; bob has approved it."


@pytest.mark.parametrize("zone", ["nova", "edge"])
def test_one_approval_is_enough_for_segment_and_zone(
    db: Database, hosts: dict[str, Host], zone: str
) -> None:
    """Both are over the limit: what is shown, and approved, is the larger number."""
    # one host more: of the zone in another segment, or of the segment in another zone
    rack = None if zone == "nova" else hosts["compute1"].segment_uuid
    factories.host(db, "other", segment_uuid=rack)
    zones = {**dict.fromkeys(HOSTS, "nova"), "other": zone}
    what = Seen(zones, {*HOSTS[:7], "other"}, {}, 16.0)
    look(db, what)
    row = factories.notification(db, hosts["compute1"])
    claim = claimed(db)
    decision = ask(db, claim, what)
    assert decision.rule is Rule.MAJORITY
    assert decision.facts["missing"] == 8
    holds.hold(db, claim, gates.Gate.LIMITS, decision.rule, decision.message, decision.facts)
    factories.look(db, *HOSTS[:7], "other", heard=HOSTS[7:])
    approvals.approve(db, row.uuid, None, "bob", "it is right", None)
    assert ask(db, claimed(db), what).rule is None


def test_what_has_begun_counts_as_a_burst(db: Database, hosts: dict[str, Host]) -> None:
    for name in HOSTS[:2]:
        factories.notification(db, hosts[name])
    first, second = claimed(db), claimed(db)
    assert ask(db, first, seen(), BURST, begins=False).rule is None
    assert ask(db, second, seen(), BURST).rule is None
    assert ask(db, first, seen(), BURST).rule is Rule.BURST
    assert ask(db, second, seen(), BURST).rule is None  # it has begun


def test_two_engines_at_a_limit(db: Database, hosts: dict[str, Host]) -> None:
    """Both ask at the same moment, again and again: never one more than allowed."""
    together = threading.Barrier(2)

    def one(owner: str, claim: Claim) -> Rule | None:
        together.wait()
        return ask(db, claim, seen(), BURST).rule

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            for name in HOSTS[:2]:
                factories.notification(db, hosts[name])
            both = [(owner, claimed(db, owner)) for owner in ("a", "b")]
            rules = list(pool.map(one, *zip(*both, strict=True)))
            assert sorted(map(str, rules)) == ["None", "burst"]
            _forget(db)


def test_an_engine_that_is_frozen_in_that_transaction_keeps_no_other_waiting(
    db: Database, hosts: dict[str, Host]
) -> None:
    """The other gives the wait up, with nothing written, and asks again."""
    if db.bind.dialect.name == "sqlite":
        pytest.skip("SQLite has one lock for everything; whoever has it is never frozen long")
    for name in HOSTS[:2]:
        factories.notification(db, hosts[name])
    other, claim = claimed(db), claimed(db)
    assert ask(db, other, seen()).rule is None  # the rows are there
    passed_at = sa.select(Notification.passed_at).where(Notification.uuid == claim.uuid)
    with db.write() as session:
        session.execute(sa.select(Domain.id).where(Domain.name == "cloud").with_for_update())
        assert ask(db, claim, seen(), begins=False).rule is None  # nothing begins yet
        with pytest.raises(DatabaseBusy, match="Timed out after 2 s waiting for a lock"):
            ask(db, claim, seen())
    with db.read() as session:
        assert session.scalar(passed_at) is None
    assert ask(db, claim, seen()).rule is None


def _forget(db: Database) -> None:
    with db.write() as session:
        session.execute(sa.update(Notification).values(status=Status.FAILED, passed_at=None))


@pytest.mark.parametrize("change", ["fewer", "more"])
def test_how_long_few_enough_have_been_missing(
    db: Database, hosts: dict[str, Host], change: str
) -> None:
    factories.notification(db, hosts["compute1"])
    ask(db, claimed(db), seen(*HOSTS[:6]))

    def ages(missing: int) -> float | None:
        taken = census.take(db, seen(*HOSTS[:missing]))
        counts = taken.of("compute1", hosts["compute1"].segment_uuid, "rack1")
        return mass_failure.below_for_s(db, counts, MAJORITY)

    assert ages(6) is None
    first = ages(5)
    assert first is not None
    if change == "more":
        assert ages(6) is None
    again = ages(5)
    assert again is not None
    assert again >= first
