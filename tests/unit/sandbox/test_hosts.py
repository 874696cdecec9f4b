# Licensed under the Apache License, Version 2.0; see LICENSE.
import dataclasses
from collections.abc import Callable

import pytest

from hacore_sandbox.settings import PRESETS
from tests.unit.sandbox.conftest import Bench


def _service(bench: Bench, host: str = "compute1", version: str = "2.90") -> dict[str, object]:
    path = f"/os-services?host={host}&binary=nova-compute"
    (service,) = bench.nova("GET", path, version=version).body["services"]
    found: dict[str, object] = service
    return found


def test_a_dead_host_is_up_until_service_down_time_is_over(bench: Bench) -> None:
    bench.sleep(10.5)  # half a second after a report
    bench.control("POST", "hosts/compute1/kill")
    bench.sleep(4.4)
    assert _service(bench)["state"] == "up"
    bench.sleep(0.2)
    assert _service(bench)["state"] == "down"
    assert _service(bench, "compute2")["state"] == "up"
    bench.sleep(3600)
    assert _service(bench, "compute2")["state"] == "up"


def test_a_host_comes_back_after_its_start(bench: Bench) -> None:
    bench.kill()
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(1.9)
    assert _service(bench)["state"] == "down"
    bench.sleep(0.2)
    assert _service(bench)["state"] == "up"


def test_a_host_killed_while_it_starts_stays_dead(bench: Bench) -> None:
    bench.kill()
    bench.control("POST", "hosts/compute1/revive")
    bench.sleep(1)
    bench.control("POST", "hosts/compute1/kill")
    bench.sleep(10)
    assert _service(bench)["state"] == "down"


def test_unknown_hosts(bench: Bench) -> None:
    for verb in ("kill", "revive"):
        answer = bench.control("POST", f"hosts/nowhere/{verb}")
        assert answer.status == 404
        assert "nowhere" in answer.body["error"]


def test_services_by_microversion(bench: Bench) -> None:
    assert _service(bench, version="2.1") == {
        "binary": "nova-compute",
        "host": "compute1",
        "id": 3,
        "zone": "nova",
        "status": "enabled",
        "state": "up",
        "updated_at": "2026-01-01T00:00:00.000000",
        "disabled_reason": None,
    }
    assert "forced_down" in _service(bench, version="2.11")
    assert len(str(_service(bench, version="2.53")["id"])) == 36


def test_updates_before_2_53(bench: Bench) -> None:
    def put(action: str, version: str = "2.11", **more: object) -> tuple[int, dict[str, object]]:
        body = {"host": "compute1", "binary": "nova-compute", **more}
        answer = bench.nova("PUT", f"/os-services/{action}", body, version=version)
        return answer.status, answer.body

    status, body = put("disable-log-reason", disabled_reason="why")
    assert status == 200
    assert body["service"] == {
        "host": "compute1",
        "binary": "nova-compute",
        "status": "disabled",
        "disabled_reason": "why",
    }
    assert _service(bench)["disabled_reason"] == "why"
    assert put("enable")[0] == 200
    assert _service(bench)["disabled_reason"] is None
    assert put("force-down", forced_down=True)[0] == 200
    assert _service(bench)["state"] == "down"
    assert put("disable-log-reason")[0] == 400
    assert put("force-down")[0] == 400
    assert put("sing")[0] == 404
    assert put("enable", host="nowhere")[0] == 404
    assert put("enable", binary="nova-scheduler")[0] == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "No updates were requested."),
        ({"status": "good"}, "'good' is not one of ['enabled', 'disabled']"),
        ({"nope": 1}, "Additional properties are not allowed ('nope' was unexpected)"),
        ({"status": "enabled", "disabled_reason": "x"}, "Specifying 'disabled_reason'"),
        ({"forced_down": "perhaps"}, "forced_down"),
        ([], "Malformed request body"),
    ],
)
def test_updates_that_are_refused(bench: Bench, body: object, message: str) -> None:
    answer = bench.nova("PUT", f"/os-services/{_service(bench)['id']}", body)
    assert answer.status == 400
    assert message in answer.body["badRequest"]["message"]


def test_a_change_waits_for_a_nova_compute_that_has_just_died(bench: Bench) -> None:
    """Nova holds the host for up and asks it in vain (seen on Nova 34, rpc_response_timeout)."""

    def put(status: str) -> float:
        path = f"/os-services/{_service(bench)['id']}"
        answer = bench.nova("PUT", path, {"status": status})
        assert answer.status == 200
        assert _service(bench)["status"] == status, "it is written down at once"
        return answer.delay_s

    settings = bench.cloud.settings
    assert put("disabled") < 1, "a nova-compute that lives answers"
    assert put("enabled") < 1
    bench.control("POST", "hosts/compute1/kill")
    assert put("disabled") > settings.rpc_timeout_s == 60
    assert put("disabled") < 1, "nothing has changed: nobody is asked"
    assert put("enabled") > settings.rpc_timeout_s
    bench.sleep(settings.service_down_s + settings.report_interval_s)
    assert put("disabled") < 1, "Nova sees the host down"


