# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage host test-fencing and accept-identity: simulated devices, and the real command."""

import json
import re
import uuid
from pathlib import Path

import pytest
from oslo_config import cfg

from hacore.cmd.manage import fencing as command
from hacore.cmd.manage import watched
from hacore.cmd.manage.findings import Result
from hacore.db import devices as rows
from hacore.db import hosts, schema
from hacore.db.engine import Database
from hacore.engine.fencing import Fencing
from hacore.errors import Conflict
from hacore.nova import Nova
from hacore.states import CanOff, PowerVerdict
from tests import factories
from tests.devices import Devices
from tests.manage.conftest import Operator
from tests.simulation import Simulation
from tests.world import World

OTHER = str(uuid.UUID(int=0xC0FFEE_0123_4567_89AB_CDEF))


@pytest.fixture
def world(conf: cfg.ConfigOpts, tmp_path: Path) -> World:
    """A cloud in which compute1 is registered, and each host has a device."""
    clock = Simulation()
    conf.set_override("connection", f"sqlite:///{tmp_path}/hacore.sqlite", group="database")
    database = Database(conf.database, clock=clock)
    schema.sync(database)
    made = World(conf, database, clock)
    made.devices = Devices(conf, made.cloud, "compute*", with_identity=True)
    made.host("compute1", on_maintenance=True)
    return made


@pytest.fixture
def fencing(world: World) -> Fencing:
    assert world.devices is not None
    return world.devices.fencing(world.clock)


@pytest.fixture
def nova(world: World) -> Nova:
    return Nova(world.conf, clock=world.clock, http=world.http_of("manage"))


def identity(world: World) -> str:
    return world.cloud.bmcs.identity(world.cloud.bmcs.get("compute1"))


def disable(nova: Nova) -> None:
    service = nova.service("compute1")
    assert service is not None
    nova.disable_service(service, "a drill")


