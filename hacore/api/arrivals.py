# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Where connections wait until their whole request has arrived.

cheroot gives a connection to one of its few threads as soon as it is accepted, and the
thread waits for the client: a hundred clients that send a byte every few seconds would
block all others.  A connection that waits here needs no thread.
"""

import contextlib
import fcntl
import logging
import queue
import re
import selectors
import socket
import struct
import termios
import threading
from collections.abc import Callable
from typing import Any

from hacore.clock import Clock

LOG = logging.getLogger(__name__)

#: The longest request line with its headers; cheroot refuses a longer one.
MOST_HEAD = 64 * 1024
#: Between two checks of a request of which a part has arrived.
_CHECK_INTERVAL_S = 0.05

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?:\r\n|$)")
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?:\r\n|$)")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r]*)?\r\n")
_MOST_CHUNK_HEAD = 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def is_whole(data: bytes, most_body: int) -> bool:
    """Whether a thread can answer `data` without waiting for more of it.

    It can answer a whole request, and one that is refused without reading the rest.

    :param most_body: bytes; a longer body is refused.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return len(data) > MOST_HEAD or b"\n\n" in data
    head = head.lower()
    if b"\r\ntransfer-encoding:" in head:
        return _chunks_are_whole(body, most_body)
    length = _LENGTH.search(head)
    if length is None:
        return True  # no body, or a length that is refused
    return int(length[1]) > most_body or len(body) >= int(length[1])


def _chunks_are_whole(body: bytes, most_body: int) -> bool:
    """Whether the last chunk has arrived, or something that is refused."""
    at = 0
    while at <= most_body:
        end = body.find(b"\r\n", at)
        if end < 0:
            return len(body) - at > _MOST_CHUNK_HEAD
        size = _CHUNK_SIZE.match(body, at)
        if size is None:
            return True
        if int(size[1], 16) == 0:
            return body.find(b"\r\n\r\n", end) >= 0
        at = end + 2 + int(size[1], 16)
        if len(body) < at + 2:
            return at > most_body
        if body[at : at + 2] != b"\r\n":
            return True
        at += 2
    return True


class _Waiting:
    """A connection, and how much of its request has arrived."""

    def __init__(self, conn: Any, since: float) -> None:
        self.conn = conn
        self.since = since
        self.checked = 0  # bytes
        self.continued = False  # 100 Continue has been sent


class Arrivals:
    """Keeps connections of cheroot until their request is whole, or too late.

    :param ready: called with a connection whose request is whole; never blocks.
    :param most_body: bytes of the longest body that is read.
    :param timeout_s: a request that is not whole by then is dropped.
    :param most: connections that may wait; above that the one that waits longest is dropped.
    """

    def __init__(
        self,
        ready: Callable[[Any], None],
        clock: Clock,
        *,
        most_body: int,
        timeout_s: float,
        most: int,
    ) -> None:
        self._ready = ready
        self._clock = clock
        self._most_body = most_body
        self._timeout_s = timeout_s
        self._most = most
        self._new: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: dict[int, _Waiting] = {}  # by file descriptor; the oldest first
        self._partial: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_sender.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="api-arrivals", daemon=True)
        self._thread.start()

    def put(self, conn: Any) -> None:
        """Let the connection wait, unless its request has already arrived."""
        waiting = _Waiting(conn, self._clock.monotonic())
        if self._is_ready(waiting, readable=False):
            self._ready(conn)
        else:
            self._new.put(waiting)
            self._wake()

    def stop(self) -> None:
        """Close the connections that wait, and end the thread."""
        self._stopping = True
        self._wake()
        self._thread.join(timeout=5)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is already waking up
            self._wake_sender.send(b"\0")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._round()
            except Exception:  # the top of a thread that must not end
                LOG.exception("Unexpected exception while waiting for requests to arrive")
        for number in list(self._waiting):
            self._drop(number)
        self._selector.close()

    def _round(self) -> None:
        pause_s = _CHECK_INTERVAL_S if self._partial else min(1.0, self._timeout_s)
        ready = {key.fd for key, _ in self._selector.select(pause_s)}
        if self._wake_receiver.fileno() in ready:
            self._wake_receiver.recv(4096)
        for number in (ready & self._waiting.keys()) | self._partial:
            self._check_arrival(number, readable=number in ready)
        while not self._new.empty():
            self._admit(self._new.get())
        now = self._clock.monotonic()
        for number, waiting in list(self._waiting.items()):
            if now - waiting.since <= self._timeout_s:
                break
            self._drop(number)

    def _admit(self, waiting: _Waiting) -> None:
        if len(self._waiting) >= self._most:
            self._drop(next(iter(self._waiting)))
        number = waiting.conn.socket.fileno()
        self._waiting[number] = waiting
        self._selector.register(number, selectors.EVENT_READ)

    def _check_arrival(self, number: int, *, readable: bool) -> None:
        waiting = self._waiting[number]
        if self._is_ready(waiting, readable=readable):
            self._forget(number)
            self._ready(waiting.conn)
        elif number not in self._partial:
            # the socket stays readable: poll it, instead of selecting it at once again
            self._selector.unregister(number)
            self._partial.add(number)

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        if number in self._partial:
            self._partial.remove(number)
        else:
            self._selector.unregister(number)

    def _drop(self, number: int) -> None:
        conn = self._waiting[number].conn
        self._forget(number)
        conn.close()

    def _is_ready(self, waiting: _Waiting, *, readable: bool) -> bool:
        """Whether the request is whole, or the client has disconnected."""
        sock, rfile = waiting.conn.socket, waiting.conn.rfile
        buffered = bytes(rfile.peek(0)) if rfile.has_data() else b""
        try:
            arrived = _arrived(sock)
            if len(buffered) + arrived == waiting.checked:
                return readable and not arrived  # the client has closed its side
            sent = sock.recv(arrived, socket.MSG_PEEK) if arrived else b""  # recv would wait
        except OSError:
            return True  # the thread that reads it meets the error, too
        data = buffered + sent
        waiting.checked = len(data)
        if is_whole(data, self._most_body):
            return True
        if not waiting.continued and _EXPECTS.search(data.partition(b"\r\n\r\n")[0].lower()):
            waiting.continued = True
            sock.send(_CONTINUE)
        return False


def _arrived(sock: socket.socket) -> int:
    """Return how many bytes have arrived and have not been read."""
    answer = fcntl.ioctl(sock.fileno(), termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
