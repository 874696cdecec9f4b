# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How a recovery ends: whether it is retried, the sentence that says so, and what is counted."""

import dataclasses
import logging

from oslo_config import cfg

from hacore import metrics
from hacore.db import claims, holds
from hacore.db.claims import Claim
from hacore.db.engine import Database
from hacore.engine.gates import RecoveryHeld
from hacore.states import NotificationStatus

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to, and the sentence that says why.

    ``counts``: an error is one of the attempts that max_recovery_attempts allows.
    ``held``: it waits for what lifts this.  ``last``: what it is when no attempt is left.
    """

    status: NotificationStatus
    message: str
    counts: bool = True
    held: RecoveryHeld | None = None
    last: NotificationStatus = NotificationStatus.FAILED


def is_retried(conf: cfg.ConfigOpts, claim: Claim, outcome: Outcome) -> bool:
    """Whether another attempt follows."""
    if outcome.status != NotificationStatus.ERROR:
        return False
    if outcome.held is not None:
        return True
    return not outcome.counts or claim.failed_attempts + 1 < conf.max_recovery_attempts


def end(conf: cfg.ConfigOpts, db: Database, claim: Claim, outcome: Outcome) -> Outcome:
    """End the claim; return the outcome with what follows from it.

    An error is retried, or becomes ``failed`` when no attempt is left.
    """
    if outcome.held is not None:
        held = outcome.held
        holds.hold(db, claim, held.gate, held.rule, str(held), held.facts)
        metrics.NOTIFICATIONS.labels(claim.type, outcome.status).inc()
        return outcome
    retry_after_s = None
    failed = outcome.status == NotificationStatus.ERROR and outcome.counts
    ending = outcome
    if is_retried(conf, claim, outcome):
        retry_after_s = conf.process_unfinished_notifications_interval
        ending = dataclasses.replace(
            outcome, message=f"{outcome.message} {_retry(conf, claim, outcome)}"
        )
    elif failed:
        number = claim.failed_attempts + 1
        attempts = "1 attempt" if number == 1 else f"{number} attempts"
        ending = Outcome(outcome.last, f"{outcome.message} Given up after {attempts}.")
    age_s = claims.finish(
        db, claim, ending.status, ending.message, failed=failed, retry_after_s=retry_after_s
    )
    _report(claim, ending, age_s)
    return ending


def _retry(conf: cfg.ConfigOpts, claim: Claim, outcome: Outcome) -> str:
    after_s = conf.process_unfinished_notifications_interval
    if not outcome.counts:
        return f"Retrying in {after_s:g} s."
    number, most = claim.failed_attempts + 1, conf.max_recovery_attempts
    return f"Attempt {number} of {most} failed; retrying in {after_s:g} s."


def _report(claim: Claim, ending: Outcome, age_s: float) -> None:
    metrics.NOTIFICATIONS.labels(claim.type, ending.status).inc()
    if ending.status != NotificationStatus.ERROR:
        metrics.NOTIFICATION_SECONDS.labels(claim.type, ending.status).observe(age_s)
    LOG.log(
        logging.ERROR if ending.status == NotificationStatus.FAILED else logging.INFO,
        "notification %s: running -> %s (host %s): %s",
        claim.uuid,
        ending.status,
        claim.host_name,
        ending.message,
    )
