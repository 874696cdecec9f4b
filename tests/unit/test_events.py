# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Events on the bus: their form, and that a bus without an answer does no harm."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg
from oslo_messaging.conffixture import ConfFixture
from oslo_messaging.notify import _impl_test as in_memory

from hacore import events
from hacore.errors import ConfigError, Duplicate
from hacore.events import Event, Events

PATIENCE_S = 20
DOCUMENT = Path(__file__).resolve().parents[2] / "doc" / "events.md"

SEGMENT = {
    "id": 1,
    "uuid": "5f9f9a40-0c2a-4f53-9e3d-4b1f0d1c1a01",
    "name": "rack 1",
    "service_type": "COMPUTE",
    "description": None,
    "recovery_method": "auto",
    "enabled": True,
    "created_at": "2026-01-31T12:00:00.000000",
    "updated_at": None,
    "deleted_at": None,
    "deleted": False,
}
HOST = {
    "id": 2,
    "uuid": "5f9f9a40-0c2a-4f53-9e3d-4b1f0d1c1a02",
    "name": "compute1",
    "failover_segment_id": SEGMENT["uuid"],
    "failover_segment": SEGMENT,
    "type": "COMPUTE",
    "reserved": False,
    "control_attributes": "SSH",
    "on_maintenance": False,
}
NOTIFICATION = {
    "id": 3,
    "notification_uuid": "5f9f9a40-0c2a-4f53-9e3d-4b1f0d1c1a03",
    "generated_time": "2026-01-31T12:00:00.000000",
    "source_host_uuid": HOST["uuid"],
    "type": "COMPUTE_HOST",
    "payload": {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"},
    "status": "finished",
    "message": "3 evacuated, 1 skipped.",
}
FACTS: dict[str, dict[str, Any]] = {
    "segment": SEGMENT,
    "host": HOST,
    "notification": NOTIFICATION,
}
ACTIONS = [
    *(f"{what}.{change}" for what in ("segment", "host") for change in ("create", "update")),
    "segment.delete",
    "host.delete",
    "notification.create",
    "notification.process",
]


@pytest.fixture
def bus(conf: cfg.ConfigOpts) -> Iterator[cfg.ConfigOpts]:
    """Options with those of oslo.messaging, on an in-process bus; the driver is set by tests."""
    fixture = ConfFixture(conf, transport_url="fake://")
    fixture.setUp()
    conf.set_override("host", "machine")
    in_memory.reset()
    yield conf
    fixture.cleanUp()


def drive(bus: cfg.ConfigOpts, *drivers: str) -> None:
    bus.set_override("driver", list(drivers), group="oslo_messaging_notifications")


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("events-")}


def wait_for(question: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not question() and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert question()


# ------------------------------------------------------------------ form


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_that_succeeds_starts_and_ends(bus: cfg.ConfigOpts, action: str) -> None:
    drive(bus, "test")
    emitter = events.connect(bus, "hacore-api")
    kind = action.partition(".")[0]
    with emitter.emitting(action, {"type": "x", "unknown to consumers": 1}) as event:
        event.update(FACTS[kind])
    emitter.stop()

    messages = [message for _context, message, _priority, _retry in in_memory.NOTIFICATIONS]

    assert [message["event_type"] for message in messages] == [f"{action}.start", f"{action}.end"]
    assert {message["publisher_id"] for message in messages} == {"hacore-api:machine"}
    assert {message["priority"] for message in messages} == {"INFO"}
    schema = events.PAYLOADS[kind]
    for message in messages:
        payload = message["payload"]
        assert payload["masakari_object.name"] == schema.name
        assert payload["masakari_object.namespace"] == "masakari"
        assert payload["masakari_object.version"] == schema.version
        assert payload["masakari_object.data"]["fault"] is None
    start, end = (message["payload"]["masakari_object.data"] for message in messages)
    assert start == {"fault": None} | ({} if kind == "segment" else {"type": "x"})
    assert set(end) == set(schema.fields)
    json.dumps(messages)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_that_fails_carries_the_fault(bus: cfg.ConfigOpts, action: str) -> None:
    drive(bus, "test")
    emitter = events.connect(bus, "hacore-api")
    cause = ValueError("INSERT INTO secrets")
    with pytest.raises(Duplicate), emitter.emitting(action, FACTS[action.partition(".")[0]]):
        raise Duplicate("name: it is taken.") from cause
    emitter.stop()

    start, error = (message for _context, message, _priority, _retry in in_memory.NOTIFICATIONS)

    assert start["event_type"] == f"{action}.start"
    assert (error["event_type"], error["priority"]) == (f"{action}.error", "ERROR")
    fault = error["payload"]["masakari_object.data"]["fault"]
    assert fault["masakari_object.name"] == "ExceptionPayload"
    data = fault["masakari_object.data"]
    assert set(data) == set(events.NESTED["fault"].fields)
    assert data["exception"] == "Duplicate"
    assert data["exception_message"] == "name: it is taken."
    assert data["module_name"] == __name__
    assert data["function_name"] == "test_an_action_that_fails_carries_the_fault"
    assert "Duplicate: name: it is taken." in data["traceback"]
    assert "secrets" not in json.dumps(error)


def test_times_and_nested_objects_are_as_in_masakari() -> None:
    emitted: list[Event] = []
    Events(emitted.append).emit("host.create", "end", HOST)

    segment = emitted[0].payload["masakari_object.data"]["failover_segment"]

    assert segment["masakari_object.name"] == "FailoverSegment"
    assert segment["masakari_object.data"]["created_at"] == "2026-01-31T12:00:00Z"
    assert segment["masakari_object.data"]["updated_at"] is None
    assert set(segment["masakari_object.data"]) == set(events.NESTED["failover_segment"].fields)


def test_listeners_of_masakaris_topic_get_them(bus: cfg.ConfigOpts) -> None:
    drive(bus, "messagingv2")
    got: list[tuple[str, str, str]] = []

    class Endpoint:
        def info(self, _context: Any, publisher: str, type_: str, *_rest: Any) -> None:
            got.append(("info", publisher, type_))

        def error(self, _context: Any, publisher: str, type_: str, *_rest: Any) -> None:
            got.append(("error", publisher, type_))

    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(bus),
        [oslo_messaging.Target(topic="versioned_notifications")],
        [Endpoint()],
        executor="threading",
    )
    listener.start()
    emitter = events.connect(bus, "hacore-engine")
    with pytest.raises(Duplicate), emitter.emitting("segment.create", SEGMENT):
        raise Duplicate("no")
    emitter.stop()
    wait_for(lambda: len(got) == 2)
    listener.stop()
    listener.wait()

    assert sorted(got) == [
        ("error", "hacore-engine:machine", "segment.create.error"),
        ("info", "hacore-engine:machine", "segment.create.start"),
    ]


