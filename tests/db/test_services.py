# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which processes run, are dead, or have gone."""

import datetime
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from hacore.db import claims, purge, services
from hacore.db.engine import Database
from hacore.db.models import Service
from hacore.heartbeat import Heartbeat
from tests import factories
from tests.db import services_of


def age(db: Database, heartbeat: Heartbeat, seconds: float) -> None:
    """Let the process have been seen so long ago, and not since."""
    ago = datetime.timedelta(seconds=seconds)
    with db.write() as session:
        row = session.scalars(sa.select(Service).where(Service.name == heartbeat.name)).one()
        row.created_at -= ago
        assert row.updated_at is not None
        row.updated_at -= ago
        row.alive_until -= ago


def seen(db: Database) -> list[tuple[str, str, bool]]:
    return [(row.binary, row.host, row.alive) for row in services.list_(db)]


def test_a_process_is_listed_from_its_first_heartbeat_on(db: Database) -> None:
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    assert seen(db) == []
    heartbeat.beat()
    (row,) = services.list_(db)
    assert (row.name, row.binary, row.host) == (heartbeat.name, "hacore-engine", "controller1")
    assert (row.pid, row.version) == (os.getpid(), importlib.metadata.version("hacore"))
    assert row.since == row.seen
    assert row.alive
    assert row.claims == ()


def test_a_heartbeat_moves_what_was_last_seen_and_not_since_when(db: Database) -> None:
    heartbeat = Heartbeat(db, "hacore-api", "controller1", 60)
    heartbeat.beat()
    age(db, heartbeat, 50)
    (before,) = services.list_(db)
    heartbeat.beat()
    (after,) = services.list_(db)
    assert after.since == before.since
    assert (after.seen - before.seen).total_seconds() >= 50


def test_who_is_not_seen_for_long_enough_is_dead(db: Database) -> None:
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    heartbeat.beat()
    age(db, heartbeat, 55)
    assert seen(db) == [("hacore-engine", "controller1", True)]
    age(db, heartbeat, 10)
    assert seen(db) == [("hacore-engine", "controller1", False)]
    heartbeat.beat()
    assert seen(db) == [("hacore-engine", "controller1", True)]


def test_who_ends_is_gone_and_does_not_come_back(db: Database) -> None:
    first, second = (Heartbeat(db, "hacore-api", host, 60) for host in ("a", "b"))
    first.beat()
    second.beat()
    first.end()
    first.beat()
    assert seen(db) == [("hacore-api", "b", True)]


def test_one_that_takes_the_place_of_a_dead_one_removes_it(db: Database) -> None:
    dead = Heartbeat(db, "hacore-engine", "controller1", 60)
    others = [
        Heartbeat(db, "hacore-engine", "controller2", 60),
        Heartbeat(db, "hacore-api", "controller1", 60),
    ]
    for heartbeat in (dead, *others):
        heartbeat.beat()
        age(db, heartbeat, 30)
    restarted = Heartbeat(db, "hacore-engine", "controller1", 60)
    restarted.beat()
    assert len(seen(db)) == 4  # it may live yet
    for heartbeat in (dead, *others):
        age(db, heartbeat, 60)
    restarted.beat()
    assert seen(db) == [
        ("hacore-api", "controller1", False),
        ("hacore-engine", "controller1", True),
        ("hacore-engine", "controller2", False),
    ]


def test_one_that_dies_beside_an_older_one_stays_as_dead(db: Database) -> None:
    older, younger = (Heartbeat(db, "hacore-engine", "controller1", 60) for _ in range(2))
    older.beat()
    age(db, older, 100)
    older.beat()
    younger.beat()
    age(db, younger, 70)
    older.beat()
    assert [alive for *_, alive in seen(db)] == [True, False]


def test_an_engine_is_listed_with_what_it_holds(db: Database) -> None:
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    heartbeat.beat()
    first, second = (factories.host(db, name) for name in ("compute1", "compute2"))
    held = factories.notification(db, first)
    factories.notification(db, second)
    assert claims.claim(db, heartbeat.name, 60, 86400) is not None
    assert claims.claim(db, "another", 60, 86400) is not None
    (row,) = services.list_(db)
    assert [(one.uuid, one.type, one.host) for one in row.claims] == [
        (held.uuid, "COMPUTE_HOST", "compute1")
    ]


def test_a_claim_whose_lease_has_ended_is_not_held(db: Database) -> None:
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    heartbeat.beat()
    factories.notification(db, factories.host(db))
    assert claims.claim(db, heartbeat.name, -1, 86400) is not None
    assert [row.claims for row in services.list_(db)] == [()]


def test_a_database_that_is_away_harms_nobody(
    conf: cfg.ConfigOpts, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    conf.set_override("connection", f"sqlite:///{tmp_path}/no/such/folder/x", group="database")
    heartbeat = Heartbeat(Database(conf.database), "hacore-engine", "controller1", 60)
    heartbeat.beat()
    heartbeat.beat()
    heartbeat.end()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Failed to update the service heartbeat",
        "Failed to remove this process from the list of services",
    ]


