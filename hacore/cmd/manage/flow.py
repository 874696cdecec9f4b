# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage flow: the configured flows."""

import argparse
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd.manage import arguments as cli
from hacore.engine.flows import KINDS, Flows

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics


def register(topics: "Topics") -> None:
    """Add ``flow show``."""
    verbs = cli.add_topic(topics, "flow", "the configured flows")
    show = cli.add_verb(verbs, "show", _show, "print the steps in the order in which they run")
    show.add_argument("flow", nargs="?", choices=[kind.name for kind in KINDS.values()])


def _show(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    flows = Flows(conf)
    for kind in KINDS.values():
        if arguments.flow in (None, kind.name):
            sys.stdout.write(f"{kind.name} ({kind.option})\n")
            for number, step in enumerate(flows.steps(kind.name), 1):
                sys.stdout.write(
                    f"  {number}. {step.phase:<4}  {step.name:<34}  from {step.distribution}\n"
                )
