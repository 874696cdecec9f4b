# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage db: schema and purge."""

import argparse
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.db import purge, schema

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics


def register(topics: "Topics") -> None:
    """Add ``db sync|version|purge``."""
    verbs = cli.add_topic(topics, "db", "the database")
    verb = cli.add_verb(verbs, "sync", _sync, "upgrade the schema to this version")
    verb.add_argument(
        "--expand",
        action="store_true",
        help="only add to the schema, so that an older version can still run",
    )
    cli.add_verb(
        verbs,
        "version",
        _version,
        "print the schema of the database and the one this version needs",
    )
    verb = cli.add_verb(verbs, "purge", _purge, "remove rows that ended or were deleted long ago")
    verb.add_argument(
        "--before-days", type=cli.days, required=True, metavar="N", help="age in days"
    )
    verb.add_argument("--dry-run", action="store_true", help="only count the rows")


def _sync(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.reaching_database(conf, patient=True) as db:
        before = schema.version(db)
        schema.sync(db, contract=not arguments.expand)
        after = schema.version(db)
    sys.stdout.write(
        f"The schema is already {after}.\n"
        if before == after
        else f"The schema is now {after}; it was {before or 'empty'}.\n"
    )


def _version(conf: cfg.ConfigOpts, _arguments: argparse.Namespace) -> None:
    with launch.reaching_database(conf) as db:
        found = schema.version(db)
    sys.stdout.write(f"database: {found or 'empty'}\nneeded: {schema.OURS.newest}\n")


def _purge(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf, patient=True) as db:
        counts = purge.purge(db, arguments.before_days, dry_run=arguments.dry_run)
    verb = "would be removed" if arguments.dry_run else "removed"
    sys.stdout.writelines(f"{table}: {count} rows {verb}\n" for table, count in counts.items())
