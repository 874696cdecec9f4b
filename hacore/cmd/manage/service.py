# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage service: which engines and APIs run, and which claims they hold."""

import argparse
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output
from hacore.db import services

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_COLUMNS = ("binary", "host", "pid", "version", "state", "alive_since", "last_seen", "claims")


def register(topics: "Topics") -> None:
    """Add ``service list``."""
    verbs = cli.add_topic(topics, "service", "the processes of hacore")
    listed = cli.add_verb(
        verbs, "list", _list, "list engines and APIs, with the notifications that they have claimed"
    )
    output.add_format(listed)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        found = services.list_(db)
    rows = [
        {
            "binary": process.binary,
            "host": process.host,
            "pid": process.pid,
            "version": process.version,
            "state": "alive" if process.alive else "dead",
            "alive_since": process.since,
            "last_seen": process.seen,
            "claims": [f"{one.uuid} ({one.type} of {one.host})" for one in process.claims],
        }
        for process in found
    ]
    output.show(arguments.format, rows, _COLUMNS)
