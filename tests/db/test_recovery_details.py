# Licensed under the Apache License, Version 2.0; see LICENSE.
"""recovery_workflow_details, from history rows."""

import datetime
from typing import Any

from hacore.api import recovery_details
from hacore.db import notifications
from hacore.db.engine import Database
from hacore.db.models import HistoryEntry, Notification
from tests import factories

START = datetime.datetime(2026, 1, 1, 12, 0, 0, 5000, tzinfo=datetime.UTC)

Row = tuple[int, str | None, str | None, float | None, str | None]


def shown(db: Database, notification: Notification) -> list[dict[str, Any]]:
    return recovery_details.serialize(notifications.get_with_history(db, notification.uuid)[1])


def details(db: Database, rows: list[Row]) -> list[dict[str, Any]]:
    notification = factories.notification(db, factories.host(db))
    with db.write() as session:
        for number, (attempt, step, state, progress, message) in enumerate(rows):
            event = HistoryEntry(
                notification_uuid=notification.uuid,
                claim_number=attempt,
                step=step,
                state=state,
                progress=progress,
                message=message,
                created_at=START + datetime.timedelta(seconds=number),
            )
            session.add(event)
            session.flush()
    return shown(db, notification)


def test_no_recovery_yet(db: Database) -> None:
    assert details(db, []) == []


def test_steps_with_their_messages(db: Database) -> None:
    shown = details(
        db,
        [
            (1, None, None, None, "claimed"),
            (1, "disable", "RUNNING", 0.0, None),
            (1, "disable", None, 0.5, "disabled"),
            (1, "disable", "SUCCESS", 1.0, "Nova sees it as down"),
            (1, "evacuate", "RUNNING", None, "2 instances"),
            (1, "evacuate", None, 0.5, "db1: succeeded"),
            (1, "evacuate", "FAILURE", None, None),
        ],
    )

    assert shown == [
        {
            "name": "disable",
            "state": "SUCCESS",
            "progress": 1.0,
            "progress_details": [
                {
                    "timestamp": "2026-01-01 12:00:02.005000",
                    "message": "disabled",
                    "progress": "0.5",
                },
                {
                    "timestamp": "2026-01-01 12:00:03.005000",
                    "message": "Nova sees it as down",
                    "progress": "1.0",
                },
            ],
        },
        {
            "name": "evacuate",
            "state": "FAILURE",
            "progress": 0.5,
            "progress_details": [
                {
                    "timestamp": "2026-01-01 12:00:04.005000",
                    "message": "2 instances",
                    "progress": "0.0",
                },
                {
                    "timestamp": "2026-01-01 12:00:05.005000",
                    "message": "db1: succeeded",
                    "progress": "0.5",
                },
            ],
        },
    ]


def test_each_step_is_told_as_its_newest_attempt_went(db: Database) -> None:
    shown = details(
        db,
        [
            (1, "a", "SUCCESS", 1.0, "first a"),
            (1, "b", "FAILURE", 0.5, "first b"),
            (2, "a", "RUNNING", 0.0, "second a"),
        ],
    )

    assert [(step["name"], step["state"], step["progress"]) for step in shown] == [
        ("a", "RUNNING", 0.0),
        ("b", "FAILURE", 0.5),
    ]
    assert [step["progress_details"][0]["message"] for step in shown] == ["second a", "first b"]


def test_other_notifications_stay_out(db: Database) -> None:
    host = factories.host(db)
    other = factories.notification(db, host)
    mine = factories.notification(db, host)
    with db.write() as session:
        session.add(
            HistoryEntry(
                notification_uuid=other.uuid,
                claim_number=1,
                step="a",
                state="SUCCESS",
                created_at=START,
            )
        )

    assert shown(db, mine) == []
    assert len(shown(db, other)) == 1
