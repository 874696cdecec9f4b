# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The wake-up: the API, or an engine that stops, tells engines that there is something to claim.

It may be lost, late or doubled without harm, for engines also look by
themselves.  So it never blocks a request and never fails one.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import amqp.exceptions
import kombu.exceptions
import oslo_messaging
from oslo_config import cfg

from hacore.errors import Unavailable

LOG = logging.getLogger(__name__)

TOPIC = "hacore-engine"
_VERSION = "1.0"
#: Between two wake-ups: in a storm of notifications each cast would cost as much as an intake.
_PAUSE_S = 0.1


#: What a cast raises where the bus is away or refuses us; drivers let their libraries' through.
_AWAY = (
    oslo_messaging.MessagingException,
    kombu.exceptions.KombuError,
    amqp.exceptions.AMQPError,
    OSError,
)


def check(conf: cfg.ConfigOpts) -> None:
    """Cast one wake-up.  Raises Unavailable when the message bus does not take it."""
    transport = oslo_messaging.get_rpc_transport(conf)
    try:
        _client(transport).cast({}, "wake")
    except _AWAY as exc:
        raise Unavailable(f"The message bus takes no message: {exc}") from exc
    finally:
        transport.cleanup()


def _client(transport: Any) -> Any:
    target = oslo_messaging.Target(topic=TOPIC, version=_VERSION, fanout=True)
    # retry=0: a broker that is away costs one wake-up and no time
    return oslo_messaging.get_rpc_client(transport, target, retry=0)


class Waker:
    """Casts wake-ups from a thread of its own; many that are due within a moment become one."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = _client(oslo_messaging.get_rpc_transport(conf))
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the engines woken, soon.  Returns at once; never raises."""
        self._due.set()

    def stop(self) -> None:
        """Cast what is due and end the thread."""
        self._stopping.set()
        self._due.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while self._due.is_set() or not self._stopping.is_set():
            self._due.wait()
            self._due.clear()
            self._cast()
            self._stopping.wait(_PAUSE_S)

    def _cast(self) -> None:
        try:
            self._client.cast({}, "wake")
            self._away = False
        except _AWAY as exc:
            if not self._away:
                LOG.warning("no wake-up sent, engines will find it by themselves: %s", exc)
            self._away = True
        except Exception:  # the top of a thread that must not end
            LOG.exception("sending a wake-up broke; going on")


class _Endpoint:
    target = oslo_messaging.Target(version=_VERSION)

    def __init__(self, woken: Callable[[], None]) -> None:
        self._woken = woken

    def wake(self, _context: dict[str, str]) -> None:
        """Somebody cast a wake-up."""
        self._woken()


class WakeListener:
    """Calls `woken` for every wake-up; connects in a thread of its own.

    A broker that is away, at start or for ever, delays nothing else.

    :param name: of this machine.  The broker keeps a queue of that name for ever (wake-ups
        come by another one, which expires), so it must not be another at each start.
    """

    def __init__(self, conf: cfg.ConfigOpts, name: str, woken: Callable[[], None]) -> None:
        self._conf = conf
        self._target = oslo_messaging.Target(topic=TOPIC, server=name)
        self._endpoint = _Endpoint(woken)
        self._server: oslo_messaging.RPCServer | None = None
        self._thread = threading.Thread(target=self._start, name="wake-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen, sooner or later."""
        self._thread.start()

    def _start(self) -> None:
        transport = oslo_messaging.get_rpc_transport(self._conf)
        server = oslo_messaging.get_rpc_server(
            transport, self._target, [self._endpoint], access_policy=None
        )
        server.start()  # tries until the broker is there
        self._server = server
        LOG.info("listening for wake-ups")

    def stop(self) -> None:
        """Stop listening; what is under way is not waited for."""
        if self._server is not None:
            self._server.stop()
