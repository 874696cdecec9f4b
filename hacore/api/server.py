# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The web server of hacore-api and hacore-standalone; not used under uwsgi and gunicorn."""

from typing import Any
from wsgiref.types import WSGIApplication

import cheroot.server
import cheroot.wsgi

from hacore.api.arrivals import MOST_HEAD, Arrivals
from hacore.api.microversions import HEADER
from hacore.clock import SystemClock

#: Connections that the kernel keeps until they are accepted.
_BACKLOG = 128


class _Server(cheroot.wsgi.Server):
    """cheroot, but its threads get requests that have arrived, and never wait for a client."""

    max_request_header_size = MOST_HEAD
    arrivals: Arrivals

    def process_conn(self, conn: Any) -> None:
        """Called with a connection that was accepted, or that has more to read."""
        self.arrivals.put(conn)

    def give_to_a_thread(self, conn: Any) -> None:
        """Called with a connection whose request has arrived."""
        super().process_conn(conn)

    def stop(self) -> None:
        """Stop; requests that are being answered still get their answer."""
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
    """Return a server that is not listening yet; port 0 means any free port.

    :param most_body: bytes; the application refuses a longer body without reading it.
    :param request_timeout_s: within which a whole request must arrive.
    :param most_waiting: connections that may be open without a whole request.
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
