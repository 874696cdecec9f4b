# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Segments, hosts and notifications: what the recorded contract leaves open."""

import datetime
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from hacore import errors
from hacore.db.engine import Database
from hacore.db.models import Host, Move, Notification
from hacore.resources import HOST, NOTIFICATION, SEGMENT, VMOVE
from hacore.states import LIVE, NotificationStatus

from .conftest import Client, Computes, report

NOWHERE = "11111111-2222-3333-4444-555555555555"


def reason(answer: Any) -> str:
    """The message of the fault that an answer must be."""
    ((name, fault),) = answer.json.items()
    assert fault["code"] == answer.status_code, name
    return str(fault["message"])


def set_status(db: Database, notification: dict[str, Any], status: NotificationStatus) -> None:
    with db.write() as session:
        session.execute(
            sa.update(Notification)
            .where(Notification.uuid == notification["notification_uuid"])
            .values(status=status)
        )


@pytest.mark.parametrize(
    ("written", "meant"), [("off", False), ("No", False), ("ON", True), (False, False)]
)
def test_enabled_is_stored_as_it_was_meant(client: Client, written: Any, meant: bool) -> None:
    segment = client.segment()
    path = f"/v1/segments/{segment['uuid']}"

    answer = client.at("1.2").put(path, {"segment": {"enabled": written}})

    assert answer.json["segment"]["enabled"] is meant
    assert client.get(path).json["segment"]["enabled"] is meant


@pytest.mark.parametrize(("asked", "names"), [("True", ["up"]), ("no", ["down"])])
def test_the_enabled_filter_accepts_words(client: Client, asked: str, names: list[str]) -> None:
    client = client.at("1.2")
    client.segment("up")
    client.segment("down", enabled=False)

    found = client.get(f"/v1/segments?enabled={asked}").json["segments"]

    assert [segment["name"] for segment in found] == names


def test_a_name_may_not_end_in_a_line_feed(client: Client) -> None:
    body = {"name": "x\n", "recovery_method": "auto", "service_type": "COMPUTE"}

    answer = client.post("/v1/segments", {"segment": body})

    assert answer.status_code == 400
    assert reason(answer).startswith("segment/name: ")


def test_hosts_are_filtered_by_name_and_control_attributes(client: Client) -> None:
    segment = client.segment()
    for number, control in enumerate(("SSH", "IPMI"), start=1):
        client.host(segment, f"compute{number}", control_attributes=control)
    path = f"/v1/segments/{segment['uuid']}/hosts"

    by_name = client.get(f"{path}?name=compute2").json["hosts"]
    by_control = client.get(f"{path}?control_attributes=SSH").json["hosts"]

    assert [host["name"] for host in by_name] == ["compute2"]
    assert [host["name"] for host in by_control] == ["compute1"]


def test_a_list_can_be_sorted_by_each_of_its_keys(client: Client) -> None:
    segment = client.segment()
    client.host(segment)
    notification = client.notification()["notification_uuid"]
    client = client.at("1.3")

    for path, resource in {
        "/v1/segments": SEGMENT,
        f"/v1/segments/{segment['uuid']}/hosts": HOST,
        "/v1/notifications": NOTIFICATION,
        f"/v1/notifications/{notification}/vmoves": VMOVE,
    }.items():
        for key in resource.sort_keys:
            assert client.get(f"{path}?sort_key={key}").status_code == 200, (path, key)


def test_unavailable_nova_is_503_with_retry_after(client: Client, nova: Computes) -> None:
    segment = client.segment()
    nova.error = errors.TransientNovaError("connection to http://secret-place refused")

    answer = client.post(
        f"/v1/segments/{segment['uuid']}/hosts",
        {"host": {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}},
    )

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "secret-place" not in answer.text


def _with_subclasses(error: type[errors.HacoreError]) -> list[type[errors.HacoreError]]:
    return [error, *(each for sub in error.__subclasses__() for each in _with_subclasses(sub))]


@pytest.mark.parametrize(
    "error", [each for each in _with_subclasses(errors.HacoreError) if each.http_status == 503]
)
def test_only_what_a_retry_may_heal_is_to_be_tried_again(
    client: Client, nova: Computes, error: type[errors.HacoreError]
) -> None:
    healed = (errors.Unavailable, errors.TransientNovaError, errors.NovaOutcomeUnknown)
    segment = client.segment()
    nova.error = error("secret")

    answer = client.post(
        f"/v1/segments/{segment['uuid']}/hosts",
        {"host": {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}},
    )

    assert answer.status_code == 503
    assert ("Retry-After" in answer.headers) is issubclass(error, healed)
    assert reason(answer).lower().count("again") == int(issubclass(error, healed))
    assert "secret" not in answer.text


def test_nova_is_asked_only_when_a_name_is_new(client: Client, nova: Computes) -> None:
    segment = client.segment()
    host = client.host(segment)
    path = f"/v1/segments/{segment['uuid']}/hosts/{host['uuid']}"

    client.put(path, {"host": {"type": "X"}})
    client.put(path, {"host": {"name": "compute1", "type": "Y"}})

    assert nova.asked == ["compute1"]


