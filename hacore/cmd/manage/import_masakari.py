# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage import-masakari: imports segments, hosts and past notifications of Masakari."""

import argparse
import dataclasses
import os
import pathlib
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.db import schema
from hacore.errors import ConfigError
from hacore.masakari import importing, source

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

#: Where the URL of Masakari's database may be, beside a file.
_VARIABLE = "HACORE_MASAKARI_CONNECTION"
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
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "--from-file",
        type=pathlib.Path,
        metavar="FILE",
        help="file that contains [database] connection of masakari.conf, and nothing else; "
        f"default: the environment variable {_VARIABLE}",
    )
    where.add_argument(
        "--from",
        dest="url",
        metavar="URL",
        help="the same on the command line, if it has no password",
    )
    verb.add_argument("--dry-run", action="store_true", help="only report what would be imported")
    verb.add_argument(
        "--skip-refused",
        action="store_true",
        help="leave invalid rows out and import the others; otherwise one invalid row stops it",
    )


def _import(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    url = _url(arguments)
    with launch.reaching_database(conf, patient=True) as db:
        schema.check(db)
    with source.reading(url) as masakari:
        report = importing.run(
            db, masakari, dry_run=arguments.dry_run, skip_refused=arguments.skip_refused
        )
    for table in _TABLES:
        sys.stdout.write(f"{table}: {_counted(getattr(report, table), done=report.done)}\n")
    sys.stdout.writelines(f"{sentence}\n" for sentence in report.differing)
    if report.on_maintenance:
        sys.stdout.write(
            f"On maintenance: {', '.join(report.on_maintenance)}; notifications of these hosts are "
            "refused until their on_maintenance is set to false.\n"
        )
    sys.stderr.writelines(f"refused: {sentence}\n" for sentence in report.refused)
    if not report.refused or arguments.skip_refused:
        return 0
    sys.stderr.write(
        f"hacore-manage: Nothing imported: {len(report.refused)} invalid rows; fix them in "
        "Masakari, or leave them out with --skip-refused.\n"
    )
    return 1


def _url(arguments: argparse.Namespace) -> str:
    """Return the URL of Masakari's database.  Raises ConfigError.

    It has a password as a rule, and everybody on the machine sees the command line.
    """
    if arguments.from_file is not None:
        try:
            return str(arguments.from_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"Failed to read --from-file: {exc}.") from exc
    if arguments.url is None:
        if url := os.environ.get(_VARIABLE):
            return url
        raise ConfigError(
            "Masakari's database is not given; name a file that contains [database] connection of "
            f"masakari.conf with --from-file, or set {_VARIABLE}."
        )
    if source.has_password(arguments.url):
        raise ConfigError(
            "The URL in --from contains a password, and everybody on this machine sees the command "
            f"line; write the URL to a file and name it with --from-file, or set {_VARIABLE}."
        )
    return str(arguments.url)


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
