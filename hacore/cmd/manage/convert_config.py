# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage convert-config: converts a configuration of Masakari."""

import argparse
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.cmd.manage import arguments as cli
from hacore.masakari import config, options

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics


def register(topics: "Topics") -> None:
    """Add ``convert-config``."""
    verb = cli.add_verb(
        topics,
        "convert-config",
        _convert,
        "convert a configuration of Masakari and print it; options that are not converted are "
        "listed on standard error, with the reason, and so is what hacore does beside Masakari",
    )
    verb.add_argument(
        "file", nargs="+", help="masakari.conf, and the file with the task lists, if any"
    )


def _convert(_conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    converted = config.convert(config.read(arguments.file), hacore_conf.list_opts())
    sys.stdout.write(converted.text())
    for option, reason in converted.left_out:
        sys.stderr.write(f"not converted: {option}: {reason}.\n")
    for what, effect in options.NEW.items():
        sys.stderr.write(f"new in hacore: {what}: {effect}.\n")
