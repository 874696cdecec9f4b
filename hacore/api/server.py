# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The web server of hacore-api and hacore-standalone.  uwsgi and gunicorn need none of this."""

from typing import Any
from wsgiref.types import WSGIApplication

import cheroot.server
import cheroot.wsgi

from hacore.api.microversions import HEADER


def make_server(
    address: tuple[str, int], app: WSGIApplication, threads: int, **options: Any
) -> cheroot.wsgi.Server:
    """Return a server that is not listening yet; port 0 takes a free one.

    :param options: more for cheroot's Server.
    """
    # A client may send the header once per service; cheroot keeps the last of
    # several lines unless it knows the header as a list.
    name = HEADER.title().encode()
    lists: list[bytes] = cheroot.server.comma_separated_headers  # type: ignore[attr-defined]
    if name not in lists:
        lists.append(name)
    return cheroot.wsgi.Server(address, app, numthreads=threads, **options)
