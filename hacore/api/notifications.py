# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/notifications"""

from typing import Any

from oslo_log import log

from hacore import metrics
from hacore.api import microversions, recovery_details, schemas, times
from hacore.api.call import Call
from hacore.api.uuids import require_uuid
from hacore.db import notifications
from hacore.errors import NotificationNotFound
from hacore.resources import NOTIFICATION
from hacore.states import NotificationStatus, NotificationType

LOG = log.getLogger(__name__)

FILTERS = ("status", "source_host_uuid", "type")

_PAYLOADS = {
    type_: schemas.Validator(schema, "notification/payload")
    for type_, schema in schemas.PAYLOADS.items()
}


def index(call: Call) -> dict[str, Any]:
    since = call.query.time("generated-since")
    page = call.query.page(NOTIFICATION.sort_keys, call.services.most_rows)
    found = notifications.list_(call.db, call.query.equal(*FILTERS), page, since)
    return {"notifications": [NOTIFICATION.serialize(notification) for notification in found]}


def detail(call: Call, notification_id: str) -> dict[str, Any]:
    require_uuid(notification_id, NotificationNotFound)
    if call.version < microversions.RECOVERY_DETAILS:
        return {"notification": NOTIFICATION.serialize(notifications.get(call.db, notification_id))}
    notification, history = notifications.get_with_history(call.db, notification_id)
    return {
        "notification": {
            **NOTIFICATION.serialize(notification),
            "recovery_workflow_details": recovery_details.serialize(history),
        }
    }


def create(call: Call) -> dict[str, Any]:
    report = _report(call.body)
    known = {
        "type": report.type,
        "payload": report.payload,
        "generated_time": report.generated_time,
    }
    with call.emitting("notification.create", **known, status=NotificationStatus.NEW) as event:
        notification = notifications.create(
            call.db,
            report,
            request_id=call.caller.global_id,
            duplicate_window_s=call.services.duplicate_window_s,
        )
        event.update(answer := NOTIFICATION.serialize(notification))
    call.services.wake()
    metrics.NOTIFICATIONS.labels(notification.type, NotificationStatus.NEW).inc()
    LOG.info(
        "notification %s: new, %s of host %s",
        notification.uuid,
        notification.type,
        report.hostname,
    )
    return {"notification": answer}


def _report(body: Any) -> notifications.Report:
    """Return the report in the body.

    Raises Invalid.
    """
    given = body["notification"]
    type_ = NotificationType(given["type"])
    _PAYLOADS[type_].validate(given["payload"])
    return notifications.Report(
        type=type_,
        hostname=given["hostname"],
        generated_time=times.parse("notification/generated_time", given["generated_time"]),
        payload=given["payload"],
    )
