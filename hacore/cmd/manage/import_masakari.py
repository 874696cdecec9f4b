# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage import-masakari: segments, hosts and history of a Masakari."""

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.db import schema
from hacore.masakari import importing, source

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_TABLES = ("segments", "hosts", "notifications", "vmoves")


def register(topics: "Topics") -> None:
    """Add ``import-masakari``."""
    verb = cli.add_verb(
        topics,
        "import-masakari",
        _import,
        "take over segments, hosts, notifications and VM moves of a Masakari, whose database is "
        "only read; what is here already stays as it is",
    )
    verb.add_argument(
        "--from",
        dest="url",
        required=True,
        metavar="URL",
        help="its database: [database] connection of masakari.conf",
    )
    verb.add_argument("--dry-run", action="store_true", help="only say what would be done")
    verb.add_argument(
        "--skip-refused",
        action="store_true",
        help="import the rest where some rows cannot be taken, instead of nothing",
    )


def _import(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    with launch.reaching_database(conf, patient=True) as db:
        schema.check(db)
    with source.reading(arguments.url) as masakari:
        report = importing.run(
            db, masakari, dry_run=arguments.dry_run, skip_refused=arguments.skip_refused
        )
    for table in _TABLES:
        sys.stdout.write(f"{table}: {_counted(getattr(report, table), done=report.done)}\n")
    sys.stdout.writelines(f"{sentence}\n" for sentence in report.differing)
    sys.stderr.writelines(f"refused: {sentence}\n" for sentence in report.refused)
    if not report.refused or arguments.skip_refused:
        return 0
    sys.stderr.write(
        f"hacore-manage: Nothing was imported, for {len(report.refused)} rows of Masakari's cannot "
        "be taken; mend them there, or let --skip-refused leave them out.\n"
    )
    return 1


def _counted(count: importing.Count, *, done: bool) -> str:
    words = {
        "imported": "imported" if done else "would be imported",
        "present": "here already",
        "refused": "refused",
        "left_out": "left out",
    }
    numbers = dataclasses.asdict(count)
    return ", ".join(
        f"{numbers[name]} {text}"
        for name, text in words.items()
        if numbers[name] or name == "imported"
    )
