# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the handler of a route gets: one request, and the services of the process."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hacore.api.context import Context
from hacore.api.microversions import Version
from hacore.api.query import Query
from hacore.db.engine import Database

if TYPE_CHECKING:
    # it imports eventlet, through oslo.messaging: not for oslopolicy's generators, which list rules
    from hacore.events import Events


class ComputeServices(Protocol):
    """What the API needs of Nova."""

    def host_names(self) -> "Sequence[str]":
        """Return the host of each nova-compute service; raises like `service`."""

    def service(self, host: str) -> object | None:
        """Return the nova-compute service of that host; None if Nova has none.

        Raises a subclass of hacore.errors.NovaError if Nova gives no answer.
        """


@dataclass(frozen=True)
class Services:
    """What the handlers of one process share."""

    db: Database
    nova: ComputeServices
    wake: Callable[[], None]
    events: "Events"
    most_rows: int
    duplicate_window_s: float
    #: Age from which engines fail a notification that has not ended.
    expire_s: float
    #: What is configured about when recoveries are held, for operators to read.
    limits: Mapping[str, int]


@dataclass(frozen=True)
class Call:
    """One request, checked as far as its route says."""

    services: Services
    caller: Context
    version: Version
    url: str  # up to and without the path
    query: Query
    body: Any = None  # valid by the schema of the route

    @property
    def db(self) -> Database:
        return self.services.db

    def emitting(self, action: str, **facts: Any) -> AbstractContextManager[dict[str, Any]]:
        """Emit events when `action` starts and when it ends; see hacore.events."""
        return self.services.events.emitting(action, facts)
