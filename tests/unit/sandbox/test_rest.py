# Licensed under the Apache License, Version 2.0; see LICENSE.
import dataclasses
import json
from collections.abc import Callable

import pytest

from hacore_sandbox.settings import PRESETS
from tests.unit.sandbox.conftest import Bench


def _auth(name: str = "hacore", password: str = "hacore", **scope: object) -> dict[str, object]:
    user = {"name": name, "domain": {"id": "default"}, "password": password}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return {"auth": auth | ({"scope": scope} if scope else {})}


def test_a_token(bench: Bench) -> None:
    body = _auth(project={"name": "service", "domain": {"id": "default"}})
    answer = bench.ask("POST", "/identity/v3/auth/tokens", body)
    assert answer.status == 201
    token = answer.body["token"]
    assert [role["name"] for role in token["roles"]] == ["admin", "service"]
    assert token["project"]["name"] == "service"
    assert token["expires_at"] == "2026-01-02T00:00:00.000000Z"
    urls = {entry["type"]: entry["endpoints"][0]["url"] for entry in token["catalog"]}
    assert urls == {
        "identity": "http://x:1/identity",
        "compute": "http://x:1/compute/v2.1",
        "instance-ha": "http://127.0.0.1:15868/v1",
    }


@pytest.mark.parametrize(
    "body",
    [
        _auth(password="wrong"),
        _auth(name="nobody"),
        _auth(project={"name": "admin"}),
        {},
        {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}}},
        {"auth": 1},
    ],
)
def test_no_token(bench: Bench, body: object) -> None:
    answer = bench.ask("POST", "/identity/v3/auth/tokens", body)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://x:1/identity/v3"'


def test_a_token_for_a_token(bench: Bench) -> None:
    identity = {"methods": ["token"], "token": {"id": bench.token("demo")}}
    answer = bench.ask("POST", "/identity/v3/auth/tokens", {"auth": {"identity": identity}})
    assert answer.body["token"]["user"]["name"] == "demo"


def test_the_validation_of_a_token(bench: Bench) -> None:
    headers = {"x-auth-token": bench.token(), "x-subject-token": bench.token("demo")}
    answer = bench.ask("GET", "/identity/v3/auth/tokens", headers=headers)
    assert answer.status == 200
    assert answer.headers["X-Subject-Token"] == bench.token("demo")
    assert answer.body["token"]["user"]["name"] == "demo"
    assert "catalog" in answer.body["token"]
    short = bench.ask("GET", "/identity/v3/auth/tokens?nocatalog", headers=headers)
    assert "catalog" not in short.body["token"]
    unknown = headers | {"x-subject-token": "?"}
    assert bench.ask("GET", "/identity/v3/auth/tokens", headers=unknown).status == 404
    nobody = headers | {"x-auth-token": "?"}
    assert bench.ask("GET", "/identity/v3/auth/tokens", headers=nobody).status == 401
    assert bench.ask("DELETE", "/identity/v3/auth/tokens", headers=headers).status == 204
    assert bench.ask("DELETE", "/identity/v3/auth/tokens", headers=headers).status == 404
    assert bench.nova("GET", "/servers", user="demo").status == 401


