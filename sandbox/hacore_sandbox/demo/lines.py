# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The story in plain lines, one for each event, with no control codes."""

from collections.abc import Iterator
from typing import TextIO

from hacore.clock import Clock
from hacore_sandbox.demo.facts import Move, Recovery, Step
from hacore_sandbox.demo.scenarios import Table


class Lines:
    """Writes each event with the seconds since the start."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._began = clock.monotonic()
        self._messages: dict[str, int] = {}  #: by step, how many are told
        self._states: dict[str, str] = {}  #: by step, the one that is told
        self._arrived: set[str] = set()  #: moves that are told

    def title(self, text: str) -> None:
        self._write(f"hacore demo: {text}")

    def begin(self, text: str) -> None:
        self._event(f"{text} ...")

    def fact(self, text: str) -> None:
        self._event(text)

    def failure(self, text: str) -> None:
        self._event(text)

    def recovery(self, recovery: Recovery, elapsed_s: float) -> None:
        del elapsed_s
        for move in recovery.moves:
            if move.ended and move.instance_uuid not in self._arrived:
                self._arrived.add(move.instance_uuid)
                count = f"{len(self._arrived)} of {len(recovery.moves)}"
                self._event(f"{move.instance_name}: {_way(move)} ({count})")
        for step in recovery.steps:
            for text in self._news(step):
                self._event(f"{step.name}: {text}")

    def _news(self, step: Step) -> Iterator[str]:
        changed = self._states.get(step.name) != step.state
        self._states[step.name] = step.state
        if changed and step.state == "RUNNING":
            yield step.state
        told = self._messages.get(step.name, 0)
        self._messages[step.name] = len(step.messages)
        yield from step.messages[told:]
        if changed and step.state != "RUNNING":
            yield f"{step.state}, {step.progress:.0%}"

    def table(self, table: Table) -> None:
        rows = [table.headers, *table.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self._write("")
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
            self._write("  ".join(cells).rstrip())
        self._write("")

    def verdict(self, text: str, *, good: bool) -> None:
        self._write(f"{'OK' if good else 'FAILED'}: {text}")

    def close(self) -> None:
        pass

    def _event(self, text: str) -> None:
        self._write(f"{self._clock.monotonic() - self._began:5.1f} s  {text}")

    def _write(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


def _way(move: Move) -> str:
    if move.status == "succeeded":
        return f"{move.source} -> {move.dest}"
    return f"{move.status} on {move.source}: {move.message}"
