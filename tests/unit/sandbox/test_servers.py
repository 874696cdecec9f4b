# Licensed under the Apache License, Version 2.0; see LICENSE.
from collections.abc import Callable
from typing import Any

import pytest

from hacore_sandbox.settings import PRESETS
from tests.unit.sandbox.conftest import Bench


def test_the_life_of_a_server(bench: Bench) -> None:
    body = {"server": {"name": "web", "flavorRef": "1", "imageRef": "i", "host": "compute2"}}
    made = bench.nova("POST", "/servers", body, user="admin")
    assert made.status == 202
    server = made.body["server"]["id"]
    assert bench.states(server) == ("building", "spawning", 0, "compute2")
    assert bench.show(server)["status"] == "BUILD"
    bench.sleep(1)
    assert bench.states(server) == ("active", None, 1, "compute2")
    assert bench.act(server, "os-stop").status == 202
    assert bench.states(server) == ("active", "powering-off", 1, "compute2")
    bench.sleep(1)
    assert bench.states(server) == ("stopped", None, 4, "compute2")
    assert bench.act(server, "os-start").status == 202
    assert bench.states(server)[1] == "powering-on"
    bench.sleep(1)
    assert bench.states(server) == ("active", None, 1, "compute2")
    assert bench.nova("DELETE", f"/servers/{server}").status == 204
    assert bench.show(server)["OS-EXT-STS:task_state"] == "deleting"
    bench.sleep(1)
    assert bench.nova("GET", f"/servers/{server}").status == 404
    deleted = bench.nova("GET", "/servers/detail?all_tenants=1&deleted=true").body["servers"]
    assert [(s["id"], s["status"]) for s in deleted] == [(server, "DELETED")]
    assert bench.cloud.state.hosts["compute2"].reserved == 0


def test_a_server_is_put_where_there_is_room(bench: Bench) -> None:
    bench.servers(2, "compute1")
    body = {"server": {"name": "web", "min_count": 3}}
    bench.nova("POST", "/servers", body, user="demo")
    hosts = bench.cloud.state.on_host
    assert [len(hosts[f"compute{n}"]) for n in (1, 2, 3, 4)] == [2, 1, 1, 1]
    for host in bench.cloud.state.hosts.values():
        bench.cloud.update_service(host.service, {"disabled": True})
    made = bench.nova("POST", "/servers", {"server": {"name": "web"}}, user="demo")
    shown = bench.show(made.body["server"]["id"])
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ERROR", None)
    assert shown["fault"]["message"].startswith("No valid host was found.")


@pytest.mark.parametrize(
    ("vm_state", "task_state", "action", "word"),
    [
        ("stopped", None, "stop", "vm_state stopped"),
        ("active", None, "start", "vm_state active"),
        ("active", "powering-off", "stop", "task_state powering-off"),
        ("stopped", "powering-on", "start", "task_state powering-on"),
        ("paused", None, "stop", "vm_state paused"),
    ],
)
def test_wrong_states(
    bench: Bench, vm_state: str, task_state: str | None, action: str, word: str
) -> None:
    (server,) = bench.servers(1, vm_state=vm_state, states={"task_state": task_state})
    answer = bench.act(server, f"os-{action}")
    assert answer.status == 409
    assert answer.body == {
        "conflictingRequest": {
            "code": 409,
            "message": f"Cannot '{action}' instance {server} while it is in {word}",
        }
    }


def test_the_owner_of_a_locked_server_may_not_stop_it(bench: Bench) -> None:
    (server,) = bench.servers(1)
    assert bench.act(server, "lock", {"locked_reason": "mine"}, user="demo").status == 202
    assert bench.act(server, "os-stop", user="demo").status == 409
    assert bench.act(server, "os-stop").status == 202
    bench.act(server, "lock", {"locked_reason": "hacore"})
    assert bench.show(server)["locked_reason"] == "hacore"
    assert bench.act(server, "unlock", user="demo").status == 403
    assert bench.nova("DELETE", f"/servers/{server}", user="demo").status == 409
    assert bench.act(server, "unlock").status == 202
    assert bench.show(server)["locked"] is False


