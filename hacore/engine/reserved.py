# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Runs the main list of the rh flow once per reserved host, through taskflow's retry."""

from typing import Any

from taskflow import retry
from taskflow.types import failure as taskflow_failure

from hacore.db import moves, reserved
from hacore.errors import DatabaseUnavailable, Interrupted, NovaError, RecoveryFailed
from hacore.nova import Service
from hacore.tasks.base import Recovery


class ReservedHosts(retry.Retry):
    """Gives each round a reserved host, as ``reserved_host``.

    A round that failed is followed by one with the next host: what has moved by
    then stays moved.  A host that no instance went to is given back, and is
    disabled again if it was: it is to stay empty.
    """

    default_provides = "reserved_host"

    def __init__(self, recovery: Recovery) -> None:
        super().__init__(name="reserved-hosts")
        self._recovery = recovery
        self._enabled: dict[str, Service] = {}  #: as they were before

    def execute(self, history: Any, **_kwargs: Any) -> str:
        """Take the next reserved host and make it ready.  Raises RecoveryFailed when none is."""
        recovery = self._recovery
        tried = [name for name in history.provided_iter() if name]
        while True:
            name = reserved.take(recovery.db, recovery.claim, tried)
            if name is None:
                raise RecoveryFailed(
                    " ".join(
                        [
                            f"No reserved host is free in segment {recovery.claim.segment_name}",
                            f"(tried: {', '.join(tried) or 'none'}).",
                            *_reasons(history),
                        ]
                    )
                )
            service = recovery.nova.service(name)
            if service is not None and service.up:
                self._make_ready(service)
                return name
            recovery.tell(f"Reserved host {name} is down in Nova; it is not used.")
            reserved.give_back(recovery.db, recovery.claim, name)
            tried.append(name)

    def _make_ready(self, service: Service) -> None:
        recovery = self._recovery
        if recovery.conf.host_failure.add_reserved_host_to_aggregate:
            for aggregate in recovery.nova.aggregates():
                members = aggregate.hosts
                if recovery.claim.host_name in members and service.host not in members:
                    recovery.nova.add_to_aggregate(aggregate, service.host)
                    recovery.tell(f"Added {service.host} to aggregate {aggregate.name}.")
        if not service.enabled:
            recovery.nova.enable_service(service)
            self._enabled[service.host] = service
        recovery.tell(f"Reserved host {service.host} takes the instances.")

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
            return str(retry.REVERT)  # instances are on their way there: the next claim goes on
        self._give_back(name)
        helps = all(isinstance(cause, RecoveryFailed | NovaError) for cause in causes)
        return str(retry.RETRY if helps else retry.REVERT)

    def _give_back(self, name: str) -> None:
        recovery, service = self._recovery, self._enabled.pop(name, None)
        rows = moves.all_of(recovery.db, recovery.claim.uuid)
        if service is not None and not any(row.dest_host == name for row in rows):
            reason = service.disabled_reason or "Reserved host."
            try:  # before anybody else can take it
                recovery.nova.disable_service(service, reason)
            except NovaError as exc:
                recovery.tell(f"Reserved host {name} was not used and stays enabled in Nova: {exc}")
        reserved.give_back(recovery.db, recovery.claim, name)


def _reasons(history: Any) -> list[str]:
    """Return what the last round failed with."""
    if not len(history):
        return []
    _name, failures = history[-1]
    return [failure.exception_str for failure in failures.values()]
