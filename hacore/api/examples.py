# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Answers for readers of the OpenAPI document; a test holds them to their schemas."""

from typing import Any

_CREATED = {
    "created_at": "2026-01-31T11:00:00.000000",
    "updated_at": None,
    "deleted_at": None,
    "deleted": False,
}
_SEGMENT_UUID = "5a1a3f4b-3c2f-4d27-9b0e-2f0d6c1b7a11"
_HOST_UUID = "7e0a9c8e-0c5b-4a53-8b1c-0b6a6c9f2d22"
_NOTIFICATION_UUID = "c0f1e2d3-7a6b-4c5d-9e8f-1a2b3c4d5e33"

_SEGMENT = {
    "id": 1,
    "uuid": _SEGMENT_UUID,
    "name": "rack 1",
    "description": None,
    "recovery_method": "auto",
    "service_type": "COMPUTE",
    "enabled": True,
    **_CREATED,
}
_HOST = {
    "id": 1,
    "uuid": _HOST_UUID,
    "name": "compute1",
    "type": "COMPUTE",
    "control_attributes": "SSH",
    "reserved": False,
    "on_maintenance": False,
    "failover_segment_id": _SEGMENT_UUID,
    "failover_segment": _SEGMENT,
    **_CREATED,
}
_NEW = {
    "id": 1,
    "notification_uuid": _NOTIFICATION_UUID,
    "type": "COMPUTE_HOST",
    "status": "new",
    "generated_time": "2026-01-31T12:00:00.000000",
    "source_host_uuid": _HOST_UUID,
    "failover_segment_uuid": _SEGMENT_UUID,
    "payload": {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"},
    "message": None,
    **_CREATED,
}
_FINISHED = {
    **_NEW,
    "status": "finished",
    "message": "1 evacuated.",
    "updated_at": "2026-01-31T12:00:09.500000",
}
_STEP = {
    "name": "disable_compute_service_task",
    "state": "SUCCESS",
    "progress": 1.0,
    "progress_details": [
        {
            "timestamp": "2026-01-31 12:00:04.250000",
            "message": "Nova sees nova-compute on compute1 as down.",
            "progress": "1.0",
        }
    ],
}
_MOVE = {
    "id": 1,
    "uuid": "0d9c8b7a-6f5e-4d3c-8b2a-190f8e7d6c44",
    "notification_uuid": _NOTIFICATION_UUID,
    "instance_uuid": "b9837317-a5b8-44f4-93b4-45500c562bb8",
    "instance_name": "db1",
    "source_host": "compute1",
    "dest_host": "compute2",
    "start_time": "2026-01-31T12:00:04.300000",
    "end_time": "2026-01-31T12:00:09.400000",
    "type": "evacuation",
    "status": "succeeded",
    "message": None,
    **_CREATED,
}

#: By the names of hacore.api.answers.SCHEMAS.
EXAMPLES: dict[str, Any] = {
    "SegmentAnswer": {"segment": _SEGMENT},
    "Segments": {"segments": [_SEGMENT]},
    "HostAnswer": {"host": _HOST},
    "Hosts": {"hosts": [_HOST]},
    "NotificationAnswer": {"notification": _NEW},
    "Notifications": {"notifications": [_FINISHED]},
    "NotificationDetail": {
        "notification": {**_FINISHED, "recovery_workflow_details": [_STEP]},
    },
    "VMoveAnswer": {"vmove": _MOVE},
    "VMoves": {"vmoves": [_MOVE]},
}