def test_a_token_expires(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(dataclasses.replace(PRESETS["real"], token_lifetime_s=60))
    assert bench.nova("GET", "/servers").status == 200
    bench.sleep(60)
    answer = bench.nova("GET", "/servers")
    assert answer.status == 401
    assert answer.body["error"]["code"] == 401
    headers = {"x-auth-token": bench.token(), "x-subject-token": bench.token()}
    assert bench.ask("GET", "/identity/v3/auth/tokens", headers=headers).status == 401


def test_version_documents(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(dataclasses.replace(PRESETS["real"], max_microversion=(2, 60)))
    assert bench.ask("GET", "/identity").status == 300
    assert bench.ask("GET", "/identity/v3/").body["version"]["id"] == "v3.14"
    (version,) = bench.ask("GET", "/compute/").body["versions"]
    assert (version["min_version"], version["version"]) == ("2.1", "2.60")
    assert bench.ask("GET", "/compute/v2.1").body["version"]["version"] == "2.60"
    assert bench.nova("GET", "/servers", version="2.61").status == 406
    latest = bench.nova("GET", "/servers", version="latest")
    assert latest.headers["OpenStack-API-Version"] == "compute 2.60"


def test_the_header_of_the_version(bench: Bench) -> None:
    def version(**headers: str) -> str:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = bench.ask(
            "GET", "/compute/v2.1/servers", headers=sent | {"x-auth-token": bench.token()}
        )
        return answer.headers.get("X-OpenStack-Nova-API-Version", str(answer.status))

    assert version() == "2.1"
    assert version(x_openstack_nova_api_version="2.11") == "2.11"
    assert version(openstack_api_version="compute 2.53") == "2.53"
    assert version(openstack_api_version="volume 3.1, compute 2.90") == "2.90"
    assert version(openstack_api_version="volume 3.1") == "2.1"
    assert version(openstack_api_version="compute x") == "400"


def test_request_ids(bench: Bench) -> None:
    first, second = bench.nova("GET", "/servers"), bench.nova("GET", "/servers/none")
    ids = [answer.headers["x-openstack-request-id"] for answer in (first, second)]
    assert len(set(ids)) == 2
    assert first.headers["x-compute-request-id"] == ids[0]


def test_unknown_paths(bench: Bench) -> None:
    assert bench.ask("GET", "/").status == 404
    assert bench.ask("GET", "/identity/v2.0").status == 404
    assert bench.ask("GET", "/control/none").status == 404
    assert bench.nova("GET", "/none").status == 404
    assert bench.ask("GET", "/compute/v2.1/none").status == 401
    assert bench.ask("POST", "/identity/v3/auth/tokens", raw=b"{").status == 400


# -- delays


def test_calls_take_their_time_and_queue(bench: Bench) -> None:
    bench.token()
    bench.sleep(1)
    settings = bench.cloud.settings
    delays = [bench.nova("GET", "/limits").delay_s for _ in range(9)]
    work = settings.compute_read_s
    assert delays == pytest.approx([work] * 4 + [2 * work] * 4 + [3 * work])
    bench.sleep(1)
    (server,) = bench.servers(1)
    assert bench.act(server, "lock").delay_s == pytest.approx(settings.compute_write_s)
    bench.servers(99)
    bench.sleep(1)
    listed = bench.nova("GET", "/servers?all_tenants=1")
    assert listed.delay_s == pytest.approx(work + 100 * settings.compute_row_s)


# -- injected faults


def test_a_status_for_the_next_calls(bench: Bench) -> None:
    (server,) = bench.servers(1)
    rule = {"method": "POST", "path": "/servers/.*/action", "status": 503, "times": 2}
    assert bench.control("PUT", "faults", {"calls": [rule | {"retry_after": 3}]}).status == 200
    assert bench.nova("GET", "/servers").status == 200
    answer = bench.act(server, "os-stop")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    assert answer.body["serviceUnavailable"]["code"] == 503
    assert bench.act(server, "os-stop").status == 503
    assert bench.states(server)[1] is None
    assert bench.act(server, "os-stop").status == 202


def test_a_call_that_acts_and_is_then_lost(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    rule = {"body": '"evacuate"', "drop": "after", "times": 1}
    bench.control("PUT", "faults", {"calls": [rule]})
    assert bench.act(server, "lock").status == 202
    answer = bench.act(server, "evacuate", {})
    assert answer.drop
    assert bench.states(server)[1] == "rebuilding"
    assert len(bench.migrations()) == 1


def test_a_call_that_is_lost_before_it_acts(bench: Bench) -> None:
    (server,) = bench.servers(1)
    rule = {"drop": "before", "times": 1, "path": "/action$"}
    bench.control("PUT", "faults", {"calls": [rule]})
    assert bench.act(server, "os-stop").drop
    assert bench.states(server)[1] is None


def test_a_call_that_acts_and_says_it_failed(bench: Bench) -> None:
    (server,) = bench.servers(1)
    rule = {"status": 504, "act": True, "method": "POST", "service": "compute"}
    bench.control("PUT", "faults", {"calls": [rule]})
    assert bench.act(server, "os-stop").status == 504
    assert bench.states(server)[1] == "powering-off"


@pytest.mark.parametrize(("act", "task_state"), [(False, None), (True, "powering-off")])
def test_a_page_of_a_proxy_in_place_of_the_answer(
    bench: Bench, act: bool, task_state: str | None
) -> None:
    one, other = bench.servers(2)
    rule = {"method": "POST", "path": "action", "answer": "html", "act": act, "servers": [one]}
    bench.control("PUT", "faults", {"calls": [rule]})
    answer = bench.act(one, "os-stop")
    assert answer.status == 200
    assert answer.body.startswith("<html>")
    assert "x-openstack-request-id" not in answer.headers
    assert bench.states(one)[1] == task_state
    assert bench.act(other, "os-stop").body is None


def test_an_answer_that_is_cut(bench: Bench) -> None:
    (server,) = bench.servers(1)
    whole = json.dumps(bench.show(server))
    bench.control("PUT", "faults", {"calls": [{"path": "/servers/", "answer": "truncated"}]})
    part = bench.nova("GET", f"/servers/{server}").body
    assert part.startswith(b'{"server": {"id"')
    assert len(whole) / 3 < len(part) < len(whole)
    answer = bench.act(server, "os-stop")  # there is nothing to be cut
    assert (answer.status, answer.body) == (202, None)
    assert bench.states(server)[1] == "powering-off"


def test_a_list_as_if_it_had_no_filter(bench: Bench) -> None:
    bench.servers(2)
    bench.servers(2, "compute2")
    bench.kill()
    bench.control("PUT", "faults", {"calls": [{"method": "GET", "answer": "unfiltered"}]})
    listed = bench.nova("GET", "/servers/detail?host=compute1&all_tenants=1&limit=3").body
    hosts = [row["OS-EXT-SRV-ATTR:host"] for row in listed["servers"]]
    assert (len(hosts), set(hosts)) == (3, {"compute1", "compute2"})
    (link,) = listed["servers_links"]
    rest = bench.nova("GET", link["href"].partition("/v2.1")[2]).body["servers"]
    assert len(rest) == 1
    services = bench.nova("GET", "/os-services?host=compute1&binary=nova-compute").body["services"]
    assert {row["binary"] for row in services} > {"nova-compute"}
    bench.act(rest[0]["id"], "evacuate", {})
    shown = bench.nova("GET", "/os-migrations?source_compute=compute3&migration_type=resize").body
    assert len(shown["migrations"]) == 1 - (rest[0]["OS-EXT-SRV-ATTR:host"] != "compute1")


def test_a_fault_in_words_of_nova(bench: Bench) -> None:
    (server,) = bench.servers(1)
    rule = {"path": "action", "status": 404, "message": "Compute host compute4 not found."}
    bench.control("PUT", "faults", {"calls": [rule]})
    answer = bench.act(server, "evacuate", {"host": "compute4"})
    assert answer.status == 404
    assert answer.body["itemNotFound"]["message"] == "Compute host compute4 not found."


def test_a_ratio_of_calls(bench: Bench) -> None:
    bench.control("PUT", "faults", {"calls": [{"status": 500, "ratio": 0.25}]})
    statuses = [bench.ask("GET", "/compute").status for _ in range(400)]
    assert 70 < statuses.count(500) < 130
    assert bench.ask("GET", "/control/faults").status == 200  # never the control API


def test_away_for_a_while(bench: Bench) -> None:
    bench.token()
    bench.control("PUT", "faults", {"unavailable": {"compute": 30}})
    assert bench.nova("GET", "/servers").drop
    assert not bench.ask("GET", "/identity").drop
    bench.sleep(30)
    assert bench.nova("GET", "/servers").status == 200
    bench.control("PUT", "faults", {"unavailable": {"identity": 10}})
    assert bench.ask("GET", "/identity").drop


def test_the_clock_of_the_cloud_is_wrong(bench: Bench) -> None:
    date = bench.nova("GET", "/servers").headers["Date"]
    assert date == "Thu, 01 Jan 2026 00:00:00 GMT"
    bench.control("PUT", "faults", {"clock_ahead_s": -3600})
    date = bench.nova("GET", "/servers").headers["Date"]
    assert date == "Wed, 31 Dec 2025 23:00:00 GMT"


def test_faults_are_shown_and_cleared(bench: Bench) -> None:
    body = {
        "slow": 2,
        "unavailable": {"identity": 5},
        "cells_down": {"compute1": 7},
        "evacuations": [{"kind": "hang", "servers": ["b", "a"], "ratio": 0.5}],
        "calls": [{"path": "x+", "delay_s": 1.5}],
    }
    bench.control("PUT", "faults", body)
    shown = bench.control("GET", "faults").body
    assert shown["slow"] == 2
    assert shown["unavailable"] == {"identity": 5}
    assert shown["cells_down"] == {"compute1": 7}
    assert shown["evacuations"] == [{"kind": "hang", "servers": ["a", "b"], "ratio": 0.5}]
    assert shown["calls"][0]["path"] == "x+"
    bench.control("PUT", "faults", {"slow": 3})
    assert len(bench.control("GET", "faults").body["calls"]) == 1
    assert bench.control("DELETE", "faults").status == 204
    assert bench.control("GET", "faults").body == {
        "slow": 1.0,
        "clock_ahead_s": 0.0,
        "unavailable": {},
        "cells_down": {},
        "evacuations": [],
        "calls": [],
    }


@pytest.mark.parametrize(
    "body",
    [
        {"fast": 1},
        {"slow": 0},
        {"slow": "x"},
        {"clock_ahead_s": "x"},
        {"unavailable": {"glance": 1}},
        {"unavailable": {"compute": "x"}},
        {"unavailable": 7},
        {"cells_down": {"compute1": "x"}},
        {"cells_down": 7},
        {"evacuations": [{"kind": "explode"}]},
        {"evacuations": [{"kind": "hang", "ratio": 2}]},
        {"evacuations": [{"kind": "hang", "every": 0}]},
        {"calls": [{"status": 500, "when": "now"}]},
        {"calls": [{"path": "x"}]},
        {"calls": [{"path": "(", "status": 500}]},
        {"calls": [{"drop": "sometimes"}]},
        {"calls": [{"answer": "nonsense"}]},
    ],
)
def test_faults_that_are_not_understood(bench: Bench, body: object) -> None:
    answer = bench.control("PUT", "faults", body)
    assert answer.status == 400
    assert answer.body["error"]


# -- the control API


def test_requests_are_counted_by_route(bench: Bench) -> None:
    one, two = bench.servers(2)
    bench.token()
    bench.control("DELETE", "requests")
    bench.show(one)
    bench.show(two)
    bench.nova("GET", "/servers/none")
    bench.control("PUT", "faults", {"calls": [{"drop": "before"}]})
    bench.nova("GET", f"/servers/{one}")
    counted = bench.control("GET", "requests").body
    assert counted["total"] == 4
    route = {"service": "compute", "method": "GET", "route": "/compute/v2.1/servers/{id}"}
    assert counted["requests"] == [
        route | {"outcome": "200", "count": 2},
        route | {"outcome": "404", "count": 1},
        route | {"outcome": "dropped", "count": 1},
    ]


def test_a_server_is_brought_into_a_state(bench: Bench) -> None:
    (server,) = bench.servers(1)
    states = {"vm_state": "rescued", "task_state": "unrescuing", "locked": True}
    shown = bench.control("PUT", f"servers/{server}", states).body
    assert (shown["vm_state"], shown["task_state"], shown["power_state"]) == (
        "rescued",
        "unrescuing",
        1,
    )
    assert shown["locked_by"] == "owner"
    bench.control("PUT", f"servers/{server}", {"power_state": 4, "metadata": {"a": 1}})
    shown = bench.control("PUT", f"servers/{server}", {"locked": False}).body
    assert (shown["power_state"], shown["locked"], shown["metadata"]) == (4, False, {"a": "1"})
    for wrong in ({"vm_state": "good"}, {"mood": 1}, {"locked": "perhaps"}):
        assert bench.control("PUT", f"servers/{server}", wrong).status == 400
    assert bench.control("PUT", "servers/none", {}).status == 404


@pytest.mark.parametrize(
    "body", [{"count": "x"}, {"user": "nobody"}, {"hosts": ["nowhere"]}, {"what": 1}]
)
def test_servers_that_are_not_made(bench: Bench, body: object) -> None:
    assert bench.control("POST", "servers", body).status in (400, 404)


def test_the_state_on_one_page(bench: Bench) -> None:
    bench.servers(2)
    bench.servers(1, "compute2")
    bench.kill()
    state = bench.control("GET", "state").body
    assert [h["servers"] for h in state["hosts"]] == [2, 1, 0, 0]
    assert [h["state"] for h in state["hosts"]] == ["down", "up", "up", "up"]
    assert len(state["servers"]) == 3
    assert len(bench.control("GET", "state?host=compute2").body["servers"]) == 1
    assert bench.control("GET", "settings").body["service_down_s"] == 5.0
