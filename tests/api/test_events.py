# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The events that the API emits."""

from typing import Any
from wsgiref.types import WSGIApplication

import pytest
from oslo_config import cfg

from hacore import events
from hacore.api.app import make_app
from hacore.db.engine import Database
from tests import factories

from .conftest import Client, Computes, report


@pytest.fixture
def emitted() -> list[events.Event]:
    """Grows by each event."""
    return []


@pytest.fixture
def app(
    conf: cfg.ConfigOpts, db: Database, nova: Computes, emitted: list[events.Event]
) -> WSGIApplication:
    conf.set_override("auth_strategy", "noauth2")
    return make_app(conf, db, nova, lambda: None, events.Events(emitted.append))


def types(emitted: list[events.Event]) -> list[str]:
    return [event.type for event in emitted]


def data(event: events.Event) -> dict[str, Any]:
    fields: dict[str, Any] = event.payload["masakari_object.data"]
    return fields


def test_segments(client: Client, emitted: list[events.Event]) -> None:
    segment = client.segment("rack")
    path = f"/v1/segments/{segment['uuid']}"
    assert client.put(path, {"segment": {"description": "x"}}).status_code == 200
    assert client.delete(path).status_code == 204

    assert types(emitted) == [
        f"segment.{change}.{phase}"
        for change in ("create", "update", "delete")
        for phase in ("start", "end")
    ]
    assert data(emitted[0])["name"] == "rack"
    assert "id" not in data(emitted[0])
    assert data(emitted[2]) == {"uuid": segment["uuid"], "description": "x", "fault": None}
    for ended in emitted[1::2]:
        assert set(data(ended)) == set(events.PAYLOADS["segment"].fields)
        assert data(ended)["uuid"] == segment["uuid"]


def test_hosts(client: Client, emitted: list[events.Event]) -> None:
    segment = client.segment()
    host = client.host(segment)
    path = f"/v1/segments/{segment['uuid']}/hosts/{host['uuid']}"
    assert client.put(path, {"host": {"reserved": True}}).status_code == 200
    assert client.delete(path).status_code == 204
    del emitted[:2]

    assert types(emitted) == [
        f"host.{change}.{phase}"
        for change in ("create", "update", "delete")
        for phase in ("start", "end")
    ]
    assert all(data(event)["failover_segment_id"] == segment["uuid"] for event in emitted)
    assert data(emitted[2])["reserved"] is True
    for ended in emitted[1::2]:
        assert set(data(ended)) == set(events.PAYLOADS["host"].fields)
        assert data(ended)["uuid"] == host["uuid"]
        within = data(ended)["failover_segment"]["masakari_object.data"]
        assert set(within) == set(events.NESTED["failover_segment"].fields)


def test_notifications(client: Client, emitted: list[events.Event]) -> None:
    client.host(client.segment())
    del emitted[:]
    notification = client.notification()

    assert types(emitted) == ["notification.create.start", "notification.create.end"]
    assert data(emitted[0]) == {
        "generated_time": "2026-01-01T00:00:00Z",
        "type": "COMPUTE_HOST",
        "payload": notification["payload"],
        "status": "new",
        "fault": None,
    }
    assert set(data(emitted[1])) == set(events.PAYLOADS["notification"].fields)
    assert data(emitted[1])["notification_uuid"] == notification["notification_uuid"]


def test_what_is_refused_once_it_has_started(
    client: Client, emitted: list[events.Event], db: Database
) -> None:
    segment = client.segment("rack")
    host = client.host(segment)
    client.notification()
    del emitted[:]
    body = {"segment": {"name": "rack", "recovery_method": "auto", "service_type": "x"}}
    path = f"/v1/segments/{segment['uuid']}"

    assert client.post("/v1/segments", body).status_code == 409
    assert client.put(path, {"segment": {"name": "x"}}).status_code == 409
    assert client.delete(path).status_code == 409
    assert client.delete(f"{path}/hosts/{host['uuid']}").status_code == 409
    assert client.post("/v1/notifications", {"notification": report()}).status_code == 409

    actions = ("segment.create", "segment.update", "segment.delete", "host.delete")
    assert types(emitted) == [
        f"{action}.{phase}"
        for action in (*actions, "notification.create")
        for phase in ("start", "error")
    ]
    faults = [data(event)["fault"]["masakari_object.data"] for event in emitted[1::2]]
    assert [fault["exception"] for fault in faults] == ["Duplicate", *["InUse"] * 3, "Duplicate"]


def test_what_is_refused_before_it_starts_has_no_event(
    client: Client, emitted: list[events.Event], db: Database
) -> None:
    segment = factories.segment(db)
    body = {"host": {"name": "nova-knows-it-not", "type": "x", "control_attributes": "x"}}

    assert client.post("/v1/segments", {"segment": {}}).status_code == 400
    assert client.post(f"/v1/segments/{segment.uuid}/hosts", body).status_code == 400
    assert client.post("/v1/notifications", {"notification": report(payload={})}).status_code == 400

    assert emitted == []
