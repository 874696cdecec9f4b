# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage recovery: the state of recoveries, and what an operator may do about them."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output, safety
from hacore.db import (
    approvals,
    history,
    holds,
    interventions,
    leftovers,
    recovery_history,
    recovery_lists,
)
from hacore.db.history import StepRun
from hacore.db.models import HistoryEntry, Move, Notification, OperationEntry
from hacore.db.recovery_history import RecoveryHistory
from hacore.db.recovery_lists import Wanted
from hacore.states import NotificationStatus, Rule

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_COLUMNS = (
    "uuid",
    "type",
    "host",
    "status",
    "held",
    "held_since",
    "came_in",
    "failed_attempts",
    "owner",
    "message",
)
#: What says nothing in a list of held ones.
_SAME_WHILE_HELD = ("status", "failed_attempts", "owner")


def register(topics: "Topics") -> None:
    """Add ``recovery list|show|approve|retry|abandon``."""
    verbs = cli.add_topic(topics, "recovery", "the recoveries")
    listed = cli.add_verb(verbs, "list", _list, "list recoveries, the newest first")
    cli.add_list_options(listed, "recoveries", NotificationStatus)
    listed.add_argument(
        "--held", action="store_true", help="only recoveries that a safety rule holds"
    )
    output.add_format(listed)
    shown = cli.add_verb(verbs, "show", _show, "show everything recorded about one recovery")
    output.add_format(shown)
    approved = cli.add_verb(
        verbs, "approve", _approve, "let a held recovery go on, though a safety rule holds it"
    )
    approved.add_argument(
        "--rule", choices=[str(rule) for rule in Rule], help="only if this rule holds it"
    )
    approved.add_argument(
        "--missing",
        type=cli.hosts,
        metavar="N",
        help="approve up to this number of missing hosts; default: the number on record",
    )
    retried = cli.add_verb(
        verbs, "retry", _retry, "retry a recovery that is in error or failed, at once"
    )
    abandoned = cli.add_verb(
        verbs,
        "abandon",
        _abandon,
        "mark a recovery that no engine works on as failed, and list what must be cleaned up",
    )
    abandoned.add_argument(
        "--reason", type=cli.sentence, required=True, help="stored in the notification's message"
    )
    approved.add_argument(
        "--reason", type=cli.sentence, required=True, help="stored in the history of the recovery"
    )
    for verb in (shown, approved, retried, abandoned):
        verb.add_argument("uuid", type=cli.uuid, metavar="UUID", help="of the notification")
    for verb in (approved, retried, abandoned):
        cli.add_operator(verb)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        wanted = Wanted(
            statuses=tuple(arguments.status),
            host=arguments.host,
            held=True if arguments.held else None,
        )
        found = recovery_lists.page(db, wanted, arguments.limit)
        notes = list(safety.notes(db))
    sys.stderr.write("".join(f"{note}\n" for note in notes))
    # JSON always has the same keys
    narrow = arguments.held and arguments.format == "table"
    columns = [name for name in _COLUMNS if not (narrow and name in _SAME_WHILE_HELD)]
    output.show(arguments.format, [_summary(row) for row in found], columns)


def _summary(row: Notification) -> dict[str, Any]:
    return {
        "uuid": row.uuid,
        "type": row.type,
        "host": row.host.name,
        "status": row.status,
        "held": row.held_rule,
        "held_since": row.held_since,
        "came_in": row.created_at,
        # of max_recovery_attempts; the claim number also counts takeovers
        "failed_attempts": row.failed_attempts,
        "owner": _owner(row),
        "message": row.message,
    }


def _owner(row: Notification) -> str | None:
    """The engine that has claimed it; the last owner of an ended claim is not shown."""
    return row.owner if row.status == NotificationStatus.RUNNING else None