# -------------------------------------------------------------- no harm


@pytest.mark.parametrize("drivers", [[], ["noop"], [""]])
def test_without_a_driver_there_are_no_events_and_no_thread(
    bus: cfg.ConfigOpts, drivers: list[str]
) -> None:
    drive(bus, *drivers)
    before = threads()
    emitter = events.connect(bus, "hacore-api")
    with emitter.emitting("segment.create", SEGMENT):
        pass
    emitter.stop()

    assert threads() == before
    assert in_memory.NOTIFICATIONS == []


def test_an_unavailable_broker_costs_events_and_one_warning(
    bus: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    drive(bus, "messagingv2")
    bus.set_override("transport_url", "rabbit://guest:guest@127.0.0.1:1/")
    emitter = events.connect(bus, "hacore-api")
    for _ in range(5):
        with emitter.emitting("segment.create", SEGMENT):
            pass
    wait_for(lambda: "Failed to send" in caplog.text)
    emitter.stop()

    assert caplog.text.count("Failed to send events to the message bus") == 1
    assert "Could not send notification" not in caplog.text


def test_what_the_bus_does_not_accept_in_time_is_dropped(
    bus: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drive(bus, "test")
    monkeypatch.setattr(events, "MOST_WAITING", 3)
    sending, go_on = threading.Event(), threading.Event()

    def notify(*_arguments: Any) -> None:
        sending.set()
        go_on.wait(PATIENCE_S)

    with monkeypatch.context() as patched:
        patched.setattr(in_memory.TestDriver, "notify", notify)
        emitter = events.connect(bus, "hacore-api")
        emitter.emit("segment.create", "start", SEGMENT)
        assert sending.wait(PATIENCE_S)
        for _ in range(10):
            emitter.emit("segment.create", "end", SEGMENT)
        dropped = [record for record in caplog.records if "dropping" in record.message]
        go_on.set()
        wait_for(lambda: not emitter._sender._waiting.qsize())  # type: ignore[attr-defined]
    emitter.emit("segment.delete", "end", SEGMENT)  # there is room again
    emitter.stop()

    assert len(dropped) == 1
    assert [message["event_type"] for _, message, _, _ in in_memory.NOTIFICATIONS] == [
        "segment.delete.end"
    ]


def test_a_driver_that_fails_is_an_unavailable_broker(
    bus: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drive(bus, "test")

    def notify(*_arguments: Any) -> None:
        raise OSError("no route")

    with monkeypatch.context() as patched:
        patched.setattr(in_memory.TestDriver, "notify", notify)
        emitter = events.connect(bus, "hacore-api")
        emitter.emit("segment.create", "start", SEGMENT)
        emitter.emit("segment.create", "end", SEGMENT)
        wait_for(lambda: "no route" in caplog.text)
        wait_for(lambda: not emitter._sender._waiting.qsize())  # type: ignore[attr-defined]
    emitter.stop()

    assert caplog.text.count("no route") == 1


def test_errors_of_others_stay_in_the_log(
    bus: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    drive(bus, "test")
    emitter = events.connect(bus, "hacore-api")
    logging.getLogger("oslo_messaging.notify.messaging").error("not ours")
    emitter.stop()

    assert "not ours" in caplog.text


def test_a_wrong_transport_url_is_named(bus: cfg.ConfigOpts) -> None:
    bus.set_override("transport_url", "carrier-pigeon://", group="oslo_messaging_notifications")
    with pytest.raises(ConfigError, match="oslo_messaging_notifications"):
        events.connect(bus, "hacore-api")


# ------------------------------------------------------------- document


def sections() -> dict[str, str]:
    """The parts of the document by heading."""
    parts = re.split(r"^##+ (.+)$", DOCUMENT.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str) -> list[str]:
    """The first column of the table: what stands in backquotes there."""
    return re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)


@pytest.mark.parametrize("schema", [*events.PAYLOADS.values(), *events.NESTED.values()])
def test_the_document_lists_the_fields(schema: events.PayloadSchema) -> None:
    assert table(sections()[f"{schema.name} {schema.version}"]) == list(schema.fields)


def test_the_document_lists_the_event_types() -> None:
    assert sorted(table(sections()["Event types"])) == sorted(ACTIONS)


@pytest.mark.parametrize("kind", FACTS)
def test_the_examples_are_what_is_emitted(kind: str) -> None:
    schema = events.PAYLOADS[kind]
    text = sections()[f"{schema.name} {schema.version}"]
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    emitted: list[Event] = []
    Events(emitted.append).emit(f"{kind}.x", "end", FACTS[kind])

    assert [example["payload"] for example in examples] == [emitted[0].payload]
