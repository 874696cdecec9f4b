# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What doctor says of heartbeats, pauses and holds: as the engines have written it."""

import datetime
import re

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.cmd.manage import watched
from hacore.cmd.manage.findings import Finding, Result
from hacore.db import hosts, pauses, watch
from hacore.db.engine import Database
from hacore.db.models import Pause
from hacore.db.watch import Look, Seen
from hacore.nova.heartbeats import Culprit
from hacore.states import Hearing
from tests import factories
from tests.db import services_of
from tests.manage.test_safety import held

_LATER = "run doctor again in a minute."


def examined(conf: cfg.ConfigOpts, db: Database) -> list[tuple[str, Result, str]]:
    found: list[Finding] = list(watched.findings(conf, db, hosts.registered(db)))
    return [(each.check, each.result, each.detail) for each in found]


def look(
    db: Database, *seen: Seen, interval_s: float | None = 10.0, illness: str | None = None
) -> None:
    """What an engine has just seen."""
    shown = Look(seen, interval_s, 5.0, illness, 30.0, listed=True)
    assert watch.write(db, "controller1:1:abc", 20.0, shown)


def test_each_registered_host(conf: cfg.ConfigOpts, db: Database) -> None:
    rack = factories.segment(db).uuid
    for number in range(1, 7):
        factories.host(db, f"compute{number}", segment_uuid=rack, on_maintenance=number == 4)
    look(
        db,
        Seen("compute1", "nova", Hearing.HEARD, 7200.0, "b"),
        Seen("compute2", "nova", Hearing.HEARD, 150.0, "b"),
        Seen("compute3", "nova", Hearing.SILENT, 45.0, "b"),
        Seen("compute4", "nova", Hearing.SILENT, 3 * 86400.0, "b"),
        Seen("compute5", "nova", Hearing.SUSPECT, 5.0, "b"),
        Seen("of no segment", "nova", Hearing.HEARD, 5.0, "b"),
    )
    (nova, *others) = examined(conf, db)
    assert nova == (
        "nova: heartbeats",
        Result.OK,
        "Nova's report interval is 10 s (learned). Hosts of Nova: 3 heard, 1 suspect, 2 silent.",
    )
    assert others == [
        ("heartbeats: heard", Result.OK, "compute1 (for 2 h), compute2 (for 2 min)."),
        (
            "heartbeats: silent",
            Result.WRONG,
            "compute3, for 45 s. Nova does not hear it: check nova-compute and the host; "
            "instances are evacuated only when a host monitor reports its failure.",
        ),
        ("heartbeats: silent", Result.OK, "compute4, for 3 d; it is on maintenance."),
        ("heartbeats: suspect", Result.UNCHECKED, f"compute5, for 5 s; {_LATER}"),
    ]


def test_the_interval_is_too_long_for_the_wait(conf: cfg.ConfigOpts, db: Database) -> None:
    conf.set_override("report_interval", 60.0, group="nova")
    look(db, interval_s=60.0)
    assert examined(conf, db) == [
        (
            "nova: heartbeats",
            Result.WRONG,
            "Nova's report interval is 60 s ([nova] report_interval): a host is silent after "
            "192 s, and a recovery waits 180 s for that; raise [DEFAULT] "
            "wait_period_after_service_update to 384 or more.",
        )
    ]


def test_the_interval_is_not_known_yet(conf: cfg.ConfigOpts, db: Database) -> None:
    look(db, interval_s=None)
    assert examined(conf, db) == [
        (
            "nova: heartbeats",
            Result.UNCHECKED,
            f"Nova's report interval is not known yet; {_LATER}",
        )
    ]


def test_nobody_watches(conf: cfg.ConfigOpts, db: Database) -> None:
    assert examined(conf, db) == [
        (
            "nova: heartbeats",
            Result.UNCHECKED,
            "No engine watches Nova; start hacore-engine.",
        )
    ]
    look(db)
    with db.write() as session:
        earlier = db.now(session) - datetime.timedelta(seconds=300)
        session.execute(sa.update(watch.Watch).values(looked_at=earlier))
    services_of.engine(db, "0.2.0")
    assert examined(conf, db) == [
        (
            "nova: heartbeats",
            Result.WRONG,
            "No engine watches Nova; the last look was 5 min ago, though hacore-engine runs on "
            "controller1; its journal says why. Recoveries of hosts wait until it does.",
        )
    ]


def test_nova_is_ill(conf: cfg.ConfigOpts, db: Database) -> None:
    look(db, illness=str(Culprit.BUS))
    assert examined(conf, db) == [
        (
            "nova: heartbeats",
            Result.WRONG,
            "Nova is ill: the message bus: conductors are heard, and no compute service is. No "
            "host counts as silent until it is well; recoveries of hosts are held (rule nova).",
        )
    ]


@pytest.mark.parametrize(("hours", "result"), [(1, Result.OK), (25, Result.WRONG)])
def test_a_pause_that_somebody_forgot(
    conf: cfg.ConfigOpts, db: Database, hours: int, result: Result
) -> None:
    look(db)
    pauses.pause(db, pauses.ALL, "carol", "new switches", None)
    with db.write() as session:
        since = db.now(session) - datetime.timedelta(hours=hours)
        session.execute(sa.update(Pause).values(created_at=since))
    (found,) = [each for each in examined(conf, db) if each[0] == "pause"]
    assert found[1] == result
    assert found[2].endswith("End it: 'hacore-manage resume'.") == (result == Result.WRONG)


def test_what_is_held(conf: cfg.ConfigOpts, db: Database) -> None:
    row = held(db)
    _, silent, (check, result, detail) = examined(conf, db)
    assert silent[:2] == ("heartbeats: silent", Result.WRONG)
    assert re.fullmatch(
        r"compute1, for \d+ s\. Its recovery is held \(rule majority\)\.", silent[2]
    )
    assert (check, result) == ("held: majority", Result.WRONG)
    assert re.fullmatch(
        rf"Notification {row.uuid} \(COMPUTE_HOST of host compute1\), for \d+ s: 'hacore-manage "
        rf"explain {row.uuid}' shows why\.",
        detail,
    )


def test_many_that_are_held_are_one_row(conf: cfg.ConfigOpts, db: Database) -> None:
    look(db)
    for number in range(1, 13):
        held(db, host=f"compute{number}")
    named = ", ".join(f"compute{number}" for number in range(1, 11))
    check, result, detail = examined(conf, db)[-1]
    assert (check, result) == ("held: majority", Result.WRONG)
    assert re.fullmatch(
        rf"12 notifications \({named} and 2 more\), for \d+ s: 'hacore-manage recovery list "
        r"--held' lists them, 'hacore-manage explain UUID' shows why\.",
        detail,
    )
