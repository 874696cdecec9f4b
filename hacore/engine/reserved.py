# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Runs the main list of the rh flow once per reserved host, through taskflow's retry."""

from typing import Any

from taskflow import retry
from taskflow.types import failure as taskflow_failure

from hacore.db import moves, reserved
from hacore.engine.context import RecoveryContext
from hacore.errors import DatabaseUnavailable, Interrupted, NovaError, RecoveryFailed
from hacore.nova import Service


class ReservedHosts(retry.Retry):
    """Gives each round a reserved host, as ``reserved_host``.

    A round that failed is followed by one with the next host: what has moved by
    then stays moved.  A host that no instance went to is given back, and is
    disabled again if it was: it is to stay empty.
    """

    default_provides = "reserved_host"

    def __init__(self, context: RecoveryContext) -> None:
        super().__init__(name="reserved-hosts")
        self._context = context
        self._enabled: dict[str, Service] = {}  #: as they were before

    def execute(self, history: Any, **_kwargs: Any) -> str:
        """Take the next reserved host and make it ready.  Raises RecoveryFailed when none is."""
        context = self._context
        tried = [name for name in history.provided_iter() if name]
        while True:
            name = reserved.take(context.db, context.claim, tried)
            if name is None:
                raise RecoveryFailed(
                    " ".join(
                        [
                            f"No reserved host is free in segment {context.claim.segment_name}",
                            f"(tried: {', '.join(tried) or 'none'}).",
                            *_reasons(history),
                        ]
                    )
                )
            service = context.nova.service(name)
            if service is not None and service.up:
                self._make_ready(service)
                return name
            context.note(f"Nova shows reserved host {name} as down; skipped it.")
            reserved.give_back(context.db, context.claim, name)
            tried.append(name)

    def _make_ready(self, service: Service) -> None:
        context = self._context
        if context.conf.host_failure.add_reserved_host_to_aggregate:
            for aggregate in context.nova.aggregates():
                members = aggregate.hosts
                if context.claim.host_name in members and service.host not in members:
                    context.nova.add_to_aggregate(aggregate, service.host)
                    context.note(f"Added {service.host} to aggregate {aggregate.name}.")
        if not service.enabled:
            context.nova.enable_service(service)
            self._enabled[service.host] = service
        context.note(f"Evacuating to reserved host {service.host}.")

    def on_failure(self, history: Any, *_args: Any, **_kwargs: Any) -> str:
        """Another round, where the failure is one that another host may not have."""
        name, failures = history[-1]
        if not name:
            return str(retry.REVERT)  # it was `execute` that failed
        causes = [
            failure.exception
            for failure in failures.values()
            if isinstance(failure, taskflow_failure.Failure)
        ]
        if any(isinstance(cause, Interrupted | DatabaseUnavailable) for cause in causes):
            return str(retry.REVERT)  # instances are on their way there: the next claim continues
        self._give_back(name)
        helps = all(isinstance(cause, RecoveryFailed | NovaError) for cause in causes)
        return str(retry.RETRY if helps else retry.REVERT)

    def _give_back(self, name: str) -> None:
        context, service = self._context, self._enabled.pop(name, None)
        rows = moves.all_of(context.db, context.claim.uuid)
        if service is not None and not any(row.dest_host == name for row in rows):
            reason = service.disabled_reason or "Reserved host."
            try:  # before anybody else can take it
                context.nova.disable_service(service, reason)
            except NovaError as exc:
                context.note(
                    f"Reserved host {name} was not used, and could not be disabled again: {exc}"
                )
        reserved.give_back(context.db, context.claim, name)


def _reasons(history: Any) -> list[str]:
    """Return what the last round failed with."""
    if not len(history):
        return []
    _name, failures = history[-1]
    return [failure.exception_str for failure in failures.values()]
