# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage host: what is known of a host, and what an operator says of it or does with it."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import fencing, operation, output
from hacore.db import hosts, proofs
from hacore.db.proofs import Given
from hacore.errors import Conflict

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

_COLUMNS = ("at", "kind", "recovery", "message", "void_at", "void_reason")


def register(topics: "Topics") -> None:
    """Add ``host confirm-off|proofs|return|test-fencing|accept-identity``."""
    verbs = cli.add_topic(topics, "host", "the hosts")
    confirmed = cli.add_verb(
        verbs,
        "confirm-off",
        _confirm_off,
        "confirm that a host is off: its instances may be evacuated at once",
    )
    confirmed.add_argument(
        "--reason", type=cli.sentence, required=True, help="how you know; stored with the proof"
    )
    confirmed.add_argument(
        "--again",
        metavar="NAME",
        help="the name of the host once more, where nobody can be asked for it",
    )
    cli.add_operator(confirmed)
    listed = cli.add_verb(
        verbs, "proofs", _proofs, "list the proofs that a host is off, the newest first"
    )
    output.add_format(listed)
    for verb in (confirmed, listed):
        verb.add_argument("name", metavar="NAME", help="of the host")
    operation.add_return(verbs)
    fencing.register(verbs)


def _confirm_off(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        uuid = hosts.named(db, arguments.name).uuid
        again = arguments.again if arguments.again is not None else _asked(arguments.name)
        if again != arguments.name:
            raise Conflict(f"{again!r} is not {arguments.name!r}: nothing was confirmed.")
        made = proofs.confirm_off(db, uuid, arguments.name, arguments.by, arguments.reason)
    sys.stdout.write(f"{made.sentence}\n")
    if made.notification_uuid is None:
        sys.stdout.write(
            f"It has no recovery yet; the proof stands for {conf.fencing.proof_lifetime / 60:g} "
            "min.\n"
        )
    else:
        sys.stdout.write(f"Notification {made.notification_uuid} is recovered on that.\n")


def _asked(name: str) -> str:
    """Ask for the name of the host once more.  Raises Conflict where nobody is there."""
    if not sys.stdin.isatty():
        raise Conflict(f"Who confirms that a host is off gives its name twice; add --again {name}.")
    sys.stderr.write(
        f"If {name} still runs, its instances will run twice and destroy their disks.\n"
        "Type the name of the host that is off: "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _proofs(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    with launch.usable_database(conf) as db:
        found = proofs.of_host(db, hosts.named(db, arguments.name).uuid)
    output.show(arguments.format, [_row(each) for each in found], _COLUMNS)


def _row(given: Given) -> dict[str, Any]:
    return {
        "at": given.at,
        "kind": given.kind,
        "recovery": given.notification_uuid,
        "message": given.sentence,
        "void_at": given.void_at,
        "void_reason": given.void_reason,
    }
