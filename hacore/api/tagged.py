# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Answers that a client may have already: ETag, If-None-Match, 304."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import falcon


@dataclass(frozen=True)
class Tagged:
    """The body of an answer, not made yet.

    :ivar tag: differs from that of an earlier answer if the body may; see hacore.db.tags.
    :ivar make: makes the body.
    """

    tag: str
    make: Callable[[], Any]

    def unless_known(self, req: falcon.Request, resp: falcon.Response) -> Any:
        """Return the body, or None and 304 to a client that has it."""
        resp.set_header("ETag", f'W/"{self.tag}"')
        resp.set_header("Cache-Control", "private, no-cache")
        resp.append_header("Vary", "X-Auth-Token")
        # compared weakly: W/"a" is "a"
        if any(known in ("*", self.tag) for known in req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            resp.delete_header("Content-Type")
            return None
        return self.make()
