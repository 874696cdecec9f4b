# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage pause and resume, and what a reader of any list should know beside it."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.db import pauses, segments, services
from hacore.db.engine import Database
from hacore.db.pauses import Paused
from hacore.errors import Conflict, SegmentNotFound

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics


def register(topics: "Topics") -> None:
    """Add ``pause`` and ``resume``."""
    paused = cli.add_verb(
        topics,
        "pause",
        _pause,
        "hold all recoveries of hosts and instances, of a segment or of all; again: change it",
    )
    paused.add_argument("--reason", type=cli.sentence, required=True, help="shown with the pause")
    paused.add_argument(
        "--for",
        dest="for_s",
        type=cli.duration_s,
        metavar="2h",
        help="until it ends by itself: 90s, 15m, 2h, 1d; default: until 'hacore-manage resume'",
    )
    resumed = cli.add_verb(topics, "resume", _resume, "end a pause; what it holds goes on")
    for verb in (paused, resumed):
        verb.add_argument("--segment", metavar="NAME|UUID", help="default: all segments")
        cli.add_operator(verb)


def _pause(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        scope = _scope(db, arguments.segment)
        made = pauses.pause(db, scope, arguments.by, arguments.reason, arguments.for_s)
        sys.stdout.write(f"{described(db, made)}\n")
        sys.stderr.write("".join(f"{note}\n" for note in _unenforced(db)))


def _resume(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        scope = _scope(db, arguments.segment)
        current = {each.scope: each for each in pauses.all_of(db)}
        if scope != pauses.ALL and scope not in current and pauses.ALL in current:
            raise Conflict(
                f"Segment {arguments.segment} has no pause of its own, and all segments are "
                "paused; run 'hacore-manage resume' without --segment."
            )
        ended = pauses.resume(db, scope, arguments.by)
        sys.stdout.write(f"Ended: {described(db, ended)}\n")
        for left in pauses.all_of(db):
            sys.stdout.write(f"Remains: {described(db, left)}\n")


def _scope(db: Database, segment: str | None) -> str:
    return pauses.ALL if segment is None else segments.named(db, segment).uuid


def described(db: Database, pause: Paused) -> str:
    """Return a pause as one sentence."""
    where = "all segments" if pause.scope == pauses.ALL else f"segment {_name(db, pause.scope)}"
    what = f"Recoveries of hosts and instances are paused in {where}"
    until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until they are resumed"
    since = f"{pause.since:%Y-%m-%d %H:%M} UTC"
    return f"{what} {until}, by {pause.by} since {since}: {pause.reason.rstrip('.')}."


def _name(db: Database, segment_uuid: str) -> str:
    try:
        return segments.get(db, segment_uuid).name
    except SegmentNotFound:  # deleted since
        return segment_uuid


def notes(db: Database) -> Iterator[str]:
    """Yield what a reader of a list should know: pauses, and engines that hold nothing."""
    yield from [described(db, each) for each in pauses.all_of(db)]
    yield from _unenforced(db)


def _unenforced(db: Database) -> Iterator[str]:
    if sentence := services.unenforced(db):
        yield sentence
