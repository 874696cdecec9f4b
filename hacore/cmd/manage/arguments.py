# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the modules of the topics need to describe their verbs."""

import argparse
import uuid as uuids
from collections.abc import Callable
from typing import TYPE_CHECKING

from oslo_config import cfg

if TYPE_CHECKING:  # at run time argparse's class takes no parameter
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
        raise argparse.ArgumentTypeError("a number of days is not negative")
    return number


def count(text: str) -> int:
    """Read a number of things, 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it is 1 or more")
    return number


def uuid(text: str) -> str:
    """Read a uuid, as it is stored."""
    try:
        return str(uuids.UUID(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no uuid") from exc


def sentence(text: str) -> str:
    """Read what is to be written down, on one line."""
    line = " ".join(text.split())
    if not line:
        raise argparse.ArgumentTypeError("it says nothing")
    return line
