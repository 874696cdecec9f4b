# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage convert-config: a configuration of Masakari as one of hacore."""

import argparse
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.cmd.manage import arguments as cli
from hacore.masakari import config

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics


def register(topics: "Topics") -> None:
    """Add ``convert-config``."""
    verb = cli.add_verb(
        topics,
        "convert-config",
        _convert,
        "print a configuration of Masakari as one of hacore, and on standard error what is not "
        "carried over and why",
    )
    verb.add_argument(
        "file", nargs="+", help="masakari.conf, and the file of task lists where there is one"
    )


def _convert(_conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    converted = config.convert(config.read(arguments.file), hacore_conf.list_opts())
    sys.stdout.write(converted.text())
    for option, reason in converted.left_out:
        sys.stderr.write(f"not carried over: {option}: {reason}.\n")
