# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage move: what an operator decides about one instance of a host recovery."""

import argparse
import sys
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import recovery
from hacore.db import interventions

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics


def register(topics: "Topics") -> None:
    """Add ``move confirm-gone``."""
    verbs = cli.add_topic(topics, "move", "the moves of a host recovery")
    confirmed = cli.add_verb(
        verbs,
        "confirm-gone",
        _confirm_gone,
        "confirm that the guest of an instance runs nowhere, though a live migration may have "
        "moved it, and retry the recovery",
    )
    confirmed.add_argument("uuid", type=cli.uuid, metavar="UUID", help="of the move")
    cli.add_operator(confirmed)


def _confirm_gone(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        notification_uuid = interventions.confirm_gone(
            db, arguments.uuid, arguments.by, conf.notifications_expired_interval
        )
    sys.stdout.write(recovery.due(conf, notification_uuid))