def _show(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        found = recovery_history.read(db, arguments.uuid)
        left = interventions.leftovers(db, arguments.uuid)
    parts: dict[str, Any] = {
        "recovery": _facts(found),
        "steps": [step(run) for run in history.step_runs(found.entries)],
        "moves": [_move(move) for move in found.moves],
        "history": [line(entry) for entry in found.entries],
    }
    if not found.is_claimed:
        parts["to_clean_up"] = [
            dict(zip(("what", "command"), leftovers.described(each), strict=True)) for each in left
        ]
    output.show_all(arguments.format, parts)


def _facts(found: RecoveryHistory) -> dict[str, Any]:
    row = found.notification
    return {
        **_summary(row),
        "segment": row.segment.name,
        "approvals": approved(row),
        "payload": row.payload,
        "generated": row.generated_time,
        "request_id": row.request_id,
        "lease": _lease(found),
        "retry_at": row.retry_at if row.status == NotificationStatus.ERROR else None,
        "changed": row.updated_at,
    }


def approved(row: Notification) -> list[str]:
    """Return which rules operators have approved, who, and when; none that has lapsed."""
    return [
        f"{each.rule}, by {each.by} at {each.at:%Y-%m-%d %H:%M:%S} UTC{_up_to(each.missing)}"
        for each in holds.approvals_of(row)
        if each.by is not None
    ]


def _up_to(missing: int | None) -> str:
    return "" if missing is None else f", for up to {missing} missing hosts"


def _lease(found: RecoveryHistory) -> str | None:
    row = found.notification
    if row.status != NotificationStatus.RUNNING:
        return None
    if row.lease_until is None:
        return "released; due for the next engine"
    left_s = (row.lease_until - found.now).total_seconds()
    if left_s < 0:
        return f"expired {-left_s:.0f} s ago; due for the next engine"
    return f"{left_s:.0f} s left"


def step(run: StepRun) -> dict[str, Any]:
    """Return a step as a row of a table."""
    return {
        "claim": run.claim_number,
        "step": run.step,
        "state": run.state,
        "progress": run.progress,
        "began": run.entries[0].created_at,
        "last_change": run.entries[-1].created_at,
    }


def _move(move: Move) -> dict[str, Any]:
    return {
        "move": move.uuid,
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


def line(entry: HistoryEntry | OperationEntry) -> dict[str, Any]:
    """Return a line of a history as a row of a table."""
    return {
        "time": entry.created_at,
        "claim": entry.claim_number,
        "step": entry.step,
        "state": entry.state,
        "progress": entry.progress,
        "message": entry.message,
    }


def _approve(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    rule = Rule(arguments.rule) if arguments.rule else None
    with launch.usable_database(conf) as db:
        given = approvals.approve(
            db, arguments.uuid, rule, arguments.by, arguments.reason, arguments.missing
        )
    sys.stdout.write(
        f"Approved: {given.rule}{_up_to(given.missing)}; it stands for "
        f"{holds.APPROVAL_S / 60:g} min.\n{due(conf, arguments.uuid)}"
    )


def _retry(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        interventions.try_again(
            db, arguments.uuid, arguments.by, conf.notifications_expired_interval
        )
    sys.stdout.write(due(conf, arguments.uuid))


def due(conf: cfg.ConfigOpts, notification_uuid: str) -> str:
    """Return the line that says what follows a retry."""
    return (
        f"Notification {notification_uuid} is due now; an engine with free capacity claims it "
        f"within {conf.claim_poll_interval:g} s.\n"
    )


def _abandon(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        left = interventions.abandon(db, arguments.uuid, arguments.by, arguments.reason)
    sys.stdout.write(f"Notification {arguments.uuid} is now failed.\n")
    if not left:
        sys.stdout.write("Nothing has to be cleaned up.\n")
        return
    sys.stdout.write("To be cleaned up; check each item before you run its command:\n")
    for each in left:
        sentence, command = leftovers.described(each)
        sys.stdout.write(f"* {sentence}\n      {command}\n")