def test_purge_removes_only_the_long_dead(db: Database) -> None:
    dead, lately, alive = (Heartbeat(db, "hacore-engine", host, 60) for host in "abc")
    for heartbeat in (dead, lately, alive):
        heartbeat.beat()
    age(db, dead, 86400 * 31)
    age(db, lately, 86400 * 29)
    assert purge.purge(db, 30)["services"] == 1
    assert seen(db) == [("hacore-engine", "b", False), ("hacore-engine", "c", True)]


def killed_engine(conf: cfg.ConfigOpts) -> str:
    """Let a process be seen as an engine, claim what is due, and be killed; return its name."""
    program = (
        "import os, sys, time\n"
        "from oslo_config import cfg\n"
        "from hacore import conf as hacore_conf\n"
        "from hacore.db import claims\n"
        "from hacore.db.engine import Database\n"
        "from hacore.heartbeat import Heartbeat\n"
        "conf = cfg.ConfigOpts()\n"
        "hacore_conf.register(conf)\n"
        "conf([], default_config_files=[], default_config_dirs=[])\n"
        "conf.set_override('connection', sys.argv[1], 'database')\n"
        "db = Database(conf.database)\n"
        "me = Heartbeat(db, 'hacore-engine', 'controller1', 60)\n"
        "me.beat()\n"
        "assert claims.claim(db, me.name, 60, 86400)\n"
        "print(me.name, flush=True)\n"
        "time.sleep(120)\n"
    )
    command = [sys.executable, "-c", program, conf.database.connection]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.kill()
    return name


def test_the_claims_of_a_dead_engine_of_this_machine_are_due_at_once(
    conf: cfg.ConfigOpts, db: Database
) -> None:
    factories.notification(db, factories.host(db))
    name = killed_engine(conf)
    assert claims.claim(db, "another", 60, 86400) is None  # its lease has not ended
    assert services.release_claims_of_the_dead(db, "hacore-engine") == [name]
    assert seen(db) == [("hacore-engine", "controller1", False)]
    taken = claims.claim(db, "another", 60, 86400)
    assert taken is not None
    assert taken.number == 2


@pytest.mark.parametrize(
    "told",
    [
        {"boot_id": "00000000-0000-0000-0000-000000000000"},  # another machine, or before a boot
        {"pid_namespace": "pid:[1]"},  # a container
        {"pid_started": None},  # a version before this one
    ],
)
def test_who_is_not_proved_dead_keeps_its_claims(
    conf: cfg.ConfigOpts, db: Database, told: dict[str, str | None]
) -> None:
    factories.notification(db, factories.host(db))
    killed_engine(conf)
    with db.write() as session:
        session.execute(sa.update(Service).values(**told))
    assert services.release_claims_of_the_dead(db, "hacore-engine") == []
    assert claims.claim(db, "another", 60, 86400) is None


def test_a_living_engine_of_this_machine_keeps_its_claims(db: Database) -> None:
    factories.notification(db, factories.host(db))
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    heartbeat.beat()
    assert claims.claim(db, heartbeat.name, 60, 86400) is not None
    assert services.release_claims_of_the_dead(db, "hacore-engine") == []
    assert claims.claim(db, "another", 60, 86400) is None


def test_a_pid_that_is_used_again_is_not_the_process_that_had_it(db: Database) -> None:
    factories.notification(db, factories.host(db))
    heartbeat = Heartbeat(db, "hacore-engine", "controller1", 60)
    heartbeat.beat()
    assert claims.claim(db, heartbeat.name, 60, 86400) is not None
    with db.write() as session:  # this pid, and started earlier
        session.execute(sa.update(Service).values(pid_started=Service.pid_started - 1))
    assert services.release_claims_of_the_dead(db, "hacore-engine") == [heartbeat.name]
    assert claims.claim(db, "another", 60, 86400) is not None


def test_engines_whose_version_holds_nothing(db: Database) -> None:
    """The alternative is silent: they would evacuate what the others hold."""
    assert services.unenforced(db) is None
    services_of.engine(db, services.LIMITS_SINCE, "controller1")
    services_of.engine(db, f"{services.LIMITS_SINCE}.dev7", "controller2")
    services_of.engine(db, "0.10.0", "controller3")
    services_of.engine(db, "0.1.9", "controller4", alive_s=-5)  # dead
    services_of.engine(db, "0.1.9", "controller5", binary="hacore-api")
    assert services.unenforced(db) is None
    services_of.engine(db, "0.1.9", "controller6", pid=11)
    assert services.unenforced(db) == (
        "Mass-failure limits, holds and pauses are not enforced until engine 0.1.9 on controller6 "
        "(process 11) is upgraded."
    )
    services_of.engine(db, "unknown", "controller7", pid=12)
    assert services.unenforced(db) == (
        "Mass-failure limits, holds and pauses are not enforced until engines 0.1.9 on controller6 "
        "(process 11), unknown on controller7 (process 12) are upgraded."
    )


def test_this_version_has_the_limits() -> None:
    text = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text()
    this = tomllib.loads(text)["project"]["version"]
    assert services.number(this) >= services.number(services.LIMITS_SINCE)
