# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How the modules of the topics declare their verbs and arguments."""

import argparse
import getpass
import os
import re
import uuid as uuids
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from oslo_config import cfg

if TYPE_CHECKING:  # at run time argparse's class has no type parameter
    Topics = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

#: A verb: returns the exit status, None for 0.
Run = Callable[[cfg.ConfigOpts, argparse.Namespace], int | None]


def add_topic(topics: "Topics", name: str, text: str) -> "Topics":
    """Add a topic, such as ``db``; return what its verbs are added to."""
    parser = topics.add_parser(name, help=text, description=text)
    return parser.add_subparsers(title="verbs", required=True, metavar="VERB")


def add_verb(verbs: "Topics", name: str, run: Run, text: str) -> argparse.ArgumentParser:
    """Add a verb, such as ``sync``; return its parser, for its arguments."""
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


# Each of these is for `type` of an argument.


def days(text: str) -> int:
    """Read a number of days."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def count(text: str) -> int:
    """Read a number of rows, 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def hosts(text: str) -> int:
    """Read a number of hosts, 0 or more."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


_MOST_S = 365 * 86400
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """Read a duration such as 90s, 15m, 2h or 1d12h; return seconds."""
    if not re.fullmatch(r"(\d+[smhd])+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 90s, 15m, 2h or 1d12h")
    seconds = sum(int(n) * _UNITS_S[unit] for n, unit in re.findall(r"(\d+)([smhd])", text))
    if not 0 < seconds <= _MOST_S:
        raise argparse.ArgumentTypeError("must be between 1s and 365d")
    return float(seconds)


def uuid(text: str) -> str:
    """Read a UUID; return it in the form in which it is stored."""
    try:
        return str(uuids.UUID(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid UUID") from exc


def sentence(text: str) -> str:
    """Read a text to be stored; return it on one line."""
    line = " ".join(text.split())
    if not line:
        raise argparse.ArgumentTypeError("must not be empty")
    return line


def add_list_options(verb: argparse.ArgumentParser, plural: str, statuses: Iterable[str]) -> None:
    """Add what narrows a list of recoveries or operations."""
    verb.add_argument(
        "--status",
        action="append",
        choices=[str(status) for status in statuses],
        default=[],
        help=f"only {plural} in this status; may be repeated",
    )
    verb.add_argument("--host", metavar="NAME", help=f"only {plural} of this host")
    verb.add_argument("--limit", type=count, default=50, metavar="N", help="default: 50")


def add_operator(verb: argparse.ArgumentParser) -> None:
    """Add ``--by``: who it is that acts."""
    verb.add_argument(
        "--by", default=_operator(), metavar="NAME", help="your name; default: %(default)s"
    )


def _operator() -> str:
    """Return the name of the user, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"
