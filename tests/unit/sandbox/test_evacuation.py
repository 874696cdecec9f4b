# Licensed under the Apache License, Version 2.0; see LICENSE.
import dataclasses
from collections.abc import Callable

import pytest

from hacore_sandbox.settings import PRESETS
from tests.unit.sandbox.conftest import Bench

REAL = PRESETS["real"]


def _run(bench: Bench, servers: list[str], window: int) -> tuple[float, float]:
    """Evacuate with so many in flight; the whole time, and the mean until one is back."""
    state, started = bench.cloud.state, bench.clock.seconds
    waiting, flying, ended = list(servers), set[str](), dict[str, float]()
    while len(ended) < len(servers):
        while waiting and len(flying) < window:
            server = waiting.pop()
            assert bench.act(server, "evacuate", {}).status == 200
            flying.add(server)
        bench.sleep(0.1)
        for server in list(flying):
            if state.migrations_of[server][-1].status in ("done", "failed", "error"):
                ended[server] = bench.clock.seconds - started
                flying.discard(server)
    return max(ended.values()), sum(ended.values()) / len(ended)


@pytest.mark.parametrize(
    ("window", "total", "mean"), [(6, 21.5, 12.2), (12, 22.0, 13.7), (20, 21.6, 14.9), (50, 36, 34)]
)
def test_fifty_take_as_long_as_on_a_real_nova(
    bench: Bench, window: int, total: float, mean: float
) -> None:
    servers = bench.servers(50)
    bench.kill()
    seen = _run(bench, servers, window)
    assert seen == pytest.approx((total, mean), rel=0.15)


def test_one_takes_about_a_second(bench: Bench) -> None:
    servers = bench.servers(1)
    bench.kill()
    total, _ = _run(bench, servers, 1)
    assert 0.7 < total < 1.6


def test_control_shows_when_each_call_was_accepted(bench: Bench) -> None:
    first, second = bench.servers(2)
    bench.kill()
    times = []
    for server in (first, second):
        bench.sleep(1.25)
        times.append(bench.clock.now().timestamp())
        bench.act(server, "evacuate", {})
    assert bench.control("GET", "evacuations").body == {
        "evacuations": [
            {"server": server, "source": "compute1", "at": at}
            for server, at in zip((first, second), times, strict=True)
        ]
    }


