# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What Nova remembers of each request that changes a server: its instance actions.

Nova writes one when it has accepted the request, with the time at which the request came in;
of what Nova itself does (the power state sync stops a server whose guest died), no user is named.
"""

import collections
import dataclasses

from hacore_sandbox.model import Server


@dataclasses.dataclass(frozen=True)
class Action:
    """One record."""

    name: str
    started: float
    request_id: str
    user_id: str | None
    project_id: str | None


class Actions:
    """The records of all servers, also of those that are deleted."""

    def __init__(self) -> None:
        self._of: dict[str, list[Action]] = collections.defaultdict(list)
        self._own_requests = 0

    def record(
        self,
        server: Server,
        name: str,
        now: float,
        *,
        request_id: str = "",
        user_id: str | None = None,
        project_id: str | None = None,
    ) -> None:
        """Add one; without a `request_id` it is Nova's own doing."""
        if not request_id:
            self._own_requests += 1
            request_id = f"req-{self._own_requests:08x}-0000-4000-9000-000000000000"
        self._of[server.uuid].append(Action(name, now, request_id, user_id, project_id))

    def of(self, server_uuid: str) -> list[Action]:
        """Those of one server, the newest first."""
        return self._of.get(server_uuid, [])[::-1]
