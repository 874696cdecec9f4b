# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage explain: why a recovery was done, or why not; each gate's answers, in order."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output, recovery
from hacore.db import gates, recovery_history
from hacore.db.models import Notification

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_INDENT = 4


def register(topics: "Topics") -> None:
    """Add ``explain``."""
    verb = cli.add_verb(
        topics,
        "explain",
        _run,
        "show why a recovery was done, or why not: each check that was made, the facts that it "
        "saw, and its answer",
    )
    verb.add_argument("uuid", type=cli.uuid, metavar="UUID", help="of the notification")
    output.add_format(verb)


def _run(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        row = recovery_history.read(db, arguments.uuid).notification
        asked = gates.of(db, arguments.uuid)
    answers = [
        {
            "time": each.at,
            "claim": each.claim_number,
            "gate": each.gate,
            "answer": each.answer,
            "facts": each.facts,
            "message": each.message,
        }
        for each in asked
    ]
    facts = _facts(row)
    if arguments.format == "json":
        output.show_all("json", {"recovery": facts, "gates": answers})
    else:
        lines = _lines(facts, answers, begun=row.claim_number > 0)
        sys.stdout.write("".join(f"{line}\n" for line in lines))


def _facts(row: Notification) -> dict[str, Any]:
    return {
        "uuid": row.uuid,
        "type": row.type,
        "host": row.host.name,
        "came_in": row.created_at,
        "status": row.status,
        "held": row.held_rule,
        "held_since": row.held_since,
        "approvals": recovery.approved(row),
        "message": row.message,
    }


def _lines(
    facts: Mapping[str, Any], answers: list[dict[str, Any]], *, begun: bool
) -> Iterator[str]:
    came_in = f"{facts['came_in']:%Y-%m-%d %H:%M:%S}"
    subject = f"{facts['type']} of host {facts['host']}"
    yield output.folded(f"{subject}, came in at {came_in} (times in UTC)", _INDENT)
    if not answers and begun:
        # a pause, or restarts, that would hold it and are not there leave no line
        yield "No gate is on record: nothing held it, or an older engine worked on it."
    elif not answers:
        yield "No gate was asked: no engine has worked on it yet."
    for each in answers:
        yield f"{each['time']:%Y-%m-%d %H:%M:%S}  {each['gate']}: {each['answer']}"
        for text in (each["message"], _listed(each["facts"])):
            if text:
                yield output.folded(" " * _INDENT + text, _INDENT)
    for approved in facts["approvals"]:
        yield output.folded(f"Approved: {approved}", _INDENT)
    if facts["held"]:  # the last answer says why
        yield f"Now held ({facts['held']}), since {facts['held_since']:%Y-%m-%d %H:%M:%S}."
    else:
        state = f"Now {facts['status']}: {facts['message'] or 'no message'}"
        yield output.folded(state, _INDENT)


def _listed(facts: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {_value(value)}" for name, value in facts.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(_value(each) for each in value) or "none"
    return json.dumps(value)
