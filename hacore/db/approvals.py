# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Approve: an operator lifts a hold, by the facts that were shown."""

import logging

from hacore.db import census, gates, holds, watch
from hacore.db.census import Seen
from hacore.db.engine import Database, retry
from hacore.db.holds import Approval
from hacore.db.models import Notification
from hacore.db.watch import Report
from hacore.errors import Conflict
from hacore.states import SUSPECT_AFTER, Hearing, NotificationStatus, NotificationType, Rule

LOG = logging.getLogger(__name__)

#: What ends a hold that no approval does.
_NOT_BY_APPROVAL = {
    Rule.PAUSE: "it goes on when the pause ends ('hacore-manage resume')",
    Rule.BACKLOG: "it goes on by itself when an engine knows which hosts Nova hears",
    Rule.OWN_HOST: "it goes on when an engine runs on another machine",
    Rule.PROOF: "it goes on when the host is off: see to that, and run 'hacore-manage host "
    "confirm-off'; or abandon it",
}


@retry
def approve(
    db: Database,
    notification_uuid: str,
    rule: Rule | None,
    by: str,
    reason: str,
    missing: int | None,
) -> Approval:
    """Lift a hold by an operator's word, which stands for `missing` hosts.

    :param rule: the one that was shown; None: whichever holds it.
    :param missing: the number that was shown; None: the one on record.

    Raises NotificationNotFound, or Conflict with the reason why not: it is not held, or not by
    that rule, or the facts are worse than those that were shown.
    """
    with db.write() as session:
        row = holds.lock(session, notification_uuid)
        now = db.now(session)
        held = _held_by(row, rule)
        counted = gates.last_count(session, row.uuid) or {}
        if missing is None:
            missing = counted.get("missing")
        if counted:
            _refuse_more(counted["missing"], counted.get("hosts"), missing)
        if row.type == NotificationType.COMPUTE_HOST:
            report = watch.read(session, now)
            _refuse_heard(row, report)
            taken = census.taken(session, _seen(report), census.sizes(session, now), now)
            for count in taken.of(row.host.name, row.segment_uuid, row.segment.name):
                if count.domain == counted.get("domain"):
                    _refuse_more(len(count.missing), count.hosts, missing)
        approval = Approval(held, by, now, missing)
        holds.approve(row, approval)
        holds.let_go_on(session, row, now, f"Approved by {by} ({held}): {reason.rstrip('.')}.")
    LOG.warning(
        "notification %s: %s approved by %s: %s (host %s)",
        row.uuid,
        held,
        by,
        reason,
        row.host.name,
    )
    return approval


def _held_by(row: Notification, shown: Rule | None) -> Rule:
    """Return the rule that holds it, where a person may lift that."""
    if row.status != NotificationStatus.ERROR or row.held_rule is None:
        raise Conflict(f"Notification {row.uuid} is not held; it is {row.status}.")
    held = Rule(row.held_rule)
    if shown not in (None, held):
        raise Conflict(
            f"The facts have changed: notification {row.uuid} is held by {held} (shown: {shown}). "
            "Look again."
        )
    if held in _NOT_BY_APPROVAL:
        raise Conflict(
            f"Notification {row.uuid} is held by {held}, which nobody can approve; "
            f"{_NOT_BY_APPROVAL[held]}."
        )
    return held


def _refuse_more(missing: int, hosts: int | None, shown: int | None) -> None:
    if shown is None or missing <= shown:
        return
    of = "" if hosts is None else f" of {hosts}"
    raise Conflict(
        f"The facts have changed: {missing}{of} hosts are missing (shown: {shown}). Look again."
    )


def _refuse_heard(row: Notification, report: Report) -> None:
    """Raise Conflict where Nova hears the host by now, or nobody knows."""
    watch.require_current(report)
    host = report.hosts.get(row.host.name)
    if host is not None and host.state == Hearing.HEARD:
        raise Conflict(
            f"The facts have changed: Nova hears {host.host}, and what it hears is not evacuated. "
            "Look again."
        )


def _seen(report: Report) -> Seen:
    """Return what is written of all hosts as an engine sees it."""
    unheard = (Hearing.SUSPECT, Hearing.SILENT)
    return Seen(
        zones={known.host: known.zone for known in report.hosts.values()},
        unheard=frozenset(each.host for each in report.hosts.values() if each.state in unheard),
        heard_s={each.host: 0.0 for each in report.hosts.values() if each.state == Hearing.HEARD},
        least_s=SUSPECT_AFTER * (report.interval_s or 0.0),
    )
