# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The wake-up: the API, or a stopping engine, notifies all engines that there is work to claim.

A wake-up may be lost, late or doubled without harm, because engines also poll the
database.  So it never blocks a request and never makes one fail.
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
#: Between two wake-ups: in a storm of notifications each cast would cost as much as accepting
#: one of them.
_PAUSE_S = 0.1


#: What a cast raises where the message bus is unavailable or refuses the login; drivers let
#: their libraries' exceptions through.
_UNAVAILABLE = (
    oslo_messaging.MessagingException,
    kombu.exceptions.KombuError,
    amqp.exceptions.AMQPError,
    OSError,
)


def check(conf: cfg.ConfigOpts) -> None:
    """Cast one wake-up.  Raises Unavailable when the message bus does not accept it."""
    transport = oslo_messaging.get_rpc_transport(conf)
    try:
        _client(transport).cast({}, "wake")
    except _UNAVAILABLE as exc:
        raise Unavailable(f"The message bus is unavailable: {exc}") from exc
    finally:
        transport.cleanup()


def _client(transport: Any) -> Any:
    target = oslo_messaging.Target(topic=TOPIC, version=_VERSION, fanout=True)
    # retry=0: an unavailable broker costs one wake-up and no time
    return oslo_messaging.get_rpc_client(transport, target, retry=0)


class Waker:
    """Casts wake-ups from a thread of its own; many that are due within a moment become one."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = _client(oslo_messaging.get_rpc_transport(conf))
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Cast a wake-up soon.  Returns at once; never raises."""
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
            self._failed = False
        except _UNAVAILABLE as exc:
            if not self._failed:
                LOG.warning("Failed to notify engines over RPC: %s; the next poll picks it up", exc)
            self._failed = True
        except Exception:  # the top of a thread that must not end
            LOG.exception("Unexpected exception while notifying engines over RPC")


class _Endpoint:
    target = oslo_messaging.Target(version=_VERSION)

    def __init__(self, woken: Callable[[], None]) -> None:
        self._woken = woken

    def wake(self, _context: dict[str, str]) -> None:
        """A wake-up was cast."""
        self._woken()


class WakeListener:
    """Calls `woken` for every wake-up; connects in a thread of its own.

    A broker that is unavailable, at the start or later, delays nothing else.

    :param name: of this machine.  The broker keeps a queue of that name for ever (wake-ups
        come through another one, which expires), so the name must stay the same at each start.
    """

    def __init__(self, conf: cfg.ConfigOpts, name: str, woken: Callable[[], None]) -> None:
        self._conf = conf
        self._target = oslo_messaging.Target(topic=TOPIC, server=name)
        self._endpoint = _Endpoint(woken)
        self._server: oslo_messaging.RPCServer | None = None
        self._thread = threading.Thread(target=self._start, name="wake-listener", daemon=True)

    def start(self) -> None:
        """Start listening, as soon as the broker can be reached."""
        self._thread.start()

    def _start(self) -> None:
        transport = oslo_messaging.get_rpc_transport(self._conf)
        server = oslo_messaging.get_rpc_server(
            transport, self._target, [self._endpoint], access_policy=None
        )
        server.start()  # retries until the broker can be reached
        self._server = server
        LOG.info("Listening for wake-ups")

    def stop(self) -> None:
        """Stop listening, without waiting for a wake-up that is being handled."""
        if self._server is not None:
            self._server.stop()
