# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The demo in plain lines, one for each event, without control codes."""

from collections.abc import Iterator
from typing import TextIO

from hacore.clock import Clock
from hacore_sandbox.demo.records import Move, Recovery, Task
from hacore_sandbox.demo.scenarios import Table

_WIDTH = 100
_INDENT = " " * 9  #: of what belongs to the event above: as wide as "  0.0 s  "


class Lines:
    """Write each event with the seconds since the start."""

    columns = _WIDTH - len(_INDENT)

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._began = clock.monotonic()
        self._followed = ""  #: uuid of the recovery that the rest is about
        self._messages: dict[str, int] = {}  #: by task, how many are written
        self._states: dict[str, str] = {}  #: by task, the last one written
        self._ended: set[str] = set()  #: by instance, the moves written

    def title(self, text: str) -> None:
        self._write(f"hacore demo: {text}")

    def begin(self, text: str) -> None:
        self._event(f"{text} ...")

    def fact(self, text: str) -> None:
        self._event(text)

    def failure(self, text: str) -> None:
        self._event(text)

    def command(self, line: str) -> None:
        self._event(f"$ {line}")

    def output(self, text: str) -> None:
        for row in text.splitlines():
            self._write(f"{_INDENT}{row}".rstrip())

    def recovery(self, recovery: Recovery, elapsed_s: float) -> None:
        del elapsed_s
        if recovery.uuid != self._followed:
            self._followed = recovery.uuid
            for each in (self._messages, self._states, self._ended):
                each.clear()
        for move in recovery.moves:
            if move.ended and move.instance_uuid not in self._ended:
                self._ended.add(move.instance_uuid)
                count = f"{len(self._ended)} of {len(recovery.moves)}"
                self._event(f"{move.instance_name}: {_result(move)} ({count})")
        for task in recovery.tasks:
            for text in self._news(task):
                self._event(f"{task.name}: {text}")

    def _news(self, task: Task) -> Iterator[str]:
        changed = self._states.get(task.name) != task.state
        self._states[task.name] = task.state
        if changed and task.state == "RUNNING":
            yield task.state
        written = self._messages.get(task.name, 0)
        self._messages[task.name] = len(task.messages)
        yield from task.messages[written:]
        if changed and task.state != "RUNNING":
            yield f"{task.state}, {task.progress:.0%}"

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


def _result(move: Move) -> str:
    if move.status == "succeeded":
        return f"{move.source} -> {move.dest}"
    return f"{move.status} on {move.source}: {move.message}"
