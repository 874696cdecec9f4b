# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The output of the demo: `Screen` on a terminal, `Lines` in a pipe."""

import sys
from typing import Protocol

from rich.console import Console

from hacore.clock import Clock
from hacore_sandbox.demo.lines import Lines
from hacore_sandbox.demo.records import Recovery
from hacore_sandbox.demo.scenarios import Table
from hacore_sandbox.demo.screen import Screen


class View(Protocol):
    """The output."""

    @property
    def columns(self) -> int:
        """How wide the output of a command may be."""

    def title(self, text: str) -> None:
        """Show the headline."""

    def begin(self, text: str) -> None:
        """Show that something has begun that takes a moment."""

    def fact(self, text: str) -> None:
        """Show a result; it replaces what has begun."""

    def failure(self, text: str) -> None:
        """Show a failure."""

    def command(self, line: str) -> None:
        """Show what an operator types."""

    def output(self, text: str) -> None:
        """Show the output of that."""

    def recovery(self, recovery: Recovery, elapsed_s: float) -> None:
        """Show the progress, `elapsed_s` after the failure was reported."""

    def table(self, table: Table) -> None:
        """Show the final state."""

    def verdict(self, text: str, *, good: bool) -> None:
        """Show whether all is well."""

    def close(self) -> None:
        """Restore the terminal."""


def choose(clock: Clock) -> View:
    """Return the view for standard output."""
    console = Console(highlight=False, markup=False, emoji=False)
    # isatty: with FORCE_COLOR rich treats a pipe as a terminal
    if sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return Screen(console, clock)
    return Lines(sys.stdout, clock)
