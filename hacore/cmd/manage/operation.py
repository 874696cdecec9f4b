# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage operation, and host return: what operators ask hacore to do with a host."""

import argparse
import sys
import threading
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.clock import SystemClock
from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output, recovery
from hacore.db import history, hosts, operations
from hacore.db.engine import Database
from hacore.db.models import Operation
from hacore.db.operations import Wanted
from hacore.errors import Invalid
from hacore.states import OPERATION_ENDED, OperationStatus, OperationType

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_COLUMNS = ("uuid", "type", "host", "status", "by", "came_in", "owner", "message")
#: Seconds between two looks of --watch.
_LOOK_S = 1.0


def register(topics: "Topics") -> None:
    """Add ``operation list|show``."""
    verbs = cli.add_topic(topics, "operation", "what operators have asked hacore to do with hosts")
    listed = cli.add_verb(verbs, "list", _list, "list operations, the newest first")
    cli.add_list_options(listed, "operations", OperationStatus)
    shown = cli.add_verb(verbs, "show", _show, "show everything recorded about one operation")
    shown.add_argument("uuid", type=cli.uuid, metavar="UUID", help="of the operation")
    for verb in (listed, shown):
        output.add_format(verb)


def add_return(verbs: "Topics") -> None:
    """Add ``return`` to the verbs of hosts."""
    verb = cli.add_verb(verbs, "return", _return, "bring a host back into service, step by step")
    verb.add_argument("name", metavar="NAME", help="of the host")
    verb.add_argument("--reason", type=cli.sentence, help="stored in the history")
    verb.add_argument(
        "--force",
        action="store_true",
        help="go on though a fencing device, which was ordered to switch the host off, cannot be "
        "read; needs --reason",
    )
    verb.add_argument(
        "--watch", action="store_true", help="show what happens until it has ended; 1: it failed"
    )
    cli.add_operator(verb)


def _return(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int | None:
    if arguments.force and arguments.reason is None:
        raise Invalid("--force needs --reason.")
    with launch.usable_database(conf) as db:
        row = operations.create(
            db,
            hosts.named(db, arguments.name).uuid,
            OperationType.RETURN,
            arguments.by,
            arguments.reason,
            {"force": arguments.force},
        )
        sys.stdout.write(
            f"Operation {row.uuid} is due now; an engine with free capacity claims it within "
            f"{conf.claim_poll_interval:g} s.\n"
        )
        return _watch(db, row.uuid) if arguments.watch else None


def _watch(db: Database, uuid: str) -> int:
    """Write each line of the history once; return the exit status."""
    clock, never, written = SystemClock(), threading.Event(), 0
    while True:
        found = operations.read(db, uuid)
        for entry in found.entries[written:]:
            if entry.message:
                sys.stdout.write(f"{entry.created_at:%H:%M:%S} {entry.message}\n")
        sys.stdout.flush()
        written = len(found.entries)
        if found.operation.status in OPERATION_ENDED:
            return int(found.operation.status == OperationStatus.FAILED)
        clock.wait(never, _LOOK_S)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    wanted = Wanted(statuses=tuple(arguments.status), host=arguments.host)
    with launch.usable_database(conf) as db:
        found = operations.page(db, wanted, arguments.limit)
    output.show(arguments.format, [_summary(row) for row in found], _COLUMNS)


def _summary(row: Operation) -> dict[str, Any]:
    return {
        "uuid": row.uuid,
        "type": row.type,
        "host": row.host.name,
        "status": row.status,
        "by": row.by,
        "came_in": row.created_at,
        # the last owner of an ended claim is not shown
        "owner": row.owner if row.status == OperationStatus.RUNNING else None,
        "message": row.message,
    }


def _show(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        found = operations.read(db, arguments.uuid)
    row = found.operation
    facts = {
        **_summary(row),
        "reason": row.reason,
        "options": row.options,
        "request_id": row.request_id,
        "deadline": row.deadline,
        "retry_at": row.retry_at,
        "changed": row.updated_at,
    }
    parts: dict[str, Any] = {
        "operation": facts,
        "steps": [recovery.step(run) for run in history.step_runs(found.entries)],
        "history": [recovery.line(entry) for entry in found.entries],
    }
    output.show_all(arguments.format, parts)