def test_hypervisors_may_have_another_name(make_bench: Callable[..., Bench]) -> None:
    settings = dataclasses.replace(PRESETS["real"], hypervisor_suffix=".example.org")
    bench = make_bench(settings)
    (server,) = bench.servers(1)
    shown = bench.show(server)
    assert shown["OS-EXT-SRV-ATTR:host"] == "compute1"
    assert shown["OS-EXT-SRV-ATTR:hypervisor_hostname"] == "compute1.example.org"
    listed = bench.nova("GET", "/os-hypervisors/detail").body["hypervisors"]
    assert listed[0]["hypervisor_hostname"] == "compute1.example.org"
    assert listed[0]["service"]["host"] == "compute1"
    one = bench.nova("GET", f"/os-hypervisors/{listed[0]['id']}", version="2.87")
    assert one.body["hypervisor"]["running_vms"] == 1
    assert bench.nova("GET", "/os-hypervisors/none").status == 404
    limited = bench.nova("GET", f"/os-hypervisors?limit=1&marker={listed[0]['id']}")
    assert [h["id"] for h in limited.body["hypervisors"]] == [listed[1]["id"]]


def test_migrations_by_microversion(bench: Bench) -> None:
    servers = bench.servers(2)
    bench.kill()
    for server in servers:
        bench.act(server, "evacuate", {})
        bench.sleep(2)

    def listed(query: str, version: str) -> list[dict[str, object]]:
        answer = bench.nova("GET", f"/os-migrations{query}", version=version)
        assert answer.status == 200
        found: list[dict[str, object]] = answer.body["migrations"]
        return found

    assert [m["id"] for m in listed("?limit=1&foo=1", "2.58")] == [1, 2]
    assert "uuid" not in listed("", "2.58")[0]
    assert "migration_type" not in listed("", "2.22")[0]
    newest, oldest = listed("", "2.59")
    assert (newest["id"], oldest["id"]) == (2, 1)
    assert "project_id" not in newest
    project = listed("", "2.80")[0]["project_id"]
    assert len(listed(f"?project_id={project}", "2.80")) == 2
    assert listed("?user_id=other", "2.80") == []
    page = bench.nova("GET", "/os-migrations?limit=1", version="2.59").body
    assert page["migrations_links"][0]["href"] == (
        f"http://x:1/compute/v2.1/os-migrations?limit=1&marker={newest['uuid']}"
    )
    assert bench.nova("GET", "/os-migrations?changes-before=x", version="2.59").status == 400
    bad = "?changes-since=2026-01-02T00:00:00&changes-before=2026-01-01T00:00:00"
    assert bench.nova("GET", f"/os-migrations{bad}").status == 400
    assert len(listed("?changes-before=2026-01-02T00:00:00", "2.66")) == 2


def test_changes_since_and_an_accepted_migration(bench: Bench) -> None:
    (server,) = bench.servers(1)
    bench.kill()
    bench.act(server, "evacuate", {})
    assert bench.migrations()[0]["updated_at"] is None
    assert bench.migrations("?changes-since=2026-01-01T00:00:00Z") == []
    bench.sleep(0.2)
    assert len(bench.migrations("?changes-since=2026-01-01T00:00:00Z")) == 1


def test_aggregates(bench: Bench) -> None:
    made = bench.nova("POST", "/os-aggregates", {"aggregate": {"name": "spare"}})
    path = f"/os-aggregates/{made.body['aggregate']['id']}"
    act = {"add_host": {"host": "compute4"}}
    shown = bench.nova("POST", f"{path}/action", act).body["aggregate"]
    assert (shown["name"], shown["hosts"], shown["metadata"]) == ("spare", ["compute4"], {})
    assert bench.nova("POST", f"{path}/action", act).status == 409
    metadata = {"set_metadata": {"metadata": {"a": "1", "b": None}}}
    shown = bench.nova("POST", f"{path}/action", metadata).body["aggregate"]
    assert shown["metadata"] == {"a": "1"}
    assert bench.nova("DELETE", path).status == 400
    bench.nova("POST", f"{path}/action", {"remove_host": {"host": "compute4"}})
    assert bench.nova("POST", f"{path}/action", {"sing": {}}).status == 400
    assert bench.nova("DELETE", path).status == 200
    assert bench.nova("GET", path).status == 404
    assert bench.nova("POST", "/os-aggregates", {"aggregate": {}}).status == 400
