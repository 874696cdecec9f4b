# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage: the database and the configured flows, from the command line."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hacore import concurrency

if TYPE_CHECKING:  # the real imports wait until the back end is selected
    from oslo_config import cfg

_FLOWS = ("host-auto", "host-rh", "instance", "process")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb."""
    argv = list(sys.argv[1:] if argv is None else argv)
    concurrency.select(argv)
    from hacore.cmd import launch

    arguments = _parser().parse_args(argv)
    files = [f"--config-file={name}" for name in arguments.config_file or ()]
    with launch.one_sentence("hacore-manage"):
        conf = launch.configure("hacore-manage", files)
        arguments.run(conf, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hacore-manage", description=__doc__)
    parser.add_argument("--config-file", action="append", metavar="FILE")
    verbs = parser.add_subparsers(required=True, metavar="db|flow")
    db_verbs = verbs.add_parser("db", help="the database").add_subparsers(
        required=True, metavar="sync|version|purge"
    )
    sync = db_verbs.add_parser("sync", help="bring it to the schema of this version")
    sync.set_defaults(run=_sync)
    version = db_verbs.add_parser("version", help="print its schema and the one needed")
    version.set_defaults(run=_version)
    purge = db_verbs.add_parser("purge", help="remove what has ended or was deleted long ago")
    purge.add_argument("--before-days", type=_days, required=True, metavar="N")
    purge.add_argument("--dry-run", action="store_true", help="only count")
    purge.set_defaults(run=_purge)
    flow_verbs = verbs.add_parser("flow", help="the configured flows").add_subparsers(
        required=True, metavar="show"
    )
    show = flow_verbs.add_parser("show", help="print the steps in the order they run")
    show.add_argument("flow", nargs="?", choices=_FLOWS)
    show.set_defaults(run=_show)
    return parser


def _days(text: str) -> int:
    days = int(text)
    if days < 0:
        raise argparse.ArgumentTypeError("a number of days is not negative")
    return days


def _sync(conf: "cfg.ConfigOpts", _arguments: argparse.Namespace) -> None:
    from hacore.cmd import launch
    from hacore.db import schema

    with launch.reaching_database(conf) as db:
        before = schema.version(db)
        schema.sync(db)
        after = schema.version(db)
    sys.stdout.write(
        f"The schema is {after} already.\n"
        if before == after
        else f"The schema is {after} now, was {before or 'empty'}.\n"
    )


def _version(conf: "cfg.ConfigOpts", _arguments: argparse.Namespace) -> None:
    from hacore.cmd import launch
    from hacore.db import schema

    with launch.reaching_database(conf) as db:
        found = schema.version(db)
    sys.stdout.write(f"database: {found or 'empty'}\nneeded: {schema.newest()}\n")


def _purge(conf: "cfg.ConfigOpts", arguments: argparse.Namespace) -> None:
    from hacore.cmd import launch
    from hacore.db import purge, schema

    with launch.reaching_database(conf) as db:
        schema.check(db)
    counts = purge.purge(db, arguments.before_days, dry_run=arguments.dry_run)
    verb = "would be removed" if arguments.dry_run else "removed"
    sys.stdout.writelines(f"{table}: {count} rows {verb}\n" for table, count in counts.items())


def _show(conf: "cfg.ConfigOpts", arguments: argparse.Namespace) -> None:
    from hacore.engine.flows import KINDS, Flows

    flows = Flows(conf)
    for kind in KINDS.values():
        if arguments.flow in (None, kind.name):
            sys.stdout.write(f"{kind.name} ({kind.option})\n")
            for number, step in enumerate(flows.steps(kind.name), 1):
                sys.stdout.write(
                    f"  {number}. {step.phase:<4}  {step.name:<34}  from {step.distribution}\n"
                )