def test_the_demo_brings_twenty_back_in_six_to_eight_seconds(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(PRESETS["demo"])
    servers = bench.servers(20)
    bench.kill()
    total, _ = _run(bench, servers, 10)
    assert 6 < total < 8


def test_the_story_of_one(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {})
    story: list[tuple[object, ...]] = []
    for _ in range(40):
        (migration,) = bench.migrations()
        vm_state, task_state, power_state, host = bench.states(server)
        moment = (migration["status"], vm_state, task_state, power_state, host)
        if not story or story[-1] != moment:
            story.append(moment)
        bench.sleep(0.04)
    assert story == [
        ("accepted", "active", "rebuilding", 1, "compute1"),
        ("pre-migrating", "active", "rebuilding", 1, "compute1"),
        ("pre-migrating", "active", "rebuilding", 0, "compute1"),
        ("pre-migrating", "active", "rebuild_block_device_mapping", 0, "compute1"),
        ("pre-migrating", "active", "rebuild_spawning", 0, "compute1"),
        ("pre-migrating", "active", None, 1, "compute1"),
        ("done", "active", None, 1, "compute2"),
    ]


def test_the_same_seed_gives_the_same_story(make_bench: Callable[..., Bench]) -> None:
    def story(seed: int) -> list[tuple[str, float | None, str | None]]:
        bench = make_bench(REAL, seed)
        servers = bench.servers(12)
        bench.kill()
        _run(bench, servers, 5)
        return [(m.uuid, m.updated, m.dest_compute) for m in bench.cloud.state.migrations]

    assert story(7) == story(7)
    assert story(7) != story(8)


def test_the_emptiest_hosts_are_chosen(bench: Bench) -> None:
    bench.servers(6, "compute2")
    bench.servers(3, "compute3")
    servers = bench.servers(9)
    bench.kill()
    _run(bench, servers, 9)
    hosts = bench.cloud.state.on_host
    assert [len(hosts[f"compute{n}"]) for n in (1, 2, 3, 4)] == [0, 6, 6, 6]


def test_full_and_disabled_hosts_are_not_chosen(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(dataclasses.replace(REAL, host_capacity=2))
    bench.servers(2, "compute2")
    service = bench.cloud.state.hosts["compute3"].service
    bench.nova("PUT", f"/os-services/{service.uuid}", {"status": "disabled"})
    servers = bench.servers(3)
    bench.kill()
    _run(bench, servers, 3)
    assert sorted(m["status"] for m in bench.migrations()) == ["done", "done", "error"]
    assert len(bench.cloud.state.on_host["compute4"]) == 2


def test_a_busy_server_is_refused_by_an_older_nova(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(dataclasses.replace(REAL, evacuate_busy=False))
    (server,) = bench.servers(1)
    bench.kill()
    assert bench.act(server, "evacuate", {}).status == 200
    answer = bench.act(server, "evacuate", {})
    assert answer.status == 409
    assert answer.body["conflictingRequest"]["message"].endswith("task_state rebuilding")


@pytest.mark.parametrize(
    "vm_state", ["paused", "suspended", "rescued", "resized", "shelved", "building", "soft-delete"]
)
def test_states_that_are_not_evacuated(bench: Bench, vm_state: str) -> None:
    (server,) = bench.servers(1, vm_state=vm_state)
    bench.kill()
    answer = bench.act(server, "evacuate", {})
    assert answer.status == 409
    assert answer.body["conflictingRequest"]["message"] == (
        f"Cannot 'evacuate' instance {server} while it is in vm_state {vm_state}"
    )


def test_a_reset_in_the_middle_fails_the_evacuation(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {})
    bench.sleep(0.3)
    bench.act(server, "os-resetState", {"state": "active"})
    bench.sleep(5)
    assert bench.migrations()[0]["status"] == "failed"
    assert bench.states(server)[0] == "error"


def test_a_server_deleted_in_the_middle(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {})
    assert bench.nova("DELETE", f"/servers/{server}").status == 204
    assert bench.nova("GET", f"/servers/{server}").status == 404
    bench.sleep(5)
    assert bench.migrations()[0]["status"] == "failed"
    assert bench.cloud.evacuations.in_flight == 0


def test_the_destination_dies(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {"host": "compute3"})
    bench.sleep(0.3)
    bench.control("POST", "hosts/compute3/kill")
    bench.sleep(60)
    assert bench.migrations()[0]["status"] == "pre-migrating"
    assert bench.states(server)[0] == "active"
    assert bench.states(server)[2:] == (0, "compute1")


def test_the_message_to_a_destination_that_is_dead_but_believed_up(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.control("POST", "hosts/compute3/kill")
    bench.act(server, "evacuate", {"host": "compute3"})
    bench.sleep(60)
    assert bench.migrations()[0]["status"] == "accepted"


@pytest.mark.parametrize(
    ("kind", "status", "vm_state", "task_state"),
    [
        ("no_valid_host", "error", "error", None),
        ("failed_claim", "failed", "active", None),
        ("spawn_error", "failed", "error", None),
        ("hang", "pre-migrating", "active", "rebuilding"),
    ],
)
def test_failures(
    bench: Bench, kind: str, status: str, vm_state: str, task_state: str | None
) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.control("PUT", "faults", {"evacuations": [{"kind": kind}]})
    bench.act(server, "evacuate", {})
    bench.sleep(30)
    assert bench.migrations()[0]["status"] == status
    assert bench.states(server)[:2] == (vm_state, task_state)
    assert bench.states(server)[3] == "compute1"
    assert ("fault" in bench.show(server)) == (vm_state == "error")
    reserved = [host.reserved for host in bench.cloud.state.hosts.values()]
    assert reserved == ([1, 1, 0, 0] if kind == "hang" else [1, 0, 0, 0])


def test_failures_of_some(bench: Bench) -> None:
    servers = bench.servers(9)
    bench.kill()
    rule = {"kind": "failed_claim", "every": 3, "times": 2}
    bench.control("PUT", "faults", {"evacuations": [rule]})
    _run(bench, servers, 9)
    assert sorted(m["status"] for m in bench.migrations()) == ["done"] * 7 + ["failed"] * 2
    chosen = {"kind": "no_valid_host", "servers": [servers[0]]}
    bench.control("PUT", "faults", {"evacuations": [chosen]})
    bench.sleep(1)
    again = [s for s in servers if bench.states(s)[3] == "compute1"]
    _run(bench, again, 2)
    assert bench.cloud.state.on_host["compute1"].keys() <= {servers[0]}


def test_slow_makes_everything_slow(bench: Bench) -> None:
    servers = bench.servers(3)
    bench.kill()
    bench.control("PUT", "faults", {"slow": 10})
    total, _ = _run(bench, servers, 3)
    assert total > 12


def test_the_source_returns(bench: Bench) -> None:
    one, two, three = bench.servers(3)
    bench.kill()
    for server in (one, two):
        bench.act(server, "evacuate", {})
    bench.sleep(6)
    bench.act(three, "evacuate", {})  # still under way when the host is back
    bench.act(two, "evacuate", {})  # refused: its host is alive
    bench.control("POST", "hosts/compute1/revive")
    statuses = {m["instance_uuid"]: m["status"] for m in bench.migrations()}
    assert statuses == {one: "done", two: "done", three: "accepted"}
    bench.sleep(2.1)
    assert {m["status"] for m in bench.migrations()} <= {"completed", "done"}
    assert bench.migrations(f"?instance_uuid={one}")[0]["status"] == "completed"


def test_two_evacuations_of_one_server(bench: Bench) -> None:
    """As seen on Nova 34: both take the first migration, and the server ends in ERROR."""
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {})
    bench.sleep(0.05)
    assert bench.act(server, "evacuate", {}).status == 200
    bench.sleep(5)
    newest, oldest = bench.migrations()
    assert (newest["status"], oldest["status"]) == ("accepted", "done")
    assert bench.states(server)[0] == "error"
    assert bench.states(server)[3] != "compute1"
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(3)
    newest, oldest = bench.migrations()
    # and one of the two keeps the host from ever being forced up
    assert (newest["status"], oldest["status"]) == ("completed", "done")


@pytest.mark.parametrize(
    ("status", "live", "evacuation"),
    [("accepted", "done", "accepted"), ("running", "running", "done")],
)
def test_the_host_dies_in_a_live_migration(
    bench: Bench, status: str, live: str, evacuation: str
) -> None:
    """Nova works on the first record of the server that is accepted, whatever it is of."""
    (server,) = bench.servers(1)
    body = {"host": "compute3", "status": status}
    assert bench.control("POST", f"servers/{server}/live-migrate", body).status == 204
    assert bench.show(server)["status"] == "MIGRATING"
    bench.kill()
    assert bench.act(server, "evacuate", {"host": "compute2"}).status == 200
    bench.sleep(30)
    assert bench.states(server) == ("active", None, 1, "compute2")
    listed = bench.migrations(f"?instance_uuid={server}")
    told = {row["migration_type"]: row["status"] for row in listed}
    assert told == {"live-migration": live, "evacuation": evacuation}


@pytest.mark.parametrize(
    "body", [{"host": "compute1"}, {"host": "compute9"}, {"host": "compute2", "status": "lost"}]
)
def test_live_migrations_that_are_refused(bench: Bench, body: object) -> None:
    (server,) = bench.servers(1)
    assert bench.control("POST", f"servers/{server}/live-migrate", body).status in (400, 404)
    assert bench.migrations() == []


def test_a_host_returns_with_a_live_migration(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.control("POST", f"servers/{server}/live-migrate", {"host": "compute3"})
    bench.kill()
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(5)
    assert bench.states(server) == ("active", None, 1, "compute1")
    assert [row["status"] for row in bench.migrations()] == ["error"]


def test_an_order_that_waited_for_the_host_is_carried_out_when_it_returns(bench: Bench) -> None:
    """As seen on Nova 34: the guest runs on, and the server falls to ERROR, once."""
    (server,) = bench.servers(1)
    body = {"host": "compute3", "status": "accepted"}
    bench.control("POST", f"servers/{server}/live-migrate", body)
    bench.kill()
    bench.act(server, "evacuate", {})
    bench.sleep(10)
    before = bench.states(server)
    assert before[0] == "active"
    assert before[3] != "compute1"
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(5)
    assert bench.states(server) == ("error", None, 1, before[3])
    fault = bench.nova("GET", f"/servers/{server}").body["server"]["fault"]["message"]
    assert fault == f"Error while check_can_live_migrate_source on instance {server}"
    assert bench.act(server, "os-resetState", {"state": "active"}).status == 202
    bench.control("POST", "hosts/compute1/kill")
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(10)
    assert bench.states(server)[0] == "active"
