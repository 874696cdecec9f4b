# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How the story is told: `Screen` on a terminal, `Lines` in a pipe."""

import sys
from typing import Protocol

from rich.console import Console

from hacore.clock import Clock
from hacore_sandbox.demo.facts import Recovery
from hacore_sandbox.demo.lines import Lines
from hacore_sandbox.demo.scenarios import Table
from hacore_sandbox.demo.screen import Screen


class View(Protocol):
    """What a person sees."""

    def title(self, text: str) -> None:
        """What it is about."""

    def begin(self, text: str) -> None:
        """Something goes on that takes a moment."""

    def fact(self, text: str) -> None:
        """Something is so now; it ends what went on."""

    def failure(self, text: str) -> None:
        """Something has failed."""

    def recovery(self, recovery: Recovery, elapsed_s: float) -> None:
        """How far hacore is, `elapsed_s` after the failure was reported."""

    def table(self, table: Table) -> None:
        """What came of it."""

    def verdict(self, text: str, *, good: bool) -> None:
        """The last word."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def choose(clock: Clock) -> View:
    """Return the view that fits standard output."""
    console = Console(highlight=False, markup=False, emoji=False)
    # isatty: FORCE_COLOR makes rich take a pipe for a terminal
    if sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return Screen(console, clock)
    return Lines(sys.stdout, clock)
