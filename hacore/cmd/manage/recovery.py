# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage recovery: what became of notifications, and what a person may do about it."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output
from hacore.db import interventions, recovery_history
from hacore.db.interventions import Leftover
from hacore.db.models import HistoryEntry, Move, Notification
from hacore.db.recovery_history import RecoveryHistory
from hacore.states import NotificationStatus

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_COLUMNS = ("uuid", "type", "host", "status", "came_in", "attempts", "owner", "message")


def register(topics: "Topics") -> None:
    """Add ``recovery list|show|retry|abandon``."""
    verbs = cli.add_topic(topics, "recovery", "the recoveries")
    listed = cli.add_verb(verbs, "list", _list, "list recoveries, the newest first")
    listed.add_argument(
        "--status",
        action="append",
        choices=[str(status) for status in NotificationStatus],
        default=[],
        help="only those; may be given more than once",
    )
    listed.add_argument("--host", metavar="NAME", help="only those of this host")
    listed.add_argument("--limit", type=cli.count, default=50, metavar="N", help="default: 50")
    output.add_format(listed)
    shown = cli.add_verb(verbs, "show", _show, "show all that happened in one recovery")
    output.add_format(shown)
    again = cli.add_verb(
        verbs, "retry", _retry, "have one that is in error or failed tried again at once"
    )
    given_up = cli.add_verb(
        verbs, "abandon", _abandon, "end one that nobody works on, and say what it left behind"
    )
    given_up.add_argument("--reason", type=cli.sentence, required=True, help="kept in its message")
    for verb in (shown, again, given_up):
        verb.add_argument("uuid", type=cli.uuid, metavar="UUID")
    for verb in (again, given_up):
        verb.add_argument("--by", default=_operator(), metavar="NAME", help="default: %(default)s")


def _operator() -> str:
    """Who types this, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        found = recovery_history.list_(
            db, statuses=arguments.status, host=arguments.host, limit=arguments.limit
        )
    output.show(arguments.format, [_summary(row) for row in found], _COLUMNS)


def _summary(row: Notification) -> dict[str, Any]:
    return {
        "uuid": row.uuid,
        "type": row.type,
        "host": row.host.name,
        "status": row.status,
        "came_in": row.created_at,
        "attempts": row.claim_number,
        "owner": _owner(row),
        "message": row.message,
    }


def _owner(row: Notification) -> str | None:
    """The engine that holds it; of one that is not held, the last one is of no interest."""
    return row.owner if row.status == NotificationStatus.RUNNING else None


def _show(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        story = recovery_history.read(db, arguments.uuid)
        left = interventions.leftovers(db, arguments.uuid)
    parts: dict[str, Any] = {
        "recovery": _facts(story),
        "steps": _steps(story.entries),
        "moves": [_move(move) for move in story.moves],
        "events": [_event(event) for event in story.entries],
    }
    if not _is_held(story):
        parts["left_behind"] = _left(left)
    output.show_all(arguments.format, parts)


def _facts(story: RecoveryHistory) -> dict[str, Any]:
    row = story.notification
    return {
        **_summary(row),
        "segment": row.segment.name,
        "payload": row.payload,
        "generated": row.generated_time,
        "request_id": row.request_id,
        "lease": _lease(story),
        "failed_attempts": row.failed_attempts,
        "retry_at": row.retry_at if row.status == NotificationStatus.ERROR else None,
        "changed": row.updated_at,
    }


def _is_held(story: RecoveryHistory) -> bool:
    row = story.notification
    return (
        row.status == NotificationStatus.RUNNING
        and row.lease_until is not None
        and row.lease_until >= story.now
    )


def _lease(story: RecoveryHistory) -> str | None:
    row = story.notification
    if row.status != NotificationStatus.RUNNING:
        return None
    if row.lease_until is None:
        return "released; due for the next engine"
    left_s = (row.lease_until - story.now).total_seconds()
    if left_s < 0:
        return f"ended {-left_s:.0f} s ago; due for the next engine"
    return f"{left_s:.0f} s left"


def _steps(events: Sequence[HistoryEntry]) -> list[dict[str, Any]]:
    """Each step of each attempt in the order in which it began, with its last state."""
    steps: dict[tuple[int, str], dict[str, Any]] = {}
    for event in events:
        if event.step is None:
            continue
        step = steps.setdefault(
            (event.claim_number, event.step),
            {
                "attempt": event.claim_number,
                "step": event.step,
                "state": None,
                "progress": None,
                "began": event.created_at,
                "last_told": None,
            },
        )
        step["last_told"] = event.created_at
        step["state"] = event.state or step["state"]
        step["progress"] = step["progress"] if event.progress is None else event.progress
    return list(steps.values())


def _move(move: Move) -> dict[str, Any]:
    return {
        "instance": move.instance_uuid,
        "name": move.instance_name,
        "status": move.status,
        "from": move.source_host,
        "to": move.dest_host,
        "locked": move.locked,
        "began": move.start_time,
        "ended": move.end_time,
        "message": move.message,
    }


def _event(event: HistoryEntry) -> dict[str, Any]:
    return {
        "time": event.created_at,
        "attempt": event.claim_number,
        "step": event.step,
        "state": event.state,
        "progress": event.progress,
        "message": event.message,
    }


def _left(left: Sequence[Leftover]) -> list[dict[str, Any]]:
    return [{"what": one.what, "to_undo_it": one.remedy} for one in left]


def _retry(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        interventions.try_again(
            db, arguments.uuid, arguments.by, conf.notifications_expired_interval
        )
    sys.stdout.write(
        f"Notification {arguments.uuid} is due now; an engine takes it within "
        f"{conf.claim_poll_interval:g} s if it has room.\n"
    )


def _abandon(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        left = interventions.abandon(db, arguments.uuid, arguments.by, arguments.reason)
    sys.stdout.write(f"Notification {arguments.uuid} is failed now.\n")
    if not left:
        sys.stdout.write("Its recovery left nothing to be undone.\n")
        return
    sys.stdout.write("What its recovery left, and how to undo it once that is right:\n")
    for one in left:
        sys.stdout.write(f"* {one.what}\n      {one.remedy}\n")