def test_lock_has_no_reason_before_2_73(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.act(server, "lock", {"locked_reason": "x"}, version="2.72")
    assert bench.show(server)["locked_reason"] is None
    assert "locked_reason" not in bench.show(server, version="2.72")


def test_a_stop_on_a_dead_host_is_done_when_it_is_back(bench: Bench) -> None:
    stopping, starting = bench.servers(1) + bench.servers(1, vm_state="stopped")
    bench.kill()
    bench.act(stopping, "os-stop")
    bench.act(starting, "os-start")
    bench.sleep(600)
    assert bench.states(stopping)[1] == "powering-off"
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(4)
    assert bench.states(stopping) == ("stopped", None, 4, "compute1")
    assert bench.states(starting) == ("active", None, 1, "compute1")


def test_a_stop_is_lost_when_its_host_dies(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.act(server, "os-stop")
    bench.kill()
    assert bench.states(server)[1] == "powering-off"


def test_a_crashed_guest(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.control("POST", f"servers/{server}/crash")
    bench.sleep(60)
    assert bench.states(server) == ("active", None, 1, "compute1")
    assert bench.control("GET", "state").body["servers"][0]["guest_up"] is False
    bench.act(server, "os-stop")
    bench.sleep(1)
    bench.act(server, "os-start")
    bench.sleep(600)
    assert bench.states(server) == ("active", None, 1, "compute1")
    bench.control("POST", f"servers/{server}/crash")
    bench.sleep(601)  # nova looks for itself
    assert bench.states(server) == ("stopped", None, 4, "compute1")


def test_guests_that_die_with_their_host(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.control("POST", "hosts/compute1/kill", {"guests_survive": False})
    bench.sleep(10)
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(10)
    assert bench.states(server)[0] == "active"
    bench.sleep(601)
    assert bench.states(server)[0] == "stopped"


def test_only_the_administrator_sees_hosts(bench: Bench) -> None:
    (server,) = bench.servers(1)
    shown = bench.show(server, user="demo")
    assert "OS-EXT-SRV-ATTR:host" not in shown
    assert "host_status" not in shown
    assert shown["hostId"]
    mine = bench.nova("GET", "/servers/detail?host=compute4", user="demo").body["servers"]
    assert [s["id"] for s in mine] == [server]  # the filter is not his
    (other,) = bench.servers(1, user="admin")
    assert bench.nova("GET", f"/servers/{other}", user="demo").status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/os-services", None),
        ("GET", "/os-migrations", None),
        ("GET", "/os-hypervisors", None),
        ("GET", "/os-aggregates", None),
        ("GET", "/servers?all_tenants=1", None),
        ("POST", "/servers/{id}/action", {"evacuate": {}}),
        ("POST", "/servers/{id}/action", {"os-resetState": {"state": "error"}}),
    ],
)
def test_what_is_for_administrators(bench: Bench, method: str, path: str, body: object) -> None:
    (server,) = bench.servers(1)
    answer = bench.nova(method, path.format(id=server), body, user="demo")
    assert answer.status == 403
    assert answer.body["forbidden"]["message"].startswith("Policy doesn't allow os_compute_api:")


def test_host_status(bench: Bench) -> None:
    (server,) = bench.servers(1)
    service = bench.cloud.state.hosts["compute1"].service
    assert bench.show(server)["host_status"] == "UP"
    bench.kill()
    assert bench.show(server)["host_status"] == "UNKNOWN"
    bench.cloud.update_service(service, {"disabled": True})
    assert bench.show(server)["host_status"] == "MAINTENANCE"
    bench.cloud.update_service(service, {"forced_down": True})
    assert bench.show(server)["host_status"] == "DOWN"


def test_pages_of_many(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(PRESETS["instant"])
    bench.servers(2500)
    seen: list[str] = []
    path = "/servers?all_tenants=1"
    while path:
        body = bench.nova("GET", path).body
        seen += [s["id"] for s in body["servers"]]
        following = body.get("servers_links", [{"href": ""}])[0]["href"]
        path = following.removeprefix("http://x:1/compute/v2.1")
    assert len(seen) == len(set(seen)) == 2500
    assert bench.nova("GET", "/servers?all_tenants=1&limit=0").body == {"servers": []}


def test_filters(bench: Bench) -> None:
    red = bench.servers(2, name="red", vm_state="stopped")
    blue = bench.servers(2, "compute2", name="blue", states={"locked": True})
    bench.sleep(100)
    (late,) = bench.servers(1, user="admin")

    def found(query: str, path: str = "/servers") -> set[str]:
        answer = bench.nova("GET", f"{path}?all_tenants=1&{query}")
        assert answer.status == 200
        return {server["id"] for server in answer.body["servers"]}

    everything = {*red, *blue, late}
    assert found("") == everything
    assert found("status=SHUTOFF") == set(red)
    assert found("status=ERROR&status=SHUTOFF") == set(red)
    assert found("status=REBUILD") == set()
    assert found("vm_state=active") == {*blue, late}
    assert found("name=blu") == set(blue)
    assert found("name=(") == set()
    assert found(f"uuid={late}") == {late}
    assert found("locked=True", "/servers/detail") == set(blue)
    project = bench.show(late)["tenant_id"]
    assert found(f"project_id={project}") == {late}
    assert found("changes-since=2026-01-01T00:01:00Z") == {late}
    assert found("changes-since=2026-01-01T01:01:00%2B01:00") == {late}
    assert found("changes-before=2026-01-01T00:01:00Z") == everything - {late}
    assert bench.nova("GET", "/servers/detail?changes-since=noon").status == 400
    assert bench.nova("GET", "/servers/detail?limit=-1").status == 400
    assert bench.nova("GET", "/servers?status=GOOD", version="2.37").body == {"servers": []}
    assert bench.nova("GET", "/servers?what=1", version="2.74").status == 200


def test_metadata(bench: Bench) -> None:
    (server,) = bench.servers(1, metadata={"HA_Enabled": "True"})
    bench.nova("POST", f"/servers/{server}/metadata", {"metadata": {"a": "1"}})
    shown = bench.nova("GET", f"/servers/{server}/metadata").body["metadata"]
    assert shown == {"HA_Enabled": "True", "a": "1"}
    assert bench.nova("DELETE", f"/servers/{server}/metadata/a").status == 204
    assert bench.nova("DELETE", f"/servers/{server}/metadata/a").status == 404
    bench.nova("PUT", f"/servers/{server}/metadata", {"metadata": {}})
    assert bench.show(server)["metadata"] == {}
    assert bench.nova("POST", f"/servers/{server}/metadata", {}).status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Malformed request body"),
        ({"sing": None}, "There is no such action: sing"),
        ({"os-resetState": {"state": "good"}}, "'good' is not one of ['active', 'error']"),
        ({"evacuate": {"force": True, "host": "compute2"}}, "('force' was unexpected)"),
        ({"evacuate": None}, "Invalid input for field/attribute evacuate."),
    ],
)
def test_actions_that_are_refused(bench: Bench, body: object, message: str) -> None:
    (server,) = bench.servers(1)
    answer = bench.nova("POST", f"/servers/{server}/action", body)
    assert answer.status == 400
    assert message in answer.body["badRequest"]["message"]


def test_evacuate_by_microversion(bench: Bench) -> None:
    first, second, third, fourth = bench.servers(4)
    bench.kill()
    assert bench.act(first, "evacuate", {"force": True}, version="2.67").status == 400
    forced = {"force": True, "host": "compute3"}
    bench.cloud.update_service(bench.cloud.state.hosts["compute3"].service, {"disabled": True})
    assert bench.act(first, "evacuate", forced, version="2.67").status == 200
    assert bench.act(second, "evacuate", {}, version="2.13").status == 400
    old = bench.act(second, "evacuate", {"onSharedStorage": True}, version="2.13")
    assert old.body == {"adminPass": "sandbox"}
    assert bench.act(third, "evacuate", {}, version="2.95").status == 200
    bench.act(fourth, "os-resetState", {"state": "error"})
    assert bench.act(fourth, "evacuate", {}, version="2.95").status == 200
    bench.sleep(10)
    assert bench.states(first)[3] == "compute3"
    assert bench.states(third)[:3] == ("stopped", None, 4)
    assert bench.states(fourth)[0] == "active"


def test_flavors_and_limits(bench: Bench) -> None:
    assert bench.nova("GET", "/flavors").body["flavors"][0]["name"] == "tiny"
    assert bench.nova("GET", "/flavors/detail").body["flavors"][0]["swap"] == 0
    assert bench.nova("GET", "/flavors/2").body["flavor"]["vcpus"] == 2
    assert bench.nova("GET", "/flavors/9").status == 404
    assert bench.nova("GET", "/limits").body["limits"]["absolute"]["maxTotalCores"] == -1
    (server,) = bench.servers(1)
    assert bench.nova("GET", f"/servers/{server}/migrations").body == {"migrations": []}
    assert "id" in bench.show(server, version="2.46")["flavor"]


def test_versions_add_to_a_server(bench: Bench) -> None:
    (server,) = bench.servers(1)
    oldest, newest = bench.show(server, version="2.1"), bench.show(server, version="2.100")
    added = set(newest) - set(oldest)
    assert {"locked", "host_status", "tags", "locked_reason", "scheduler_hints"} <= added


def actions(bench: Bench, server: str, version: str = "2.90") -> list[dict[str, Any]]:
    path = f"/servers/{server}/os-instance-actions"
    shown: list[dict[str, Any]] = bench.nova("GET", path, version=version).body["instanceActions"]
    return shown


def test_what_was_done_to_a_server_is_listed_newest_first(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.sleep(10)
    request = bench.act(server, "os-stop").headers["x-openstack-request-id"]
    bench.sleep(1)
    bench.act(server, "os-start", user="demo")
    bench.sleep(1)
    bench.act(server, "lock", user="demo")
    bench.act(server, "lock", user="demo")  # does nothing, and is not written down
    assert bench.act(server, "os-start").status == 409  # nor is what is refused
    known = actions(bench, server)
    assert [each["action"] for each in known] == ["lock", "start", "stop", "create"]
    assert known[1]["user_id"] != known[2]["user_id"]
    assert known[2] == {
        "action": "stop",
        "instance_uuid": server,
        "request_id": request,
        "user_id": known[2]["user_id"],
        "project_id": known[2]["project_id"],
        "start_time": "2026-01-01T00:00:10.000000",
        "message": None,
        "updated_at": "2026-01-01T00:00:10.000000",
    }
    assert "updated_at" not in actions(bench, server, "2.57")[0]
    bench.control("PUT", "faults", {"clock_ahead_s": 60})  # of what writes the Date, too
    assert actions(bench, server)[2]["start_time"] == "2026-01-01T00:01:10.000000"


def test_a_stop_by_the_power_sync_names_nobody(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.control("POST", f"servers/{server}/crash")
    bench.sleep(bench.cloud.settings.power_sync_s + 1)
    newest = actions(bench, server)[0]
    assert (newest["action"], newest["user_id"]) == ("stop", None)


def test_the_actions_of_a_deleted_server_are_shown_from_2_21_on(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.nova("DELETE", f"/servers/{server}")
    bench.sleep(1)
    assert [each["action"] for each in actions(bench, server)] == ["delete", "create"]
    path = f"/servers/{server}/os-instance-actions"
    assert bench.nova("GET", path, version="2.20").status == 404


def test_reboot(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.control("POST", f"servers/{server}/crash")
    assert bench.act(server, "reboot", {"type": "HARD"}).status == 202
    assert bench.states(server) == ("active", "rebooting_hard", 1, "compute1")
    bench.sleep(2)
    assert bench.states(server) == ("active", None, 1, "compute1")
    assert bench.cloud.state.servers[server].guest_up
    (stopped,) = bench.servers(1, vm_state="stopped")
    assert bench.act(stopped, "reboot", {"type": "SOFT"}).status == 409
    assert bench.act(stopped, "reboot", {"type": "COLD"}).status == 400
