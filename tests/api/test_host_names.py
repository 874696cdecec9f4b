# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A name in other case, or with another domain: refused, and the one that is meant is named."""

import pytest
from falcon import testing

from tests.api.conftest import Computes


@pytest.fixture
def client(app) -> testing.TestClient:  # type: ignore[no-untyped-def]
    return testing.TestClient(app)


def _segment(client: testing.TestClient) -> str:
    segment = {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
    made = client.simulate_post("/v1/segments", json={"segment": segment})
    return str(made.json["segment"]["uuid"])


def _register(client: testing.TestClient, segment: str, name: str) -> testing.Result:
    host = {"name": name, "type": "COMPUTE", "control_attributes": "SSH"}
    return client.simulate_post(f"/v1/segments/{segment}/hosts", json={"host": host})


def test_a_report_names_the_host_that_is_meant(client: testing.TestClient, nova: Computes) -> None:
    nova.names.add("compute2.example.org")
    segment = _segment(client)
    for name in ("compute1", "compute2.example.org"):
        assert _register(client, segment, name).status_code == 201
    said = {}
    for name in ("Compute1", "compute1.example.org", "compute2", "compute3"):
        report = {
            "type": "PROCESS",
            "hostname": name,
            "generated_time": "2026-01-02T03:04:05",
            "payload": {"event": "STOPPED", "process_name": "nova-compute"},
        }
        answer = client.simulate_post("/v1/notifications", json={"notification": report})
        assert answer.status_code == 400
        said[name] = answer.json["badRequest"]["message"].partition(" in any segment")[2]
    assert said == {
        "Compute1": "; did you mean 'compute1'?",
        "compute1.example.org": "; did you mean 'compute1'?",
        "compute2": "; did you mean 'compute2.example.org'?",
        "compute3": ".",
    }


def test_a_host_is_registered_by_the_name_that_nova_has(client: testing.TestClient) -> None:
    answer = _register(client, _segment(client), "COMPUTE1.example.org")
    assert answer.status_code == 400
    assert answer.json["badRequest"]["message"] == (
        "name: Nova has no compute service on a host named 'COMPUTE1.example.org'; did you mean "
        "'compute1'?"
    )