def test_each_device_is_read(
    world: World, fencing: Fencing, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.show(world.db, world.clock, fencing, "compute1", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["devices"] == [
        {
            "device": "bmc",
            "level": 1,
            "verdict": "on",
            "can_off": "yes",
            "identity": identity(world),
            "verified": False,
            "sentence": "compute1, device bmc (fence_ipmilan at compute1): it is on",
        }
    ]
    assert [line["identity"] for line in found["history"]] == [identity(world)]
    world.cloud.bmcs.get("compute1").mode = "dead"
    assert command.show(world.db, world.clock, fencing, "compute1", "table") == 1
    assert "unreachable" in capsys.readouterr().out


def test_an_exchanged_box_is_accepted(
    world: World, fencing: Fencing, capsys: pytest.CaptureFixture[str]
) -> None:
    before = identity(world)
    command.show(world.db, world.clock, fencing, "compute1", "json")
    world.cloud.bmcs.get("compute1").identity = OTHER
    assert command.show(world.db, world.clock, fencing, "compute1", "json") == 1
    capsys.readouterr()
    command.accept(world.db, world.clock, fencing, "compute1", "alice")
    assert capsys.readouterr().out == (
        "compute1, device bmc (fence_ipmilan at compute1) was known by "
        f"{before}, and is now by {OTHER}.\n"
    )
    (seen,) = rows.of_host(world.db, "compute1")
    assert (seen.verdict, seen.identity, seen.accepted_by) == ("on", OTHER, "alice")


def test_what_is_not_accepted(world: World, fencing: Fencing) -> None:
    world.cloud.bmcs.get("compute1").mode = "dead"
    with pytest.raises(Conflict, match=r"was killed; .* Nothing was accepted."):
        command.accept(world.db, world.clock, fencing, "compute1", "alice")
    world.cloud.bmcs.get("compute1").mode = "normal"
    command.show(world.db, world.clock, fencing, "compute1", "json")
    world.host("compute2")
    world.cloud.bmcs.get("compute2").identity = identity(world)
    with pytest.raises(Conflict, match="as does the device of compute1; nothing was accepted"):
        command.accept(world.db, world.clock, fencing, "compute2", "alice")


def test_a_drill(
    world: World, fencing: Fencing, nova: Nova, capsys: pytest.CaptureFixture[str]
) -> None:
    disable(nova)
    assert command.drill(world.db, world.clock, fencing, nova, "compute1") == 0
    assert capsys.readouterr().out.endswith(
        "compute1 is proved off by bmc (fence_ipmilan at compute1). Switch it on by hand.\n"
    )
    assert len(world.cloud.bmcs.get("compute1").orders) == 1


def test_a_drill_that_proves_nothing(
    world: World, fencing: Fencing, nova: Nova, capsys: pytest.CaptureFixture[str]
) -> None:
    disable(nova)
    world.cloud.bmcs.get("compute1").mode = "lies"
    assert command.drill(world.db, world.clock, fencing, nova, "compute1") == 1
    said = capsys.readouterr().out
    assert "it took the order and the host is still on" in said
    assert said.endswith("Nothing proves that compute1 is off.\n")


def test_a_host_that_is_in_use_is_not_switched_off(
    world: World, fencing: Fencing, nova: Nova
) -> None:
    with pytest.raises(Conflict, match="its compute service is enabled"):
        command.drill(world.db, world.clock, fencing, nova, "compute1")
    world.boot(2)
    disable(nova)
    with pytest.raises(Conflict, match="2 instances lie on it; move them first"):
        command.drill(world.db, world.clock, fencing, nova, "compute1")
    world.host("compute2")
    with pytest.raises(Conflict, match="it is not on maintenance"):
        command.drill(world.db, world.clock, fencing, nova, "compute2")
    assert world.cloud.bmcs.get("compute1").orders == []


def test_a_host_without_a_device(operator: Operator, db: Database) -> None:
    factories.host(db)
    for words in (("test-fencing", "--off"), ("accept-identity",)):
        assert operator.is_told("host", words[0], "compute1", *words[1:]) == (
            "Host compute1 has no fencing device; name one in the file that [fencing] devices_file "
            "names."
        )


def probed(db: Database, host: str, verdict: PowerVerdict, can_off: CanOff) -> None:
    sentence = f"{host}, device bmc (fence_x at {host}): it is so"
    shown = (verdict, sentence, can_off)
    rows.record(db, rows.Probe(host, "bmc", 1, "fence_x", *shown, None, False, False, False, "1"))


def test_doctor_names_what_does_not_work(conf: cfg.ConfigOpts, db: Database) -> None:
    def found() -> list[tuple[Result, str]]:
        all_ = list(watched.findings(conf, db, hosts.registered(db)))
        of_devices = [each for each in all_ if each.check.startswith("fencing")]
        return [(each.result, re.sub(r"\d+ s ago", "0 s ago", each.detail)) for each in of_devices]

    assert found() == []
    probed(db, "compute1", PowerVerdict.ON, CanOff.UNKNOWN)
    probed(db, "compute2", PowerVerdict.DENIED, CanOff.UNKNOWN)
    probed(db, "compute3", PowerVerdict.ON, CanOff.NO)
    assert rows.take(db, "compute4", "bmc", "somebody", 60)
    assert found() == [
        (
            Result.WRONG,
            "compute2, device bmc (fence_x at compute2): it is so; probed 0 s ago.",
        ),
        (
            Result.WRONG,
            "compute3, device bmc (fence_x at compute3): it is so; it cannot switch the host off; "
            "probed 0 s ago.",
        ),
        (Result.UNCHECKED, "1 devices were not probed yet."),
        (Result.OK, "1 devices work; the oldest probe was 0 s ago."),
    ]
    conf.set_override("probe_interval", 0, group="fencing")
    assert found()[0][0] is Result.UNCHECKED
