# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the endpoint says of recoveries in the simulated world.

Counts are those of this process, so each test compares two scrapes.
"""

import functools
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from hacore import metrics, monitoring
from hacore.db import interventions
from hacore.states import NotificationStatus as Status
from hacore.states import NotificationType
from tests.scrapes import Scrape
from tests.services import REQUIRED
from tests.world import World

CRASHED = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}


@pytest.fixture
def endpoint(world: World) -> Iterator[metrics.Endpoint]:
    made = metrics.Endpoint("127.0.0.1", 0, functools.partial(monitoring.readings, world.db))
    made.start()
    yield made
    made.stop()


def test_a_host_recovery(world: World, endpoint: metrics.Endpoint) -> None:
    world.boot(5)
    (building,) = world.boot(1)
    world.server(building).vm_state = "building"
    before = Scrape(endpoint.port)
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.RUNNING)
    during = Scrape(endpoint.port)
    assert during.since(before, "hacore_recoveries_in_flight", type="COMPUTE_HOST") == 1
    world.recover(uuid)
    after = Scrape(endpoint.port)
    assert after.value("hacore_recoveries_in_flight") == before.value("hacore_recoveries_in_flight")
    ended = {"type": "COMPUTE_HOST", "status": "finished"}
    assert after.since(before, "hacore_notifications_total", **ended) == 1
    assert after.since(before, "hacore_notifications_total") == 1
    assert after.since(before, "hacore_notification_seconds_count", **ended) == 1
    assert after.since(before, "hacore_claims_total", type="COMPUTE_HOST") == 1
    assert after.since(before, "hacore_takeovers_total") == 0
    assert after.since(before, "hacore_moves_total", verdict="succeeded") == 5
    assert after.since(before, "hacore_moves_total", verdict="ignored") == 1
    assert after.since(before, "hacore_move_seconds_count", verdict="succeeded") == 5
    row = world.notification(uuid)
    assert row.updated_at is not None
    took_s = (row.updated_at - row.created_at).total_seconds()
    assert after.since(before, "hacore_notification_seconds_sum", **ended) == took_s
    steps = {}
    for step in ("DisableComputeService", "PrepareHAEnabledInstances", "EvacuateInstances"):
        labels = {"step": f"{step}Task", "state": "SUCCESS"}
        assert after.since(before, "hacore_recovery_step_seconds_count", **labels) == 1
        steps[step] = after.since(before, "hacore_recovery_step_seconds_sum", **labels)
    assert steps["DisableComputeService"] >= 1  # until Nova sees the host down
    assert sum(steps.values()) == pytest.approx(took_s)


def test_a_step_that_fails(world: World, endpoint: metrics.Endpoint) -> None:
    world.boot(1)
    before = Scrape(endpoint.port)
    uuid = world.notify()  # the host lives
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.ERROR)
    after = Scrape(endpoint.port)
    failed = {"step": "DisableComputeServiceTask", "state": "FAILURE"}
    assert after.since(before, "hacore_recovery_step_seconds_count", **failed) == 1
    assert after.since(before, "hacore_recovery_step_seconds_sum", **failed) >= 180
    errors = {"type": "COMPUTE_HOST", "status": "error"}
    assert after.since(before, "hacore_notifications_total", **errors) == 1
    assert after.since(before, "hacore_notification_seconds_count") == 0  # it has not ended


def test_requests_to_nova(world: World, endpoint: metrics.Endpoint) -> None:
    servers = world.boot(3)
    before = Scrape(endpoint.port)
    lost = {"body": "evacuate", "drop": "after", "times": 1}
    away = {"method": "GET", "path": "os-services", "status": 503, "times": 1}
    world.faults(calls=[lost, away])
    world.kill()
    uuid = world.notify()
    world.engine()
    world.recover(uuid)
    after = Scrape(endpoint.port)
    name = "hacore_nova_request_seconds_count"
    evacuate = "POST servers/{id}/action evacuate"
    assert after.since(before, name, call=evacuate, status="200") == len(servers) - 1
    assert after.since(before, name, call=evacuate, status="broken") == 1
    assert after.since(before, name, call="GET os-services", status="503") == 1
    looks = world.calls("GET", "/os-services")
    assert after.since(before, name, call="GET os-services") == looks > 1
    assert after.since(before, name, call="POST auth/tokens", status="201") == 1
    assert not any(server in after.text for server in servers)


def test_five_recoveries_negotiate_the_microversion_once(world: World) -> None:
    world.engine()
    for server in world.boot(5):
        world.recover(world.notify(type="VM", payload={**CRASHED, "instance_uuid": server}))
    assert world.calls("GET", "/v2.1") == 1


def test_a_takeover_and_a_lost_lease(world: World, endpoint: metrics.Endpoint) -> None:
    world.boot(1)
    before = Scrape(endpoint.port)
    uuid = world.notify(type=NotificationType.COMPUTE_HOST)
    world.engine("a")
    world.clock.run(lambda: world.notification(uuid).status == Status.RUNNING)
    world.clock.run(lambda: renewed(before, endpoint) >= 1)
    world.kill_engine("a")
    world.kill()
    world.engine("b")
    world.recover(uuid)
    after = Scrape(endpoint.port)
    assert after.since(before, "hacore_claims_total", type="COMPUTE_HOST") == 2
    assert after.since(before, "hacore_takeovers_total", type="COMPUTE_HOST") == 1


def renewed(before: Scrape, endpoint: metrics.Endpoint) -> float:
    return Scrape(endpoint.port).since(before, "hacore_lease_renewals_total", result="renewed")


def test_the_age_of_the_oldest_due_notification(world: World, endpoint: metrics.Endpoint) -> None:
    name = "hacore_queue_oldest_due_age_seconds"
    assert Scrape(endpoint.port).value(name) == 0
    world.boot(1)
    uuid = world.notify()
    world.clock.pass_time(90)
    world.notify("compute2")
    assert Scrape(endpoint.port).value(name) == 90
    world.engine()
    world.clock.run(lambda: world.notification(uuid).status == Status.RUNNING)
    assert Scrape(endpoint.port).value(name) == 0
    world.kill_engine()
    world.clock.pass_time(world.conf.claim_lease + 30)
    assert Scrape(endpoint.port).value(name) == pytest.approx(30, abs=1)


def test_promtool_finds_nothing_to_say(endpoint: metrics.Endpoint) -> None:
    """It knows Prometheus' conventions for names, units and help texts."""
    promtool = shutil.which("promtool")
    if promtool is None:
        if REQUIRED:
            pytest.fail("needs promtool (package prometheus)")
        pytest.skip("needs promtool (package prometheus)")
    text = Scrape(endpoint.port).text
    ours = "".join(line + "\n" for line in text.splitlines() if "hacore_" in line)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=ours, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_operators_did(world: World, endpoint: metrics.Endpoint) -> None:
    """Both are commands of their own: the engines see them in the database."""
    world.conf.set_override("max_recovery_attempts", 1)
    world.faults(calls=[{"method": "PUT", "path": "os-services", "status": 403}])
    world.kill()
    uuid = world.notify()
    world.engine()
    assert world.recover(uuid).status == Status.FAILED
    before = Scrape(endpoint.port)
    interventions.try_again(world.db, uuid, "me", 86400)
    assert world.recover(uuid).status == Status.FAILED
    after = Scrape(endpoint.port)
    assert after.since(before, "hacore_operator_retries_total", type="COMPUTE_HOST") == 1
    assert after.value("hacore_abandoned_notifications") == 0
    interventions.try_again(world.db, uuid, "me", 86400)
    interventions.abandon(world.db, uuid, "me", "enough")
    last = Scrape(endpoint.port)
    assert last.value("hacore_abandoned_notifications") == 1
    assert last.since(after, "hacore_operator_retries_total") == 0
