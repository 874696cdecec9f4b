# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The recovery methods with reserved hosts."""

import pytest

from hacore.states import NotificationStatus as Status
from tests import factories
from tests.world import World


def segment(world: World, method: str, *reserved: str) -> None:
    """compute1, and reserved hosts, in a segment of this method."""
    row = factories.segment(world.db, name=method, recovery_method=method)
    world.hosts["compute1"] = factories.host(world.db, segment_uuid=row.uuid)
    for name in reserved:
        world.hosts[name] = factories.host(world.db, name, segment_uuid=row.uuid, reserved=True)
        world.service(name).disabled = True  # as operators keep them


def fail_to(world: World, host: str) -> None:
    """Nothing finds room on `host`."""
    world.cloud.state.host(host).capacity = 0


def recovered(world: World) -> str:
    world.kill()
    uuid = world.notify()
    world.engine()
    world.recover(uuid)
    return uuid


def where(world: World, servers: list[str]) -> set[str | None]:
    return {world.server(server).host for server in servers}


def test_all_go_to_the_reserved_host(world: World) -> None:
    segment(world, "reserved_host", "compute3")
    servers = world.boot(10)
    uuid = recovered(world)
    ended = world.notification(uuid)
    assert (ended.status, ended.message) == (Status.FINISHED, "10 evacuated, 0 skipped.")
    assert where(world, servers) == {"compute3"}
    assert not world.service("compute3").disabled
    assert not world.registered("compute3").reserved


def test_what_fails_on_one_goes_to_the_next_and_an_unused_one_is_given_back(world: World) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    fail_to(world, "compute3")
    servers = world.boot(5)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute4"}
    assert world.registered("compute3").reserved
    assert not world.registered("compute4").reserved


def test_no_reserved_host_is_an_error_that_says_so(world: World) -> None:
    segment(world, "reserved_host")
    servers = world.boot(1)
    uuid = recovered(world)
    ended = world.notification(uuid)
    assert ended.status == Status.FAILED
    assert "No reserved host is free in segment reserved_host" in (ended.message or "")
    assert where(world, servers) == {"compute1"}


def test_a_reserved_host_that_is_down_is_not_used(world: World) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    world.kill("compute3")
    world.clock.pass_time(10)
    servers = world.boot(3)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute4"}
    assert world.registered("compute3").reserved
    assert "Nova shows reserved host compute3 as down; skipped it." in world.story(uuid)


def test_auto_priority_takes_a_reserved_host_for_the_rest(world: World) -> None:
    segment(world, "auto_priority", "compute3")
    for host in ("compute2", "compute4"):
        fail_to(world, host)
    servers = world.boot(5)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute3"}


def test_auto_priority_leaves_reserved_hosts_alone_where_it_can(world: World) -> None:
    segment(world, "auto_priority", "compute3")
    servers = world.boot(5)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert where(world, servers) <= {"compute2", "compute4"}
    assert world.registered("compute3").reserved


def test_rh_priority_lets_nova_choose_for_the_rest(world: World) -> None:
    segment(world, "rh_priority", "compute3")
    fail_to(world, "compute3")
    servers = world.boot(5)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert where(world, servers) <= {"compute2", "compute4"}
    assert world.registered("compute3").reserved


def test_a_live_host_is_left_alone_by_every_method(world: World) -> None:
    segment(world, "auto_priority", "compute3")
    world.boot(1)
    uuid = world.notify()
    world.engine()
    assert world.recover(uuid).status == Status.IGNORED
    assert world.registered("compute3").reserved
    assert world.calls("POST", "/action") == 0


def test_the_reserved_host_joins_the_aggregates_where_wanted(world: World) -> None:
    world.conf.set_override("add_reserved_host_to_aggregate", True, group="host_failure")
    segment(world, "reserved_host", "compute3")
    state = world.cloud.state
    with_both = state.add_aggregate("both", None)
    with_both.hosts.extend(["compute1", "compute3"])
    with_one = state.add_aggregate("one", None)
    with_one.hosts.append("compute1")
    other = state.add_aggregate("other", None)
    other.hosts.append("compute2")
    world.boot(1)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert with_both.hosts == with_one.hosts == ["compute1", "compute3"]
    assert other.hosts == ["compute2"]


def test_two_failures_never_share_a_reserved_host(world: World) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    segment_uuid = world.hosts["compute1"].segment_uuid
    world.hosts["compute2"] = factories.host(world.db, "compute2", segment_uuid=segment_uuid)
    servers = {name: world.boot(5, name) for name in ("compute1", "compute2")}
    for name in servers:
        world.kill(name)
    uuids = [world.notify(name) for name in servers]
    world.engine("a")
    world.engine("b")
    for uuid in uuids:
        assert world.recover(uuid).status == Status.FINISHED
    targets = [where(world, of_host) for of_host in servers.values()]
    assert sorted(map(sorted, targets)) == [["compute3"], ["compute4"]]


