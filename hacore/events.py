# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Events: versioned notifications on the message bus, about what the API and the engine do.

Event types, payloads and topic are Masakari's, so that consumers written for it keep
working; doc/events.md lists them.  Best effort: an event never delays or fails a
request or a recovery.  Off unless [oslo_messaging_notifications] driver is set.
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
from hacore.resources import HOST, NOTIFICATION, RESOURCES, SEGMENT, Resource

LOG = logging.getLogger(__name__)

TOPIC = "versioned_notifications"  # Masakari's, whatever [oslo_messaging_notifications] topics is
#: Events that may wait for the bus; further events are dropped.
MOST_WAITING = 1000

Facts = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class PayloadSchema:
    """A versioned object of Masakari, and the fields of it that events carry."""

    name: str
    version: str
    fields: tuple[str, ...]

    def envelope(self, facts: Facts) -> dict[str, Any]:
        """Return the object as it is sent; a field that `facts` does not have is left out."""
        return {
            "masakari_object.name": self.name,
            "masakari_object.namespace": "masakari",
            "masakari_object.version": self.version,
            "masakari_object.data": {
                field: _value(field, facts[field]) for field in self.fields if field in facts
            },
        }


def _payload(name: str, version: str, resource: Resource) -> PayloadSchema:
    fields = (field.name for field in resource.fields if field.in_events)
    return PayloadSchema(name, version, (*fields, "fault"))


#: By the first word of an event type.
PAYLOADS = {
    "segment": _payload("SegmentApiPayload", "1.1", SEGMENT),
    "host": _payload("HostApiPayload", "1.0", HOST),
    # Masakari's has no message
    "notification": _payload("NotificationApiPayload", "1.0", NOTIFICATION),
}
#: Objects within them, by field.
NESTED = {
    "failover_segment": PayloadSchema(
        "FailoverSegment", "1.1", tuple(field.name for field in SEGMENT.fields)
    ),
    "fault": PayloadSchema(
        "ExceptionPayload",
        "1.0",
        ("module_name", "function_name", "exception", "exception_message", "traceback"),
    ),
}
_TIMES = frozenset(
    field.name for resource in RESOURCES for field in resource.fields if field.is_time
)


def _value(field: str, value: Any) -> Any:
    if value is None:
        return None
    if field in NESTED:
        return NESTED[field].envelope(value)
    if field in _TIMES:  # in UTC: a datetime, or as `Resource.serialize` writes it
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
    """One event, without what oslo.messaging adds."""

    type: str
    payload: dict[str, Any]

    @property
    def is_error(self) -> bool:
        return self.type.endswith(".error")


class Events:
    """Emits events.

    :param send: called for every event; never blocks, never raises.  None: no events.
    """

    def __init__(self, send: Callable[[Event], None] | None = None) -> None:
        self._send = send

    def start(self, action: str, facts: Facts) -> "Action":
        """Emit the start of `action`; the caller emits its end through the result."""
        self.emit(action, "start", facts)
        return Action(self, action, dict(facts))

    @contextlib.contextmanager
    def emitting(self, action: str, facts: Facts) -> Iterator[dict[str, Any]]:
        """Emit the start of `action`, and its end, or its error if the block raises.

        :param facts: the known fields of the object; the end also carries what the caller
            adds to the dictionary that it gets.
        """
        started = self.start(action, facts)
        try:
            yield started.facts
        except Exception as exc:
            started.error(exc)
            raise
        started.end()

    def emit(self, action: str, phase: str, facts: Facts, exc: BaseException | None = None) -> None:
        """Emit one phase of `action`: start, end or error."""
        if self._send is not None:
            schema = PAYLOADS[action.partition(".")[0]]
            fault = None if exc is None else _fault(exc)
            self._send(Event(f"{action}.{phase}", schema.envelope({**facts, "fault": fault})))

    def stop(self) -> None:
        """Send the events that wait."""


class Action:
    """An action whose start has been emitted."""

    def __init__(self, events: Events, action: str, facts: dict[str, Any]) -> None:
        self.facts = facts
        self._events = events
        self._action = action

    def end(self, **facts: Any) -> None:
        """Emit that the action has succeeded."""
        self._events.emit(self._action, "end", self.facts | facts)

    def error(self, exc: BaseException, **facts: Any) -> None:
        """Emit that the action has failed."""
        self._events.emit(self._action, "error", self.facts | facts, exc)


def connect(conf: cfg.ConfigOpts, binary: str) -> Events:
    """Return what sends events to the bus; without a driver it sends none and has no thread.

    :param binary: ``hacore-api`` or ``hacore-engine``; events name it as their publisher.

    Raises ConfigError if [oslo_messaging_notifications] transport_url is invalid.
    """
    try:
        transport = oslo_messaging.get_notification_transport(conf)
    except oslo_messaging.MessagingException as exc:
        raise ConfigError(
            f"Option [oslo_messaging_notifications] transport_url is invalid: {exc}."
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
    """Sends events from a thread of its own, through a queue of limited length."""

    def __init__(self, transport: Any, publisher: str) -> None:
        # retry=0: an unavailable broker costs an event, and no time
        self._notifier = oslo_messaging.Notifier(
            transport, publisher_id=publisher, topics=[TOPIC], retry=0
        )
        self._waiting: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
        self._full = False
        self._unavailable = False
        self._thread = threading.Thread(target=self._run, name=f"events-{publisher}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue an event, or drop it if too many wait.  Returns at once."""
        try:
            self._waiting.put_nowait(event)
            self._full = False
        except queue.Full:
            if not self._full:
                LOG.warning(
                    "Too many events wait for the message bus: %d; dropping events", MOST_WAITING
                )
            self._full = True

    def stop(self) -> None:
        """Send the events that wait, for at most 5 seconds."""
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
                if why is not None and not self._unavailable:
                    LOG.warning(
                        "Failed to send events to the message bus: %s; dropping events", why
                    )
                self._unavailable = why is not None


class _Failures(logging.Filter):
    """Catches the errors that oslo.messaging logs instead of raising.

    It logs a traceback and the whole payload, for each event that the broker refuses.
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
        """Drop the errors that this thread logs, and keep the reason."""
        if record.thread != self._mine or record.levelno < logging.ERROR:
            return True
        self._why = record.exc_info[1] if record.exc_info else record.getMessage()
        return False

    def take(self) -> object:
        """Return why the last event was not sent; None if it was sent."""
        why, self._why = self._why, None
        return why