def test_whoever_sets_maintenance_takes_it_over(client: Client, db: Database) -> None:
    segment = client.segment()
    host = client.host(segment)
    with db.write() as session:
        session.execute(sa.update(Host).values(on_maintenance=True, maintenance_by=NOWHERE))

    path = f"/v1/segments/{segment['uuid']}/hosts/{host['uuid']}"
    assert client.put(path, {"host": {"on_maintenance": True}}).status_code == 200

    with db.read() as session:
        assert session.scalar(sa.select(Host.maintenance_by)) is None


@pytest.mark.parametrize("status", list(NotificationStatus))
def test_what_is_under_recovery_stays_as_it_is(
    client: Client, db: Database, status: NotificationStatus
) -> None:
    segment = client.segment()
    host = client.host(segment)
    set_status(db, client.notification(), status)
    segment_path = f"/v1/segments/{segment['uuid']}"
    host_path = f"{segment_path}/hosts/{host['uuid']}"

    changed = client.put(segment_path, {"segment": {"description": "x"}}).status_code
    host_changed = client.put(host_path, {"host": {"type": "X"}}).status_code
    host_deleted = client.delete(host_path).status_code
    deleted = client.delete(segment_path).status_code

    expected = (409,) * 4 if status in LIVE else (200, 200, 204, 204)
    assert (changed, host_changed, host_deleted, deleted) == expected


def test_a_notification_wakes_the_engines_once(client: Client, wakes: list[str]) -> None:
    client.host(client.segment())

    client.notification()
    client.post("/v1/notifications", {"notification": report()})  # a duplicate
    client.post("/v1/notifications", {"notification": report(type="DISK")})

    assert wakes == ["wake"]


def test_the_request_id_of_the_monitor_is_kept(client: Client, db: Database) -> None:
    client.host(client.segment())
    request_id = f"req-{uuid.uuid4()}"

    answer = client.post(
        "/v1/notifications",
        {"notification": report()},
        headers={"X-Openstack-Request-Id": request_id},
    )

    assert answer.headers["x-openstack-request-id"] != request_id  # ours; theirs is the global one
    with db.read() as session:
        assert session.scalar(sa.select(Notification.request_id)) == request_id


def test_without_one_of_its_own_ours_is_kept(client: Client, db: Database) -> None:
    client.host(client.segment())

    answer = client.post("/v1/notifications", {"notification": report()})

    with db.read() as session:
        stored = session.scalar(sa.select(Notification.request_id))
    assert stored == answer.headers["x-openstack-request-id"]


def test_fractions_of_a_second_are_kept(client: Client) -> None:
    client.host(client.segment())
    made = client.notification(generated_time="2026-01-02T03:04:05.123456+01:00")

    shown = client.get(f"/v1/notifications/{made['notification_uuid']}").json["notification"]

    assert shown["generated_time"] == made["generated_time"] == "2026-01-02T02:04:05.123456"


@pytest.mark.parametrize(
    "written",
    ["2026-01-02T03:04:05+99:99", "2026-W01-1", "0999-01-01T00:00:00"],
)
def test_times_are_parsed_strictly(client: Client, written: str) -> None:
    client.host(client.segment())

    answer = client.post("/v1/notifications", {"notification": report(generated_time=written)})

    assert answer.status_code == 400
    assert reason(answer).startswith("notification/generated_time: ")


def test_moves_are_new_in_1_3(client: Client, db: Database) -> None:
    client.host(client.segment())
    notification = client.notification()
    now = datetime.datetime.now(datetime.UTC)
    with db.write() as session:
        session.add(
            Move(
                uuid=str(uuid.uuid4()),
                created_at=now,
                notification_uuid=notification["notification_uuid"],
                instance_uuid=str(uuid.uuid4()),
                instance_name="db1",
                source_host="compute1",
                start_time=now,
                type="evacuation",
                status="ongoing",
                position=0,
                vm_state="active",
                power_state=1,
            )
        )
    path = f"/v1/notifications/{notification['notification_uuid']}/vmoves"

    (move,) = client.at("1.3").get(path).json["vmoves"]
    shown = client.at("1.3").get(f"{path}/{move['uuid']}").json["vmove"]
    filtered = client.at("1.3").get(f"{path}?status=failed").json["vmoves"]

    assert move == shown
    assert (move["instance_name"], move["status"], move["dest_host"]) == ("db1", "ongoing", None)
    assert filtered == []
    assert client.at("1.2").get(path).status_code == 404
    assert client.at("1.2").get(f"{path}/{move['uuid']}").status_code == 404


def test_head_is_get_without_a_body(client: Client) -> None:
    segment = client.segment()
    path = f"/v1/segments/{segment['uuid']}"

    got, head = client.get(path), client.ask("HEAD", path)

    assert (head.status_code, head.text) == (200, "")
    assert head.headers["Content-Length"] == str(len(got.content))
    assert head.headers["OpenStack-API-Version"] == "instance-ha 1.0"
    assert client.ask("HEAD", f"/v1/segments/{NOWHERE}").status_code == 404


@pytest.mark.parametrize("path", ["/v1/segments", f"/v1/segments/{NOWHERE}", "/v1/notifications"])
def test_405_says_what_is_allowed(client: Client, path: str) -> None:
    answer = client.ask("PATCH", path, json={})

    assert answer.status_code == 405
    assert "badMethod" in answer.json
    assert "GET" in answer.headers["Allow"]