@pytest.mark.parametrize("moment", [0.5, 1.2, 1.6, 2.2, 3.0])
def test_an_engine_that_dies_keeps_the_host_it_took(world: World, moment: float) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    servers = world.boot(10)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.at(moment, lambda: world.kill_engine("a"))
    world.clock.at(moment, lambda: world.engine("b"))
    assert world.recover(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute3"}
    assert world.registered("compute4").reserved


def test_sigterm_keeps_it_too(world: World) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    servers = world.boot(10)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.run(lambda: any(m.status == "ongoing" for m in world.moves(uuid).values()))
    world.stop_engine("a")
    world.engine("b")
    assert world.recover(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute3"}
    assert world.registered("compute4").reserved


def on_the_row(world: World, name: str) -> tuple[str | None, list[int] | None]:
    host = world.registered(name)
    return host.enabled_from, host.joined_aggregates


def with_aggregates(world: World, *names: str) -> list[list[str]]:
    """compute1 is in these; returns their members."""
    world.conf.set_override("add_reserved_host_to_aggregate", True, group="host_failure")
    made = [world.cloud.state.add_aggregate(name, None).hosts for name in names]
    for members in made:
        members.append("compute1")
    return made


def test_none_is_taken_where_nothing_is_to_be_moved(world: World) -> None:
    segment(world, "reserved_host")
    uuid = recovered(world)
    ended = world.notification(uuid)
    assert (ended.status, ended.message) == (
        Status.FINISHED,
        "No instances to evacuate on compute1.",
    )


def test_rh_priority_without_a_free_one_lets_nova_choose(world: World) -> None:
    segment(world, "rh_priority")
    servers = world.boot(2)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert "compute1" not in where(world, servers)


def test_one_given_back_is_as_it_was_before(world: World) -> None:
    segment(world, "rh_priority", "compute3")
    (members,) = with_aggregates(world, "ssd")
    world.service("compute3").disabled_reason = "spare"
    fail_to(world, "compute3")
    world.boot(1)
    uuid = recovered(world)
    assert world.notification(uuid).message == "1 evacuated, 0 skipped."
    service = world.service("compute3")
    assert (service.disabled, service.disabled_reason) == (True, "spare")
    assert members == ["compute1"]
    assert world.registered("compute3").reserved
    assert on_the_row(world, "compute3") == (None, None)


def test_what_was_done_to_one_that_is_used_is_not_to_be_undone(world: World) -> None:
    segment(world, "reserved_host", "compute3")
    (members,) = with_aggregates(world, "ssd")
    world.boot(1)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert members == ["compute1", "compute3"]
    assert not world.service("compute3").disabled
    assert on_the_row(world, "compute3") == (None, None)


def test_one_that_may_not_join_is_not_tried_and_the_next_one_is(world: World) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    first, second = with_aggregates(world, "ssd", "az1")
    words = "Host is already in availability zone(s) az2"
    call = {"method": "POST", "path": "os-aggregates/2/action", "status": 409, "times": 1}
    world.faults(calls=[{**call, "message": words}])
    servers = world.boot(1)
    uuid = recovered(world)
    assert world.notification(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute4"}
    assert first == second == ["compute1", "compute4"]
    assert any("compute3 is not used" in line and words in line for line in world.story(uuid))
    assert world.registered("compute3").reserved
    assert world.service("compute3").disabled


def test_what_cannot_be_undone_is_said_and_tried_again_the_next_time(world: World) -> None:
    segment(world, "rh_priority", "compute3")
    fail_to(world, "compute3")
    # enabled once, and then nothing more
    world.boot(1)
    world.kill()
    uuid = world.notify()
    world.engine()
    world.clock.run(lambda: not world.service("compute3").disabled)
    world.faults(calls=[{"method": "PUT", "path": "os-services", "status": 403}])
    assert world.recover(uuid).status == Status.FINISHED
    assert any(
        "Reserved host compute3 was not used, and is not as it was before: Failed to disable"
        in line
        for line in world.story(uuid)
    )
    assert world.registered("compute3").reserved
    assert on_the_row(world, "compute3") == ("", None)


def test_a_graceful_stop_leaves_a_reserved_host_to_the_next_engine(world: World) -> None:
    segment(world, "reserved_host", "compute3", "compute4")
    fail_to(world, "compute3")
    servers = world.boot(1)
    world.kill()
    uuid = world.notify()
    world.engine("a")
    world.clock.run(lambda: not world.service("compute3").disabled)
    world.stop_engine("a")
    world.engine("b")
    assert world.recover(uuid).status == Status.FINISHED
    assert where(world, servers) == {"compute4"}
    assert world.service("compute3").disabled
    assert world.registered("compute3").reserved
