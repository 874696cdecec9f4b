# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage import-masakari: imports segments, hosts and past notifications of Masakari."""

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
        "import segments, hosts, notifications and VM moves from the database of Masakari, which "
        "is only read; rows that already exist are not changed",
    )
    verb.add_argument(
        "--from",
        dest="url",
        required=True,
        metavar="URL",
        help="[database] connection of masakari.conf",
    )
    verb.add_argument("--dry-run", action="store_true", help="only report what would be imported")
    verb.add_argument(
        "--skip-refused",
        action="store_true",
        help="leave invalid rows out and import the others; otherwise one invalid row stops it",
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
        f"hacore-manage: Nothing imported: {len(report.refused)} invalid rows; fix them in "
        "Masakari, or leave them out with --skip-refused.\n"
    )
    return 1


def _counted(count: importing.Count, *, done: bool) -> str:
    words = {
        "imported": "imported" if done else "would be imported",
        "present": "already present",
        "refused": "refused",
        "left_out": "left out",
    }
    numbers = dataclasses.asdict(count)
    return ", ".join(
        f"{numbers[name]} {text}"
        for name, text in words.items()
        if numbers[name] or name == "imported"
    )
