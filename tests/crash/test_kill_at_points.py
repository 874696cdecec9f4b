# Licensed under the Apache License, Version 2.0; see LICENSE.
"""kill -9 before and after each outside effect of fencing, and of a return.

Nova and the BMCs are simulated; the rest is real.  HACORE_CRASH_ROUNDS: how many rounds of each;
HACORE_CRASH_SEED repeats the order of the points.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash import fenced
from tests.crash.conftest import _OPTIONS
from tests.crash.engine import RECOVERY, RETURN
from tests.crash.fenced import Place
from tests.crash.sandbox import Sandbox
from tests.crash.story import SEED, rounds
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment, missing_servers
from tests.e2e.reporting import DEPLOYMENT, Figures
from tests.services import skip_unless_required

ROUNDS = rounds(2)
#: Of a host that lives: until its instances are evacuated.
BEFORE_MOVES = [*RECOVERY][: [*RECOVERY].index("before the force down")]
#: What the host does that was reported: it is dead; it comes back while no engine runs, and its
#: BMC was another host's; the same, and the BMC is silent from then on.
DEAD, LIVES, MUTE = "dead", "lives", "lives, and its BMC is mute"
CASES = [(point, DEAD) for point in RECOVERY]
CASES += [(point, end) for point in BEFORE_MOVES for end in (LIVES, MUTE)]


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    skip_unless_required("MariaDB and RabbitMQ")
    if missing := missing_servers():
        pytest.fail(f"nothing listens at {', '.join(missing)}")
    sandbox = Sandbox(tmp_path, ROUNDS + fenced.SPARE, "spawn_s=0.2", "jitter=0.1")
    try:
        deployment = Deployment(
            tmp_path / "hacore", sandbox.login, fenced.options(tmp_path, sandbox, _OPTIONS)
        )
        request.node.stash[DEPLOYMENT] = deployment
        try:
            deployment.start_api()
            deployment.wait_for_api()
            made = Place(deployment, sandbox, ROUNDS)
            yield made
            made.close()
        finally:
            deployment.close()
    finally:
        sandbox.close()


def shuffled(cases: list[Any]) -> Iterator[Any]:
    """All, and again, in an order that the seed gives."""
    chance = random.Random(SEED)
    return itertools.chain.from_iterable(
        chance.sample(cases, len(cases)) for _ in itertools.count()
    )


@pytest.mark.timeout(120 + 120 * ROUNDS)
def test_a_recovery_that_switches_its_host_off(place: Place, figures: Figures) -> None:
    """The host is never enabled unread, and no order is sent twice for nothing."""
    chance, counts = random.Random(SEED), Counter[str]()
    try:
        for host, (point, end) in zip(place.names, shuffled(CASES), strict=False):
            counts[_recovery(place, host, point, end, chance)] += 1
            counts["rounds"] += 1
    finally:
        figures.add(f"HACORE_CRASH_SEED={SEED}: {dict(sorted(counts.items()))} of {ROUNDS}")


def _recovery(place: Place, host: str, point: str, end: str, chance: random.Random) -> str:
    print(f"{host}: killed {point}; the host: {end}", flush=True)
    instances = place.sandbox.boot(2, host)
    box = host if end == DEAD else place.wrong_box
    place.bmc(host, mode="delay", delay_s=fenced.ORDER_S, box=box)
    engine = place.engine(point, fenced.random_moment(chance))
    place.sandbox.kill(host)
    uuid = place.notify(host)
    place.wait_for_death(engine, point)

    fenced.wait_for_effect()
    outstanding, seen = place.outstanding(host), place.bmc(host)
    if end != DEAD:
        place.switch_on(host)
        wait_for(f"{host} to be up", lambda: place.service(host).state == "up", 30)
    if end == MUTE:
        place.bmc(host, mode="dead")
    engine = place.engine()
    try:
        notification = place.ended(uuid)
        if end == DEAD:
            place.check_recovered(host, notification, instances)
            return DEAD
        return _check_alive(place, host, notification, instances, outstanding, seen, end)
    finally:
        engine.end()
        for name in (host, place.wrong_box):
            place.switch_on(name)


def _check_alive(
    place: Place,
    host: str,
    notification: Any,
    instances: list[str],
    outstanding: int,
    seen: Any,
    end: str,
) -> str:
    """Nothing was evacuated or ordered; enabled only if no order may yet be carried out."""
    assert notification["status"] == "ignored", notification
    servers = place.sandbox.servers()
    assert {servers[uuid]["host"] for uuid in instances} == {host}
    assert len(place.bmc(host)["orders"]) == len(seen["orders"]) <= 1
    unreadable = end == MUTE or seen["power"] == "off"
    stays_out = bool(outstanding) and unreadable
    service, row = place.service(host), place.host(host)
    assert (service.status == "disabled", row["on_maintenance"]) == (stays_out, stays_out)
    assert stays_out or not place.outstanding(host)
    return f"{end}, {'disabled still' if stays_out else 'enabled again'}"


@pytest.mark.timeout(120 + 120 * ROUNDS)
def test_returns(place: Place, figures: Figures) -> None:
    """Each return ends well, whatever its engine died of."""
    counts = Counter[str]()
    try:
        for host, point in zip(place.names, shuffled([*RETURN]), strict=False):
            _return(place, host, point)
            counts["returned"] += 1
    finally:
        figures.add(f"HACORE_CRASH_SEED={SEED}: {dict(counts)} of {ROUNDS}")


def _return(place: Place, host: str, point: str) -> None:
    print(f"{host}: killed {point}", flush=True)
    instances = place.sandbox.boot(2, host)
    engine = place.engine()
    place.sandbox.kill(host)
    place.check_recovered(host, place.ended(place.notify(host)), instances)
    engine.end()
    place.switch_on(host)

    engine = place.engine(point)
    answer = place.client.operate("POST", f"/hosts/{place.host(host)['uuid']}/return", {})
    assert answer.status_code == 202, answer.text
    place.wait_for_death(engine, point)
    engine = place.engine()
    try:
        path = f"/operations/{answer.json()['operation']['uuid']}"

        def ended() -> Any:
            shown = place.client.operate("GET", path).json()["operation"]
            return shown if shown["status"] in ("finished", "failed") else None

        shown = wait_for("the return to end", ended, 180)
        assert (shown["status"], shown["message"]) == (
            "finished",
            f"{host} is in service again.",
        )
        service = place.service(host)
        assert (service.status, service.state) == ("enabled", "up")
        assert not service.forced_down
        assert not place.host(host)["on_maintenance"]
        assert len(place.bmc(host)["orders"]) == 1
        servers = place.sandbox.servers()
        assert {servers[uuid]["vm_state"] for uuid in instances} == {"active"}
        assert host not in {servers[uuid]["host"] for uuid in instances}
    finally:
        engine.end()
