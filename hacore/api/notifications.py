# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/v1/notifications"""

from typing import Any

from oslo_log import log

from hacore import metrics
from hacore.api import parameters, recovery_details, schemas, times, uuids
from hacore.api.answering import Call, Route
from hacore.db import notifications
from hacore.db.models import Notification
from hacore.errors import NotificationNotFound
from hacore.policies import name
from hacore.states import NotificationStatus, NotificationType

LOG = log.getLogger(__name__)

SORT_KEYS = {
    "id": "id",
    "notification_uuid": "uuid",
    "type": "type",
    "status": "status",
    "generated_time": "generated_time",
    "source_host_uuid": "source_host_uuid",
    "failover_segment_uuid": "segment_uuid",
    "message": "message",
    "created_at": "created_at",
    "updated_at": "updated_at",
}
FILTERS = {"status": "status", "source_host_uuid": "source_host_uuid", "type": "type"}
DETAILS_SINCE = (1, 1)

_PAYLOADS = {
    type_: schemas.Validator(schema, "notification/payload")
    for type_, schema in schemas.PAYLOADS.items()
}


def index(call: Call) -> dict[str, Any]:
    since = call.query.time("generated-since")
    page = call.query.page(SORT_KEYS, call.services.most_rows)
    found = notifications.list_(call.db, call.query.equal(FILTERS), page, since)
    return {"notifications": [show(notification) for notification in found]}


def detail(call: Call, notification_id: str) -> dict[str, Any]:
    uuids.check(notification_id, NotificationNotFound)
    if call.version < DETAILS_SINCE:
        return {"notification": show(notifications.get(call.db, notification_id))}
    notification, history = notifications.get_with_history(call.db, notification_id)
    details = recovery_details.serialize(history)
    return {"notification": {**show(notification), "recovery_workflow_details": details}}


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
        event.update(shown := show(notification))
    call.services.wake()
    metrics.NOTIFICATIONS.labels(notification.type, NotificationStatus.NEW).inc()
    LOG.info(
        "notification %s: new, %s of host %s",
        notification.uuid,
        notification.type,
        report.hostname,
    )
    return {"notification": shown}


def show(notification: Notification) -> dict[str, Any]:
    """Return a notification as clients know it."""
    return {
        "id": notification.id,
        "notification_uuid": notification.uuid,
        "type": notification.type,
        "status": notification.status,
        "generated_time": times.show(notification.generated_time),
        "source_host_uuid": notification.source_host_uuid,
        "failover_segment_uuid": notification.segment_uuid,
        "payload": notification.payload,
        "message": notification.message,
        "created_at": times.show(notification.created_at),
        "updated_at": times.show(notification.updated_at),
        "deleted_at": None,
        "deleted": False,
    }


def _report(body: Any) -> notifications.Report:
    """Return what the body says, as far as it goes without the database.

    Raises Invalid.
    """
    given = body["notification"]
    type_ = NotificationType(given["type"])
    _PAYLOADS[type_].check(given["payload"])
    return notifications.Report(
        type=type_,
        hostname=given["hostname"],
        generated_time=times.parse("notification/generated_time", given["generated_time"]),
        payload=given["payload"],
    )


ROUTES = [
    Route(
        "GET",
        "/notifications",
        index,
        "List notifications",
        name("notifications", "index"),
        parameters={
            "status": parameters.text("Only those with this status."),
            "source_host_uuid": parameters.text("Only those of this host."),
            "type": parameters.text("Only those of this type."),
            "generated-since": parameters.time("Only those generated then or later."),
            **parameters.page(SORT_KEYS),
        },
        answer="Notifications",
    ),
    Route(
        "POST",
        "/notifications",
        create,
        "Report a failure",
        name("notifications", "create"),
        status=202,
        bodies=[((1, 0), schemas.NOTIFICATION_CREATE)],
        documented_body=schemas.NOTIFICATION_CREATE_DOCUMENTED,
        example={
            "notification": {
                "type": "COMPUTE_HOST",
                "hostname": "compute1",
                "generated_time": "2026-01-31T12:00:00.000000",
                "payload": {
                    "event": "STOPPED",
                    "cluster_status": "OFFLINE",
                    "host_status": "NORMAL",
                },
            }
        },
        answer="NotificationAnswer",
        faults=(409,),
    ),
    Route(
        "GET",
        "/notifications/{notification_id}",
        detail,
        "Show a notification; from 1.1 on with the steps of its recovery",
        name("notifications", "detail"),
        answer="NotificationDetail",
    ),
]
