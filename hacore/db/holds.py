# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Held recoveries: ``error`` without a time to retry, so that no engine takes them.

An engine of an older version does not either.  Whoever lifts the hold makes it due.
"""

import dataclasses
import datetime
import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from hacore.db import claims, gates, history, moves, notifications, operation_claims
from hacore.db.claims import Claim
from hacore.db.engine import Database, retry
from hacore.db.models import Host, Notification
from hacore.states import Answer, Gate, NotificationStatus, NotificationType, Rule

LOG = logging.getLogger(__name__)

#: Seconds for which an approval that is not used stands.
APPROVAL_S = 900.0

#: The condition that a recovery is held.
HELD = sa.and_(Notification.status == NotificationStatus.ERROR, Notification.held_rule.is_not(None))


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """One recovery that is held.

    :ivar for_s: for how long.
    :ivar total_s: with the times that it was held before.
    """

    uuid: str
    type: NotificationType
    host: str
    host_uuid: str
    segment_uuid: str
    payload: dict[str, Any]
    rule: Rule
    for_s: float
    total_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Approval:
    """That one rule does not hold a recovery.  Each rule is approved for itself.

    :ivar by: the operator; None: the rule itself lets it pass, since its time is over.
    :ivar missing: how many hosts were shown as missing; None: none were counted.
    """

    rule: Rule
    by: str | None
    at: datetime.datetime
    missing: int | None


@retry
def hold(
    db: Database, claim: Claim, gate: Gate, rule: Rule, message: str, facts: dict[str, Any]
) -> None:
    """End the claim: the recovery waits for what lifts `rule`, and no attempt is used up.

    :param message: why it is held, and when it goes on, after "Held (rule): ".
    """
    text = f"Held ({rule}): {message}"
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        gates.add(session, row.uuid, row.claim_number, now, gate, Answer.HOLD, facts, message)
        row.status = NotificationStatus.ERROR
        row.held_rule, row.held_since = rule, now
        row.retry_at = row.lease_until = None
        # no earlier step counts as done: each is done, or asked, again
        row.failed_claim = row.claim_number
        row.message, row.updated_at = text, now
        history.add(session, row.uuid, row.claim_number, now, message=f"error: {text}")
    LOG.warning("notification %s: %s (host %s)", claim.uuid, text, claim.host_name)


@retry
def lift(
    db: Database, notification_uuid: str, rule: Rule, why: str, *, passes: bool = False
) -> bool:
    """Make a recovery that `rule` holds due now; False where it is not held by that any more.

    :param passes: this rule holds it no more, as if that were approved.
    """
    with db.write() as session:
        row = lock(session, notification_uuid)
        if row.status != NotificationStatus.ERROR or row.held_rule != rule:
            return False
        now = db.now(session)
        if passes:
            approve(row, Approval(rule, None, now, None))
        let_go_on(session, row, now, f"Goes on: {why}")
    LOG.info("notification %s: goes on: %s (host %s)", row.uuid, why, row.host.name)
    return True


def approve(row: Notification, approval: Approval) -> None:
    """Note an approval on a locked notification, in the place of one of the same rule."""
    noted = {
        "by": approval.by,
        "at": approval.at.isoformat(),
        "missing": approval.missing,
    }
    row.approvals = {**(row.approvals or {}), approval.rule: noted}


def approvals_of(row: Notification) -> list[Approval]:
    """Return what has been approved, the oldest first; some of it may be too old to stand."""
    found = [
        Approval(
            Rule(rule),
            noted["by"],
            datetime.datetime.fromisoformat(noted["at"]),
            noted["missing"],
        )
        for rule, noted in (row.approvals or {}).items()
    ]
    return sorted(found, key=lambda approval: approval.at)


def approval_of(
    row: Notification, rule: Rule, now: datetime.datetime, missing: int | None = None
) -> Approval | None:
    """Return the approval of this rule that stands for so many missing hosts, if one does."""
    for found in approvals_of(row):
        if found.rule == rule and (now - found.at).total_seconds() <= APPROVAL_S:
            enough = missing is None or found.missing is None or missing <= found.missing
            return found if enough else None
    return None


@retry
def is_approved(db: Database, claim: Claim, rule: Rule) -> bool:
    """Return whether an operator has approved this recovery in spite of `rule`."""
    with db.read() as session:
        row = session.scalars(sa.select(Notification).where(Notification.uuid == claim.uuid)).one()
        return approval_of(row, rule, db.now(session)) is not None


@retry
def lapse(db: Database, claim: Claim) -> None:
    """End what an operator has approved of this recovery: its host is heard."""
    with db.write() as session:
        row, now = claims.lock_claimed(db, session, claim)
        for approval in approvals_of(row):
            if approval.by is not None:
                text = f"The approval ({approval.rule}) has lapsed: Nova hears the host."
                history.add(session, row.uuid, row.claim_number, now, message=text)
        row.approvals = None


@retry
def expire(db: Database, notification_uuid: str, after_s: float) -> bool:
    """Fail a recovery that has been held for longer than `after_s`; whether it was."""
    with db.write() as session:
        row = lock(session, notification_uuid)
        now = db.now(session)
        if row.status != NotificationStatus.ERROR or row.held_since is None:
            return False
        if (now - row.held_since).total_seconds() <= after_s:
            return False
        text = f"{row.message} Given up: held for {after_s / 3600:g} h ([DEFAULT] held_expire)."
        row.status, row.message = NotificationStatus.FAILED, text
        row.held_rule = row.held_since = None
        row.updated_at = now
        moves.fail_open(moves.of(session, row.uuid), now, text)
        history.add(session, row.uuid, row.claim_number, now, message=f"failed: {text}")
        operation_claims.recovery_ended(session, row, now)
    LOG.error("notification %s: error -> failed: %s (host %s)", row.uuid, text, row.host.name)
    return True


@retry
def remind(db: Database, notification_uuid: str, days: int, expire_s: float) -> bool:
    """Say, once for all engines, that a recovery has been held for so many days; whether it did.

    :param expire_s: after which it is given up.
    """
    with db.write() as session:
        row = lock(session, notification_uuid)
        if row.status != NotificationStatus.ERROR or row.held_since is None:
            return False
        text = (
            f"Still held ({row.held_rule}) after {days * 24} h; given up after {expire_s / 3600:g} "
            "h ([DEFAULT] held_expire)."
        )
        if history.has_since(session, row.uuid, row.held_since, text):
            return False
        history.add(session, row.uuid, row.claim_number, db.now(session), message=text)
    LOG.warning("notification %s: %s (host %s)", row.uuid, text, row.host.name)
    return True


#: What `all_of` reads, after each look of each engine.
_HELD_COLUMNS = (
    sa.select(
        Notification.uuid,
        Notification.type,
        Host.name.label("host"),
        Host.uuid.label("host_uuid"),
        Notification.segment_uuid,
        Notification.payload,
        Notification.held_rule,
        Notification.held_since,
        Notification.held_s,
    )
    .join(Host, Host.uuid == Notification.source_host_uuid)
    .where(HELD)
    .order_by(Notification.id)
)


def all_of(db: Database) -> list[Held]:
    """Return all that are held, the oldest first."""
    with db.read() as session:
        now = db.now(session)
        rows = session.execute(_HELD_COLUMNS).all()
    return [
        Held(
            uuid=row.uuid,
            type=NotificationType(row.type),
            host=row.host,
            host_uuid=row.host_uuid,
            segment_uuid=row.segment_uuid,
            payload=row.payload,
            rule=Rule(row.held_rule),
            for_s=(now - row.held_since).total_seconds(),
            total_s=row.held_s + (now - row.held_since).total_seconds(),
        )
        for row in rows
    ]


def counts(db: Database) -> dict[str, int]:
    """Return how many are held, by rule."""
    found = (
        sa.select(Notification.held_rule, sa.func.count(Notification.id))
        .where(HELD)
        .group_by(Notification.held_rule)
    )
    with db.read() as session:
        return {rule or "": count for rule, count in session.execute(found)}


def longest_s(db: Database) -> float:
    """Return for how long the oldest hold has lasted; 0: nothing is held."""
    with db.read() as session:
        since = session.scalar(sa.select(sa.func.min(Notification.held_since)).where(HELD))
        return (db.now(session) - since).total_seconds() if since else 0.0


def let_go_on(session: orm.Session, row: Notification, now: datetime.datetime, text: str) -> None:
    """Make a locked notification that is held due now; `text` says why."""
    row.held_s += (now - (row.held_since or now)).total_seconds()
    row.held_rule = row.held_since = None
    row.retry_at = row.updated_at = now
    history.add(session, row.uuid, row.claim_number, now, message=text)


def lock(session: orm.Session, notification_uuid: str) -> Notification:
    """Return a notification, locked, with its host and segment.  Raises NotificationNotFound."""
    session.execute(
        sa.select(Notification.id).where(Notification.uuid == notification_uuid).with_for_update()
    )
    return notifications.find(
        session,
        notification_uuid,
        orm.joinedload(Notification.host),
        orm.joinedload(Notification.segment),
    )
