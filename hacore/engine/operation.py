# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One claim on an operation from beginning to end: its flow, what is undone, and the sentence.

Each claim begins with the first step: a step reads Nova, and does nothing that is done.
"""

import dataclasses
import logging
from collections.abc import Callable

from hacore.db import operation_claims
from hacore.db.operation_claims import OperationClaim
from hacore.db.returns import ENDED
from hacore.engine import log_context, returns, steps
from hacore.engine.context import EngineContext, OperationContext
from hacore.engine.flows import Flows
from hacore.engine.lease import Lease
from hacore.errors import (
    DatabaseUnavailable,
    HacoreError,
    Interrupted,
    LeaseLost,
    NovaError,
    OperationWaits,
    RecoveryFailed,
    TransientNovaError,
)
from hacore.states import OperationStatus

LOG = logging.getLogger(__name__)

#: Seconds until an operation goes on for which Nova was unavailable.
_UNAVAILABLE_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Ending:
    status: OperationStatus
    message: str


class Operator:
    """Carries out operations; used by many threads.

    :param released: called when a claim was released because the engine stops.
    """

    def __init__(
        self, engine: EngineContext, flows: Flows, released: Callable[[], None] = lambda: None
    ) -> None:
        self._engine = engine
        self._db = engine.db
        self._flows = flows
        self._released = released

    def operate(self, claim: OperationClaim, lease: Lease) -> None:
        """Do everything for `claim`, and end, release or give it back."""
        log_context.enter(claim)
        context = OperationContext(self._engine, claim, lease)
        try:
            ending = self._ending(context)
            operation_claims.finish(self._db, claim, ending.status, ending.message)
        except OperationWaits as exc:
            self._wait(claim, exc)
        except LeaseLost as exc:
            LOG.warning("operation %s: interrupted: %s", claim.uuid, exc)
        except Interrupted as exc:
            self._release(claim, str(exc))

    def _wait(self, claim: OperationClaim, why: OperationWaits) -> None:
        try:
            operation_claims.wait(self._db, claim, str(why), why.retry_after_s)
        except LeaseLost as exc:
            LOG.warning("operation %s: interrupted: %s", claim.uuid, exc)

    def _release(self, claim: OperationClaim, why: str) -> None:
        try:
            operation_claims.release(self._db, claim, why)
        except LeaseLost as exc:
            LOG.warning("operation %s: interrupted: %s", claim.uuid, exc)
        else:
            self._released()

    def _ending(self, context: OperationContext) -> _Ending:
        """Run the flow.  Raises OperationWaits where it, or undoing it, has to wait for Nova."""
        try:
            message = self._run(context)
        except (Interrupted, DatabaseUnavailable, OperationWaits):
            raise
        except TransientNovaError as exc:
            raise OperationWaits(str(exc), _UNAVAILABLE_S) from exc
        except HacoreError as exc:
            return self._failed(context, str(exc))
        except Exception as exc:  # an operator's own task may raise anything
            LOG.exception("operation %s: unhandled exception in a task", context.claim.uuid)
            text = f"Unhandled exception in a task: {type(exc).__name__}: {exc}"
            return self._failed(context, text)
        return _Ending(OperationStatus.FINISHED, " ".join([message, *context.remarks]))

    def _run(self, context: OperationContext) -> str:
        claim = context.claim
        done = f"{claim.host_name} is in service again."
        if claim.expired and ENDED in claim.did:
            return f"{done} Instances were not looked at: its time was over."
        if claim.expired:
            raise RecoveryFailed(
                f"Given up: {claim.host_name} was not brought back within "
                f"{returns.DEADLINE_S / 60:g} min."
            )
        flow = self._flows.build(claim.type, context, context.nova)
        store = {
            "operation_uuid": claim.uuid,
            "host_name": claim.host_name,
            "options": claim.options,
        }
        steps.run(flow, context, store)
        return done

    def _failed(self, context: OperationContext, why: str) -> _Ending:
        """Leave the host as it was before."""
        why = why if why.endswith(".") else f"{why}."
        try:
            done = returns.undo(context)
        except TransientNovaError as exc:
            raise OperationWaits(f"{why} To be undone: {exc}", _UNAVAILABLE_S) from exc
        except NovaError as exc:
            done = f"Failed to leave the host as it was: {exc}"
        return _Ending(OperationStatus.FAILED, " ".join(filter(None, [why, done])))
