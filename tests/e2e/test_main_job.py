# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A failure comes in over REST and hacore recovers from it: real Nova, Keystone and clients.

The API runs under gunicorn with two processes, the engine by itself, on MariaDB and
RabbitMQ.  What became of the instances is read from Nova.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.checks import (
    DEAD,
    HOST_STEPS,
    RUNNING,
    SHUTDOWN,
    check_all_moved,
    check_evacuated_once,
    check_steps,
)
from tests.e2e.clients import Hacore, OpenStack, Refused, now, seconds
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.ministack import Ministack
from tests.e2e.reporting import Figures

pytestmark = pytest.mark.e2e

Deploy = Callable[..., Deployment]
HacoreAt = Callable[[Deployment], Hacore]


def test_a_host_dies(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    deployment = deploy()
    segment = openstack("segment", "create", "rack", "auto", "COMPUTE")["uuid"]
    for host in real.hosts:
        openstack("segment", "host", "create", host, "COMPUTE", "SSH", segment)
    instances = real.boot(10, "compute1")

    real.kill("compute1")
    uuid = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    hacore = hacore_at(deployment)
    assert hacore.wait_until_ended(uuid)["message"] == "10 evacuated, 0 skipped."

    shown = openstack("notification", "show", uuid)
    check_all_moved(real, hacore, shown, instances, "compute1")
    check_steps(shown, *HOST_STEPS)
    listed = openstack("notification", "vmove", "list", uuid)
    assert Counter(row["status"] for row in listed) == {"succeeded": 10}
    service = real.service("compute1")
    assert (service.status, service.state) == ("disabled", "down")
    assert service.disabled_reason == "Masakari detected host failed."
    (host,) = openstack("segment", "host", "list", segment, "--filters", "on_maintenance=True")
    assert host["name"] == "compute1"
    figures.add(f"10 instances, host killed at once before: {seconds(shown):.1f} s to finished")


def test_an_instance_crashes(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    hacore = hacore_at(deploy())
    hacore.make_segment(real.hosts)
    (instance,) = real.boot(1, "compute2")

    payload = {"instance_uuid": instance, "event": "LIFECYCLE"}
    uuid = openstack.notify("VM", "compute2", {**payload, "vir_domain_event": "STOPPED_FAILED"})
    hacore.wait_until_ended(uuid)

    shown = openstack("notification", "show", uuid)
    assert shown["status"] == "finished", shown
    check_steps(shown, "StopInstanceTask", "StartInstanceTask", "ConfirmInstanceActiveTask")
    seen = real.see(instance)[instance]
    assert (seen.vm_state, seen.task_state, seen.host) == ("active", None, "compute2")
    assert not seen.locked
    actions = [each.action for each in real.nova.instance_action.list(instance)]
    assert sorted(actions) == ["create", "start", "stop"]
    figures.add(f"{seconds(shown):.1f} s to finished")


def test_nova_compute_dies_and_then_its_host(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    hacore = hacore_at(deploy())
    segment = hacore.make_segment(real.hosts)
    instances = real.boot(2, "compute1")

    real.kill("compute1")
    payload = {"process_name": "nova-compute", "event": "STOPPED"}
    uuid = openstack.notify("PROCESS", "compute1", payload)
    hacore.wait_until_ended(uuid)

    shown = openstack("notification", "show", uuid)
    assert shown["status"] == "finished", shown
    check_steps(shown, "DisableComputeNodeTask", "ConfirmComputeNodeDisabledTask")
    service = real.service("compute1")
    assert service.status == "disabled"
    assert service.disabled_reason == "Masakari detected process failed."
    assert hacore.hosts(segment)["compute1"]["on_maintenance"] is True
    assert {seen.host for seen in real.see(*instances).values()} == {"compute1"}
    assert real.evacuations().keys().isdisjoint(instances)
    figures.add(f"{seconds(shown):.1f} s to finished")

    then = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    ended = hacore.wait_until_ended(then)
    check_all_moved(real, hacore, ended, instances, "compute1")


def test_the_engine_is_killed_in_the_middle(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    deployment = deploy(claim_lease=6, claim_poll_interval=1)
    hacore = hacore_at(deployment)
    hacore.make_segment(real.hosts)
    instances = real.boot(10, "compute1")
    real.slow_down(2, "compute2", "compute3", "compute4")

    real.kill("compute1")
    uuid = openstack.notify("COMPUTE_HOST", "compute1", DEAD)

    def in_the_middle() -> bool:
        counts = Counter(move["status"] for move in hacore.moves(uuid))
        return counts["succeeded"] >= 1 and counts["ongoing"] >= 1

    wait_for("some to be evacuated and some not yet", in_the_middle, 60, 0.1)
    deployment.engines["engine"].kill()
    killed_at = time.monotonic()
    left = Counter(move["status"] for move in hacore.moves(uuid))
    assert left["ongoing"] + left["pending"] >= 1, left
    locked = sum(seen.locked for seen in real.see(*instances).values())

    again = deployment.start_engine()
    again.wait_until_it_says("Taken over by", 60)
    taken_s = time.monotonic() - killed_at
    shown = hacore.wait_until_ended(uuid)

    check_all_moved(real, hacore, shown, instances, "compute1")
    check_steps(shown, *HOST_STEPS)
    figures.add(
        f"killed with {dict(left)}, {locked} locked; taken over after {taken_s:.1f} s, "
        f"{time.monotonic() - killed_at:.1f} s from the kill to finished, "
        f"{seconds(shown):.1f} s in all"
    )


def test_the_engine_is_restarted_in_the_middle(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    """SIGTERM, as in an upgrade: another engine continues at once, whatever the lease."""
    deployment = deploy(claim_lease=300, claim_poll_interval=1)
    hacore = hacore_at(deployment)
    hacore.make_segment(real.hosts)
    instances = real.boot(10, "compute1")
    real.slow_down(2, "compute2", "compute3", "compute4")

    real.kill("compute1")
    uuid = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    wait_for(
        "some to be under way",
        lambda: any(move["status"] == "ongoing" for move in hacore.moves(uuid)),
        60,
        0.1,
    )
    began = time.monotonic()
    assert deployment.engines["engine"].end() == 0
    ended_s = time.monotonic() - began
    assert hacore.notification(uuid)["status"] == "running"
    deployment.start_engine()
    shown = hacore.wait_until_ended(uuid)

    check_all_moved(real, hacore, shown, instances, "compute1")
    check_steps(shown, *HOST_STEPS)
    figures.add(f"engine ended {ended_s:.1f} s after SIGTERM, {seconds(shown):.1f} s in all")


#: States of instances on the dead host: how they are brought there, and what they are afterwards.
STATES: dict[str, tuple[Callable[[Ministack, str], None], tuple[str, int]]] = {
    "active": (lambda real, uuid: None, ("active", RUNNING)),
    "stopped": (lambda real, uuid: real.nova.servers.stop(uuid), ("stopped", SHUTDOWN)),
    "paused": (lambda real, uuid: real.nova.servers.pause(uuid), ("stopped", SHUTDOWN)),
    "suspended": (lambda real, uuid: real.nova.servers.suspend(uuid), ("stopped", SHUTDOWN)),
    "rescued": (lambda real, uuid: real.nova.servers.rescue(uuid), ("stopped", SHUTDOWN)),
    "error": (lambda real, uuid: real.nova.servers.reset_state(uuid, "error"), ("error", SHUTDOWN)),
}


def test_instances_get_the_state_back_that_they_had(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    hacore = hacore_at(deploy())
    hacore.make_segment(real.hosts)
    resized = real.boot_resized("compute1")
    instances = dict(zip(STATES, real.boot(len(STATES), "compute1"), strict=True))
    for state, (bring, _afterwards) in STATES.items():
        bring(real, instances[state])
        real.wait_for_state(instances[state], state)
    expected = {uuid: (*STATES[state][1], False) for state, uuid in instances.items()}
    expected[resized] = ("active", RUNNING, False)
    instances["resized"] = resized

    stopping, starting, owned = real.boot(3, "compute1")
    real.nova.servers.stop(starting)
    real.wait_for_state(starting, "stopped")
    real.nova.servers.lock(owned, reason="mine")
    (plain,) = real.boot(1, "compute1", ha=False)
    real.kill("compute1")
    # what the dead host will never do
    real.nova.servers.stop(stopping)
    real.nova.servers.start(starting)
    expected[stopping] = expected[plain] = ("active", RUNNING, False)
    expected[starting] = ("stopped", SHUTDOWN, False)
    expected[owned] = ("active", RUNNING, True)
    before = real.see()
    assert before[stopping].task_state == "powering-off"
    assert before[starting].task_state == "powering-on"

    uuid = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    shown = hacore.wait_until_ended(uuid)

    assert (shown["status"], shown["message"]) == ("finished", "11 evacuated, 0 skipped.")
    seen = real.see()
    assert {
        uuid: (each.vm_state, each.power_state, each.locked) for uuid, each in seen.items()
    } == expected
    assert real.nova.servers.get(owned).locked_reason == "mine"
    assert "compute1" not in {each.host for each in seen.values()}
    check_evacuated_once(real, list(seen))
    moves = hacore.moves(uuid)
    assert {move["status"] for move in moves} == {"succeeded"}
    # moves are numbered in their order; the first few start at the same moment
    assert max(moves, key=lambda move: move["id"])["instance_uuid"] == plain
    figures.add(f"{seconds(shown):.1f} s to finished; vm_state, task_state before and after:")
    for uuid, was in before.items():
        figures.add(f"{was.vm_state}, {was.task_state} -> {seen[uuid].vm_state}")


def test_two_hosts_die_at_once(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    hacore = hacore_at(deploy())
    hacore.make_segment(real.hosts)
    hosts = ("compute1", "compute2")
    instances = {host: real.boot(5, host) for host in hosts}

    real.kill(*hosts)
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda host: openstack.notify("COMPUTE_HOST", host, DEAD), hosts)
    ended = [hacore.wait_until_ended(uuid) for uuid in made]

    for host, notification in zip(hosts, ended, strict=True):
        check_all_moved(real, hacore, notification, instances[host], *hosts)
    first, second = ended
    assert first["created_at"] < second["updated_at"]  # side by side, not one after the other
    assert second["created_at"] < first["updated_at"]
    figures.add(f"5 instances each: {seconds(first):.1f} s and {seconds(second):.1f} s")


def test_the_same_notification_twice(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt
) -> None:
    hacore = hacore_at(deploy())
    hacore.make_segment(real.hosts)
    instances = real.boot(3, "compute1")

    real.kill("compute1")
    command = ("notification", "create", "COMPUTE_HOST", "compute1", now(), json.dumps(DEAD))
    uuid = openstack(*command)["notification_uuid"]
    with pytest.raises(Refused, match="409") as refused:
        openstack(*command)
    assert "ConflictException" in str(refused.value) or "Conflict" in str(refused.value)

    ended = hacore.wait_until_ended(uuid)
    check_all_moved(real, hacore, ended, instances, "compute1")
    assert len(hacore.notifications()) == 1


def test_a_notification_waits_for_an_engine(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    deployment = deploy(engine=False)
    hacore = hacore_at(deployment)
    hacore.make_segment(real.hosts)
    instances = real.boot(3, "compute1")

    real.kill("compute1")
    uuid = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    assert openstack("notification", "show", uuid)["status"] == "new"
    began = time.monotonic()
    deployment.start_engine()

    ended = hacore.wait_until_ended(uuid)
    check_all_moved(real, hacore, ended, instances, "compute1")
    figures.add(f"{time.monotonic() - began:.1f} s from the start of the engine to finished")


def test_a_host_that_is_up_is_left_alone(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    hacore = hacore_at(deploy(wait_period_after_service_update=5))
    segment = hacore.make_segment(real.hosts)
    instances = real.boot(3, "compute1")

    uuid = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    shown = hacore.wait_until_ended(uuid)

    assert shown["status"] == "error"
    assert "Nova hears compute1: its last heartbeat is" in shown["message"]
    assert seconds(shown) >= 5  # it was given that long
    service = real.service("compute1")
    assert (service.status, service.state, service.disabled_reason) == ("enabled", "up", None)
    assert hacore.hosts(segment)["compute1"]["on_maintenance"] is False
    assert hacore.moves(uuid) == []
    for seen in real.see(*instances).values():
        assert (seen.vm_state, seen.host, seen.locked) == ("active", "compute1", False)
    assert real.evacuations().keys().isdisjoint(instances)
    figures.add(f"{seconds(shown):.1f} s to error")
