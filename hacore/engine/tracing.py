# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Lets every log line of a recovery say which request brought it about.

oslo.log puts the context of the thread into each line: its request id is that under
which the API accepted the notification, so that one search finds both sides.
"""

from collections.abc import Callable
from typing import Any

from oslo_context import context

from hacore.db.claims import Claim


class RecoveryContext(context.RequestContext):
    """The context of this thread from now on, until it has another one.

    JSON lines also have its ``notification`` and ``host``.
    """

    def __init__(self, claim: Claim) -> None:
        self._facts = {"notification": claim.uuid, "host": claim.host_name}
        super().__init__(request_id=claim.request_id)

    def get_logging_values(self) -> dict[str, Any]:
        """Return what oslo.log knows of the context."""
        return {**super().get_logging_values(), **self._facts}


class TracedPool:
    """A pool whose threads have the context of the thread that calls `submit`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return a future, as the pool does."""
        return self._pool.submit(_within, context.get_current(), fn, *args, **kwargs)


def _within(
    current: context.RequestContext | None, fn: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    if current is not None:
        current.update_store()
    return fn(*args, **kwargs)
