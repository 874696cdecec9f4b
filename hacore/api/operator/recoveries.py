# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/recoveries, and /operator/v1/explain"""

from typing import Any

from oslo_log import log

from hacore.api.call import Call
from hacore.api.context import who
from hacore.api.operator import resources
from hacore.api.operator.schemas import one_line
from hacore.api.tagged import Tagged
from hacore.api.uuids import require_uuid
from hacore.db import (
    approvals,
    gates,
    history,
    interventions,
    leftovers,
    recovery_history,
    recovery_lists,
    tags,
)
from hacore.db.interventions import Leftover
from hacore.db.recovery_lists import Wanted
from hacore.errors import NotificationNotFound
from hacore.states import NotificationStatus, NotificationType, Rule

LOG = log.getLogger(__name__)


def index(call: Call) -> Tagged:
    wanted = Wanted(
        statuses=tuple(call.query.words("status", NotificationStatus)),
        type=call.query.word("type", NotificationType),
        host=call.query.text("host"),
        since=call.query.time("since"),
        held=call.query.boolean("held"),
    )
    limit, marker = call.query.limit(call.services.most_rows), call.query.text("marker")

    def make() -> dict[str, Any]:
        found = recovery_lists.page(call.db, wanted, limit, marker)
        return {"recoveries": [resources.recovery(row) for row in found]}

    return Tagged(tags.of_page(call.db, wanted, limit, marker), make)


def detail(call: Call, notification_id: str) -> Tagged:
    require_uuid(notification_id, NotificationNotFound)
    return Tagged(
        tags.of_recovery(call.db, notification_id),
        lambda: {"recovery": _detail(call, notification_id)},
    )


def _detail(call: Call, uuid: str) -> dict[str, Any]:
    found = recovery_history.read(call.db, uuid)
    row = found.notification
    left = interventions.leftovers(call.db, uuid)
    return {
        **resources.recovery(row),
        "request_id": row.request_id,
        "approvals": resources.approvals(row),
        "claim": resources.claim(found),
        "steps": [resources.step(run) for run in history.step_runs(found.entries)],
        "moves": [resources.move(each) for each in found.moves],
        "history": [resources.event(entry) for entry in found.entries],
        # what an engine is at work on is not left behind
        "to_clean_up": None if found.is_claimed else _to_clean_up(left),
    }


def _to_clean_up(left: list[Leftover]) -> list[dict[str, str]]:
    return [dict(zip(("what", "command"), leftovers.described(each), strict=True)) for each in left]


def events(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    after = call.query.number("after") or 0
    limit = call.query.limit(call.services.most_rows)
    found = recovery_lists.entries_after(call.db, notification_id, after, limit)
    return {"events": [resources.event(entry) for entry in found]}


def retry(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    reason = one_line(call.body["reason"]) if "reason" in call.body else None
    by = who(call.caller)
    interventions.try_again(call.db, notification_id, by, call.services.expire_s, reason)
    call.services.wake()
    return {"recovery": _summary(call, notification_id)}


def abandon(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    reason = one_line(call.body["reason"])
    left = interventions.abandon(call.db, notification_id, who(call.caller), reason)
    return {"recovery": _summary(call, notification_id), "to_clean_up": _to_clean_up(left)}


def approve(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    shown, by = call.body.get("facts", {}).get("missing"), who(call.caller)
    approvals.approve(
        call.db,
        notification_id,
        Rule(call.body["rule"]),
        by,
        one_line(call.body["reason"]),
        None if shown is None else int(shown),
    )
    if shown is None:
        LOG.warning(
            "notification %s: approved by %s, who did not say how many missing hosts were shown",
            notification_id,
            by,
        )
    call.services.wake()
    return {"recovery": _summary(call, notification_id)}


def _summary(call: Call, uuid: str) -> dict[str, Any]:
    return resources.recovery(recovery_lists.one(call.db, uuid))


def explain(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    asked = gates.of(call.db, notification_id)
    return {
        "recovery": _summary(call, notification_id),
        "gates": [resources.GATE.serialize(each) for each in asked],
    }
