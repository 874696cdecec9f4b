# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Puts the request that caused a recovery into each of its log lines.

oslo.log puts the context of the thread into each line: its request id is that under
which the API accepted the notification, so that one search finds both sides.
"""

from collections.abc import Callable
from typing import Any, Protocol

from oslo_context import context

from hacore.db.claims import Claim
from hacore.db.operation_claims import OperationClaim


class Pool(Protocol):
    """What runs calls beside each other (a futurist executor)."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return a future."""


class LogContext(context.RequestContext):
    """What log lines say; JSON lines also have ``notification`` or ``operation``, and ``host``."""

    def __init__(self, claim: Claim | OperationClaim) -> None:
        kind = "notification" if isinstance(claim, Claim) else "operation"
        self._facts = {kind: claim.uuid, "host": claim.host_name}
        super().__init__(request_id=claim.request_id, overwrite=False)

    def get_logging_values(self) -> dict[str, Any]:
        """Return what oslo.log knows of the context."""
        return {**super().get_logging_values(), **self._facts}


def enter(claim: Claim | OperationClaim) -> None:
    """Make this thread's log lines those of the claim's work, until it enters another."""
    LogContext(claim).update_store()


class TracedPool:
    """A pool whose threads have the log context of the thread that calls `submit`."""

    def __init__(self, pool: Pool) -> None:
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
