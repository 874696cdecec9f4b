# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What Nova answers while it cannot reach the database of a cell."""

import pytest

from tests.unit.sandbox.conftest import Bench

COMPUTE = "/os-services?binary=nova-compute"


def down(bench: Bench, *hosts: str) -> None:
    answer = bench.control("PUT", "faults", {"cells_down": dict.fromkeys(hosts, 60)})
    assert answer.status == 200, answer.body


def test_the_services_are_unknown_since_2_69(bench: Bench) -> None:
    down(bench, "compute1")
    services = bench.nova("GET", COMPUTE).body["services"]
    assert services[0] == {"binary": "nova-compute", "host": "compute1", "status": "UNKNOWN"}
    assert {row["status"] for row in services[1:]} == {"enabled"}
    older = bench.nova("GET", COMPUTE, version="2.68").body["services"]
    assert [row["host"] for row in older] == ["compute2", "compute3", "compute4"]
    assert len(bench.nova("GET", "/os-hypervisors").body["hypervisors"]) == 3
    bench.sleep(60)
    assert bench.nova("GET", COMPUTE).body["services"][0]["status"] == "enabled"


@pytest.mark.parametrize("query", ["host=compute1&all_tenants=1", "all_tenants=1&limit=9"])
def test_servers_are_left_out_of_what_is_filtered(bench: Bench, query: str) -> None:
    bench.servers(1)
    (seen,) = bench.servers(1, "compute2")
    down(bench, "compute1")
    listed = bench.nova("GET", f"/servers/detail?{query}").body["servers"]
    assert [row["id"] for row in listed] == ([] if "host" in query else [seen])


def test_servers_are_partial_in_the_whole_list(bench: Bench) -> None:
    (server,) = bench.servers(1)
    down(bench, "compute1")
    (row,) = bench.nova("GET", "/servers/detail?all_tenants=1").body["servers"]
    assert (row["id"], row["status"]) == (server, "UNKNOWN")
    (row,) = bench.nova("GET", "/servers?all_tenants=1").body["servers"]
    assert (row["id"], row["status"], row.get("name")) == (server, "UNKNOWN", None)
    assert bench.nova("GET", "/servers?all_tenants=1", version="2.68").body["servers"] == []


def test_one_server_is_partial_since_2_69(bench: Bench) -> None:
    (server,) = bench.servers(1)
    down(bench, "compute1")
    shown = bench.show(server)
    assert (shown["id"], shown["status"], shown["OS-EXT-STS:power_state"]) == (server, "UNKNOWN", 0)
    assert "name" not in shown
    assert "OS-EXT-SRV-ATTR:host" not in shown
    assert bench.nova("GET", f"/servers/{server}", version="2.68").status == 500


def test_migrations_are_left_out(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {})
    assert len(bench.migrations("?source_compute=compute1")) == 1
    down(bench, "compute1")
    assert bench.migrations("?source_compute=compute1") == []


def test_nothing_can_be_changed(bench: Bench) -> None:
    (server,) = bench.servers(1)
    service = bench.nova("GET", COMPUTE).body["services"][0]["id"]
    down(bench, "compute1")
    disable = {"status": "disabled"}
    assert bench.nova("PUT", f"/os-services/{service}", disable).status == 500
    named = {"host": "compute1", "binary": "nova-compute"}
    assert bench.nova("PUT", "/os-services/disable", named, version="2.52").status == 500
    answer = bench.act(server, "lock")
    assert (answer.status, answer.body["computeFault"]["code"]) == (500, 500)
    assert bench.nova("GET", f"/servers/{server}/metadata").status == 500
    assert bench.states(server)[0] == "active"


def test_hosts_that_are_not_there(bench: Bench) -> None:
    assert bench.control("PUT", "faults", {"cells_down": {"compute9": 60}}).status == 404
