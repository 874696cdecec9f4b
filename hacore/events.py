# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Versioned notifications on the message bus: what the API and the engine do, for other programs.

Event types, payloads and topic are Masakari's, so that consumers written for it keep
working; doc/events.md lists them.  Best effort: it never blocks a request or a
recovery and never fails one.  Off unless [oslo_messaging_notifications] driver is set.
"""

import contextlib
import dataclasses
import datetime
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import oslo_messaging
from oslo_config import cfg

from hacore.errors import ConfigError

LOG = logging.getLogger(__name__)

TOPIC = "versioned_notifications"  # Masakari's, whatever [oslo_messaging_notifications] topics is
#: Events that wait for the bus; more are dropped.
MOST_WAITING = 1000

Facts = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Shape:
    """A versioned object of Masakari, and the fields that are sent of it."""

    name: str
    version: str
    fields: tuple[str, ...]

    def of(self, facts: Facts) -> dict[str, Any]:
        """Return the object as it goes over the bus; a field that is not known is left out."""
        return {
            "masakari_object.name": self.name,
            "masakari_object.namespace": "masakari",
            "masakari_object.version": self.version,
            "masakari_object.data": {
                field: _value(field, facts[field]) for field in self.fields if field in facts
            },
        }


_SEGMENT = ("id", "uuid", "name", "service_type", "description", "recovery_method", "enabled")

#: By the first word of an event type.
PAYLOADS = {
    "segment": Shape("SegmentApiPayload", "1.1", (*_SEGMENT, "fault")),
    "host": Shape(
        "HostApiPayload",
        "1.0",
        (
            "id",
            "uuid",
            "name",
            "failover_segment_id",
            "failover_segment",
            "type",
            "reserved",
            "control_attributes",
            "on_maintenance",
            "fault",
        ),
    ),
    "notification": Shape(
        "NotificationApiPayload",
        "1.0",
        (
            "id",
            "notification_uuid",
            "generated_time",
            "source_host_uuid",
            "type",
            "payload",
            "status",
            "message",  # Masakari has no such field
            "fault",
        ),
    ),
}
#: Objects within them, by field.
NESTED = {
    "failover_segment": Shape(
        "FailoverSegment",
        "1.1",
        (*_SEGMENT, "created_at", "updated_at", "deleted_at", "deleted"),
    ),
    "fault": Shape(
        "ExceptionPayload",
        "1.0",
        ("module_name", "function_name", "exception", "exception_message", "traceback"),
    ),
}
_TIMES = frozenset({"generated_time", "created_at", "updated_at", "deleted_at"})


def _value(field: str, value: Any) -> Any:
    if value is None:
        return None
    if field in NESTED:
        return NESTED[field].of(value)
    if field in _TIMES:  # in UTC: a datetime, or as hacore.api shows it
        text = value.isoformat() if isinstance(value, datetime.datetime) else str(value)
        return f"{text[:19]}Z"
    return value


def _fault(exc: BaseException) -> Facts:
    frames = list(traceback.walk_tb(exc.__traceback__))
    module, function = type(exc).__module__, "unknown"
    if frames:
        code = frames[-1][0]
        module, function = code.f_globals.get("__name__", "unknown"), code.f_code.co_name
    return {
        "module_name": module,
        "function_name": function,
        "exception": type(exc).__name__,
        "exception_message": str(exc),
        # not what caused it: a cause can quote statements and their values
        "traceback": "".join(traceback.format_exception(exc, chain=False)),
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One notification on the bus, but for what oslo.messaging adds."""

    type: str
    payload: dict[str, Any]

    @property
    def is_error(self) -> bool:
        return self.type.endswith(".error")


