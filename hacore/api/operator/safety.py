# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/safety"""

from typing import Any

from hacore.api.call import Call
from hacore.api.context import who
from hacore.api.operator import resources
from hacore.api.operator.schemas import one_line
from hacore.api.tagged import Tagged
from hacore.api.uuids import require_uuid
from hacore.db import holds, pauses, services, tags, watch
from hacore.db.watch import Report
from hacore.errors import Invalid, SegmentNotFound
from hacore.states import Rule

_HEARD = "heard"


def detail(call: Call) -> Tagged:
    return Tagged(tags.of_safety(call.db), lambda: {"safety": _detail(call)})


def _detail(call: Call) -> dict[str, Any]:
    report = watch.report(call.db)
    counts = holds.counts(call.db)
    return {
        "limits": dict(call.services.limits),
        "held": {str(rule): counts.get(rule, 0) for rule in Rule},
        # a sentence while engines are alive that hold nothing
        "not_enforced": services.unenforced(call.db),
        "pauses": [resources.PAUSE.serialize(each) for each in pauses.all_of(call.db)],
        "heartbeats": _heartbeats(report),
        "hosts_not_heard": [
            resources.UNHEARD.serialize(host)
            for host in report.hosts.values()
            if host.state != _HEARD
        ],
    }


def _heartbeats(report: Report) -> dict[str, Any]:
    return {
        "current": report.current,
        "age_s": report.age_s,
        "interval_s": report.interval_s,
        "illness": report.illness,
        "ill_since": resources.utc(report.ill_since),
        "hosts": len(report.hosts),
    }


def pause(call: Call) -> dict[str, Any]:
    scope = _scope(call.body["scope"])
    seconds = call.body.get("seconds")
    made = pauses.pause(
        call.db,
        scope,
        who(call.caller),
        one_line(call.body["reason"]),
        None if seconds is None else float(seconds),
    )
    return {"pause": resources.PAUSE.serialize(made)}


def resume(call: Call) -> dict[str, Any]:
    scope = call.query.text("scope")
    if scope is None:
        raise Invalid("scope: must be given: all, or the uuid of a segment.")
    reason = call.query.text("reason")
    ended = pauses.resume(
        call.db,
        _scope(scope),
        who(call.caller),
        None if reason is None else one_line(reason),
    )
    return {"pause": resources.PAUSE.serialize(ended)}


def _scope(text: str) -> str:
    if text != pauses.ALL:
        require_uuid(text, SegmentNotFound)
    return text
