# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The recovery methods with reserved hosts, on a real Nova."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.checks import DEAD, check_all_moved
from tests.e2e.clients import Hacore, OpenStack
from tests.e2e.deployment import Deployment
from tests.e2e.ministack import Ministack
from tests.e2e.reporting import Figures

pytestmark = pytest.mark.e2e

Deploy = Callable[..., Deployment]
HacoreAt = Callable[[Deployment], Hacore]

#: One attempt: what fails has failed for good.
ONCE = {"max_recovery_attempts": 1}


@pytest.fixture
def aggregate(real: Ministack) -> Iterator[Any]:
    """An aggregate of compute1."""
    made = real.nova.aggregates.create("ssd", None)
    real.nova.aggregates.add_host(made.id, "compute1")
    yield made
    for host in real.nova.aggregates.get(made.id).hosts:
        real.nova.aggregates.remove_host(made.id, host)
    real.nova.aggregates.delete(made.id)


def hosts_of(real: Ministack, instances: list[str]) -> set[str]:
    return {instance.host for instance in real.see(*instances).values()}


def test_all_go_to_the_reserved_host(
    real: Ministack,
    openstack: OpenStack,
    deploy: Deploy,
    hacore_at: HacoreAt,
    aggregate: Any,
    figures: Figures,
) -> None:
    hacore = hacore_at(deploy(host_failure={"add_reserved_host_to_aggregate": "true"}))
    segment = hacore.make_segment(real.hosts, method="reserved_host", reserved=["compute3"])
    real.keep_in_reserve("compute3")
    instances = real.boot(6, "compute1")

    real.kill("compute1")
    ended = hacore.wait_until_ended(openstack.notify("COMPUTE_HOST", "compute1", DEAD))

    check_all_moved(real, hacore, ended, instances, "compute1")
    assert hosts_of(real, instances) == {"compute3"}
    assert real.service("compute3").status == "enabled"
    assert set(real.nova.aggregates.get(aggregate.id).hosts) == {"compute1", "compute3"}
    assert not hacore.hosts(segment)["compute3"]["reserved"]
    figures.add(f"6 instances to the reserved host: {ended['message']}")


def test_a_reserved_host_that_is_down_is_passed_over(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt
) -> None:
    hacore = hacore_at(deploy())
    segment = hacore.make_segment(
        real.hosts, method="reserved_host", reserved=["compute2", "compute3"]
    )
    real.keep_in_reserve("compute2", "compute3")
    instances = real.boot(4, "compute1")
    real.kill("compute2")
    real.run("wait-down", "compute2")

    real.kill("compute1")
    ended = hacore.wait_until_ended(openstack.notify("COMPUTE_HOST", "compute1", DEAD))

    check_all_moved(real, hacore, ended, instances, "compute1")
    assert hosts_of(real, instances) == {"compute3"}
    reserved = {name: host["reserved"] for name, host in hacore.hosts(segment).items()}
    assert reserved == {"compute1": False, "compute2": True, "compute3": False, "compute4": False}


def test_two_failures_want_the_same_reserved_host(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures
) -> None:
    hacore = hacore_at(deploy(**ONCE))
    hacore.make_segment(real.hosts, method="reserved_host", reserved=["compute3"])
    real.keep_in_reserve("compute3")
    instances = {host: real.boot(3, host) for host in ("compute1", "compute2")}

    real.kill("compute1", "compute2")
    uuids = {host: openstack.notify("COMPUTE_HOST", host, DEAD) for host in instances}
    ended = {host: hacore.wait_until_ended(uuid) for host, uuid in uuids.items()}

    by_status = {row["status"]: host for host, row in ended.items()}
    assert set(by_status) == {"finished", "failed"}
    served, left = by_status["finished"], by_status["failed"]
    check_all_moved(real, hacore, ended[served], instances[served], served)
    assert hosts_of(real, instances[served]) == {"compute3"}
    assert ended[left]["message"].startswith("No reserved host is free in segment rack")
    assert hosts_of(real, instances[left]) == {left}
    assert not any(instance.locked for instance in real.see(*instances[left]).values())
    figures.add(f"the other one: {ended[left]['message']}")


def test_what_nova_cannot_place_goes_to_the_reserved_host(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt
) -> None:
    hacore = hacore_at(deploy())
    hacore.make_segment(real.hosts, method="auto_priority", reserved=["compute3"])
    real.keep_in_reserve("compute3")
    instances = real.boot(4, "compute1")
    real.let_spawns_fail("compute2", "compute4")

    real.kill("compute1")
    ended = hacore.wait_until_ended(openstack.notify("COMPUTE_HOST", "compute1", DEAD))

    check_recovered_by_the_second_method(real, hacore, ended, instances)
    assert hosts_of(real, instances) == {"compute3"}


def test_what_fails_on_the_reserved_host_goes_where_nova_chooses(
    real: Ministack, openstack: OpenStack, deploy: Deploy, hacore_at: HacoreAt
) -> None:
    hacore = hacore_at(deploy())
    segment = hacore.make_segment(real.hosts, method="rh_priority", reserved=["compute3"])
    real.keep_in_reserve("compute3")
    instances = real.boot(4, "compute1")
    real.let_spawns_fail("compute3")

    real.kill("compute1")
    ended = hacore.wait_until_ended(openstack.notify("COMPUTE_HOST", "compute1", DEAD))

    check_recovered_by_the_second_method(real, hacore, ended, instances)
    assert hosts_of(real, instances) <= {"compute2", "compute3", "compute4"}
    assert hacore.hosts(segment)["compute3"]["reserved"]


def check_recovered_by_the_second_method(
    real: Ministack, hacore: Hacore, ended: Any, instances: list[str]
) -> None:
    """Finished, all active and unlocked, each evacuated twice: in vain, and then with success."""
    assert (ended["status"], ended["message"]) == ("finished", "4 evacuated, 0 skipped.")
    for instance in real.see(*instances).values():
        assert (instance.vm_state, instance.task_state) == ("active", None)
        assert not instance.locked
    records = real.evacuations()
    for uuid in instances:
        statuses = sorted(record.status for record in records[uuid])
        assert len(statuses) == 2
        assert "done" in statuses
    moves = hacore.moves(ended["notification_uuid"])
    assert {move["status"] for move in moves} == {"succeeded"}