class Events:
    """Where events go to.

    :param send: called for every event; never blocks, never raises.  Without it there are none.
    """

    def __init__(self, send: Callable[[Event], None] | None = None) -> None:
        self._send = send

    def start(self, action: str, facts: Facts) -> "Action":
        """Tell that `action` begins; what it returns is to tell how it ends."""
        self.emit(action, "start", facts)
        return Action(self, action, dict(facts))

    @contextlib.contextmanager
    def emitting(self, action: str, facts: Facts) -> Iterator[dict[str, Any]]:
        """Tell when `action` starts, and that it ends, or its error if it raises.

        :param facts: what is known of its object, by field; what the caller adds to
            the dictionary that it gets is told at the end.
        """
        begun = self.start(action, facts)
        try:
            yield begun.facts
        except Exception as exc:
            begun.error(exc)
            raise
        begun.end()

    def emit(self, action: str, phase: str, facts: Facts, exc: BaseException | None = None) -> None:
        """Tell of one phase."""
        if self._send is not None:
            shape = PAYLOADS[action.partition(".")[0]]
            fault = None if exc is None else _fault(exc)
            self._send(Event(f"{action}.{phase}", shape.of({**facts, "fault": fault})))

    def stop(self) -> None:
        """Send what waits to be sent."""


class Action:
    """An action that has been told to have started."""

    def __init__(self, events: Events, action: str, facts: dict[str, Any]) -> None:
        self.facts = facts
        self._events = events
        self._action = action

    def end(self, **facts: Any) -> None:
        """It has succeeded."""
        self._events.emit(self._action, "end", self.facts | facts)

    def error(self, exc: BaseException, **facts: Any) -> None:
        """It has failed."""
        self._events.emit(self._action, "error", self.facts | facts, exc)


def connect(conf: cfg.ConfigOpts, binary: str) -> Events:
    """Return what sends events to the bus; it sends none and has no thread if no driver is set.

    :param binary: ``hacore-api`` or ``hacore-engine``; events name it as their publisher.

    Raises ConfigError if [oslo_messaging_notifications] transport_url is wrong.
    """
    try:
        transport = oslo_messaging.get_notification_transport(conf)
    except oslo_messaging.MessagingException as exc:
        raise ConfigError(
            f"Option [oslo_messaging_notifications] transport_url is wrong: {exc}."
        ) from exc
    if not set(conf.oslo_messaging_notifications.driver) - {"", "noop"}:
        transport.cleanup()
        return Events()
    return _Connected(_Sender(transport, f"{binary}:{conf.host}"))


class _Connected(Events):
    def __init__(self, sender: "_Sender") -> None:
        super().__init__(sender.put)
        self._sender = sender

    def stop(self) -> None:
        self._sender.stop()


class _Sender:
    """Sends from a thread of its own what waits in a queue of limited length."""

    def __init__(self, transport: Any, publisher: str) -> None:
        # retry=0: a broker that is away costs an event and no time
        self._notifier = oslo_messaging.Notifier(
            transport, publisher_id=publisher, topics=[TOPIC], retry=0
        )
        self._waiting: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
        self._full = False
        self._away = False
        self._thread = threading.Thread(target=self._run, name=f"events-{publisher}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Have it sent, soon; or not at all if too many wait.  Returns at once."""
        try:
            self._waiting.put_nowait(event)
            self._full = False
        except queue.Full:
            if not self._full:
                LOG.warning("%d events wait for the bus; dropping what is more", MOST_WAITING)
            self._full = True

    def stop(self) -> None:
        """Send what waits, as far as that goes in a moment."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=2)
        self._thread.join(timeout=3)

    def _run(self) -> None:
        with _Failures() as failures:
            while (event := self._waiting.get()) is not None:
                send = self._notifier.error if event.is_error else self._notifier.info
                try:
                    send({}, event.type, event.payload)
                    why = failures.take()
                except Exception as exc:  # the top of a thread that must not end
                    why = exc
                if why is not None and not self._away:
                    LOG.warning("events are lost, the message bus does not take them: %s", why)
                self._away = why is not None


class _Failures(logging.Filter):
    """Takes what oslo.messaging logs instead of raising it.

    That is a traceback and the whole payload, for each event that a broker does not take.
    """

    _LOGGERS = ("oslo_messaging.notify.messaging", "oslo_messaging.notify.notifier")

    def __init__(self) -> None:
        super().__init__()
        self._mine = threading.get_ident()
        self._why: object = None

    def __enter__(self) -> "_Failures":
        for name in self._LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for name in self._LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep out of the log what this thread has to say there."""
        if record.thread != self._mine or record.levelno < logging.ERROR:
            return True
        self._why = record.exc_info[1] if record.exc_info else record.getMessage()
        return False

    def take(self) -> object:
        """Return why the last event was not sent; None if it was."""
        why, self._why = self._why, None
        return why
