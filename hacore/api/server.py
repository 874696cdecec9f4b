# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The web server of hacore-api and hacore-standalone.  uwsgi and gunicorn need none of this."""

from typing import Any
from wsgiref.types import WSGIApplication

import cheroot.server
import cheroot.wsgi

from hacore.api.arrivals import MOST_HEAD, Arrivals
from hacore.api.microversions import HEADER
from hacore.clock import SystemClock

#: Connections that the kernel keeps for us until they are accepted.
_BACKLOG = 128


class _Server(cheroot.wsgi.Server):
    """cheroot, whose threads get requests that are there and never wait for a client to send."""

    max_request_header_size = MOST_HEAD
    arrivals: Arrivals

    def process_conn(self, conn: Any) -> None:
        """Take a connection that was accepted, or has more to read."""
        self.arrivals.put(conn)

    def give_to_a_thread(self, conn: Any) -> None:
        """Take a connection whose request is there."""
        super().process_conn(conn)

    def stop(self) -> None:
        """End; who waits for an answer still gets it."""
        super().stop()
        self.arrivals.stop()


def make_server(
    address: tuple[str, int],
    app: WSGIApplication,
    threads: int,
    *,
    most_body: int,
    request_timeout_s: float = 10.0,
    most_waiting: int = 1000,
) -> cheroot.wsgi.Server:
    """Return a server that is not listening yet; port 0 takes a free one.

    :param most_body: bytes; the application refuses a longer body without reading it.
    :param request_timeout_s: a request must have arrived so soon.
    :param most_waiting: so many connections may be open whose request has not arrived.
    """
    # A client may send the header once per service; cheroot keeps the last of
    # several lines unless it knows the header as a list.
    name = HEADER.title().encode()
    lists: list[bytes] = cheroot.server.comma_separated_headers  # type: ignore[attr-defined]
    if name not in lists:
        lists.append(name)
    server = _Server(address, app, numthreads=threads, request_queue_size=_BACKLOG)
    server.arrivals = Arrivals(
        server.give_to_a_thread,
        SystemClock(),
        most_body=most_body,
        timeout_s=request_timeout_s,
        most=most_waiting,
    )
    return server
