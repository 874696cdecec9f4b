# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The demo on a terminal: finished lines stay, progress is redrawn below them."""

import dataclasses
import threading
from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table as RichTable
from rich.text import Text

from hacore.clock import Clock
from hacore_sandbox.demo.records import Move, Recovery, Task
from hacore_sandbox.demo.scenarios import Table


@dataclasses.dataclass(frozen=True, slots=True)
class _Marks:
    done: str
    failed: str
    arrow: str
    dots: str
    spinner: str


_UNICODE = _Marks("✔", "✖", "→", "…", "dots")
_ASCII = _Marks("*", "x", "->", "..", "line")

_FRAME_S = 0.08
_GAP = 2
_INDENT = 3  #: of the output of a command
_MOST_COLUMNS = 100  #: of such output: what is wider is hard to read
_BAR_WIDTH = 40
_NAME_WIDTH = 30  #: of the longest name of hacore's own tasks
_WIDE = 100  #: columns in which a task and its last message fit side by side
_GREEN, _BLUE, _RED, _DIM = "green", "cyan", "red", "dim"
_WORDS = {"succeeded": _GREEN, "finished": _GREEN, "failed": _RED, "error": _RED}
#: Which moves are shown first if there is no room for all.
_PRIORITY = ("failed", "ongoing", "succeeded", "pending", "ignored")


class Screen:
    """Draw with rich."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._marks = _ASCII if console.options.ascii_only else _UNICODE
        self._spinner = Spinner(self._marks.spinner, style=_BLUE)
        self._progress: RenderableType = ""
        self._live = Live(
            console=console,
            get_renderable=lambda: self._progress,
            auto_refresh=False,
            transient=True,
        )
        # rich's own thread may draw between the two halves of another thread's print
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._painter = threading.Thread(target=self._paint, name="screen", daemon=True)
        self._live.start()
        self._painter.start()

    @property
    def columns(self) -> int:
        return min(self._console.width - _INDENT, _MOST_COLUMNS)

    def title(self, text: str) -> None:
        self._keep(Text.assemble(("hacore demo", "bold"), f": {text}\n"))

    def begin(self, text: str) -> None:
        self._progress = _row(self._spinner, f"{text} {self._marks.dots}")

    def fact(self, text: str) -> None:
        self._keep(_row(self._done, text))

    def failure(self, text: str) -> None:
        self._keep(_row(self._failed, Text(text, "bold")))

    def command(self, line: str) -> None:
        self._keep(Group("", Text(f"$ {line}", "bold")))

    def output(self, text: str) -> None:
        self._keep(Group(Padding(Text(text, _DIM), (0, 0, 0, _INDENT)), ""))

    def recovery(self, recovery: Recovery, elapsed_s: float) -> None:
        parts: list[RenderableType] = ["", self._tasks(recovery.tasks), ""]
        if recovery.moves:
            parts += [_bar(recovery, elapsed_s), ""]
        if recovery.ended:
            self._keep(Group(*parts))
            return
        if recovery.moves:
            used = len(self._console.render_lines(Group(*parts), pad=False))
            parts.append(self._grid(recovery.moves, self._console.height - used - 1))
        self._progress = Group(*parts)

    def table(self, table: Table) -> None:
        shown = RichTable(
            box=box.SIMPLE_HEAD, show_edge=False, header_style="bold", padding=(0, _GAP, 0, 0)
        )
        for header in table.headers:
            shown.add_column(header)
        for row in table.rows:
            shown.add_row(*(Text(cell, _WORDS.get(cell, "")) for cell in row))
        self._keep(Group("", shown, ""))

    def verdict(self, text: str, *, good: bool) -> None:
        self._keep(_row(self._done if good else self._failed, Text(text, "bold")))

    def close(self) -> None:
        self._closing.set()
        self._painter.join()
        self._progress = ""
        self._live.stop()

    # -- parts

    @property
    def _done(self) -> Text:
        return Text(self._marks.done, _GREEN)

    @property
    def _failed(self) -> Text:
        return Text(self._marks.failed, _RED)

    def _paint(self) -> None:
        while not self._clock.wait(self._closing, _FRAME_S):
            with self._lock:
                self._live.refresh()

    def _keep(self, what: RenderableType) -> None:
        with self._lock:
            self._progress = ""
            self._console.print(what)

    def _tasks(self, tasks: Iterable[Task]) -> RenderableType:
        wide = self._console.width >= _WIDE
        shown = RichTable.grid(padding=(0, _GAP, 0, 0))
        for task in tasks:
            mark: RenderableType = self._failed
            if task.state == "SUCCESS":
                mark = self._done
            elif task.state in ("RUNNING", "PENDING"):
                mark = self._spinner
            head = f"{task.name:<{_NAME_WIDTH}}  {task.progress:>4.0%}"
            last = Text(task.messages[-1] if task.messages else "", _DIM)
            if wide:
                shown.add_row(mark, head, last)
            else:
                shown.add_row(mark, head)
                shown.add_row("", last)
        return shown

    def _grid(self, moves: tuple[Move, ...], height: int) -> RenderableType:
        """Every instance and its move; if there is no room for all, those in flight first."""
        name_width = max(len(move.instance_name) for move in moves)
        host_width = max(len(host) for move in moves for host in (move.source, move.dest or ""))
        width = name_width + 1 + 2 * host_width + len(self._marks.arrow) + 2
        columns = max(1, (self._console.width + _GAP) // (width + _GAP))
        rows = max(1, height)
        hidden = 0
        if len(moves) > rows * columns:
            rows = max(1, rows - 1)
            hidden = len(moves) - rows * columns
            by_priority = sorted(moves, key=lambda move: _PRIORITY.index(move.status))
            moves = tuple(by_priority[: rows * columns])
        grid = RichTable.grid(padding=(0, _GAP, 0, 0))
        for _ in range(columns):
            grid.add_column(width=width, no_wrap=True)
        for start in range(0, len(moves), columns):
            cells = [self._cell(move, name_width) for move in moves[start : start + columns]]
            grid.add_row(*cells)
        if not hidden:
            return grid
        return Group(grid, Text(f"{self._marks.dots} and {hidden} more", _DIM))

    def _cell(self, move: Move, name_width: int) -> Text:
        name = f"{move.instance_name:<{name_width}} "
        arrow = f" {self._marks.arrow} "
        if move.status == "succeeded":
            return Text.assemble(
                name, (move.source, _DIM), (arrow, _DIM), (move.dest or "", _GREEN)
            )
        if move.status == "failed":
            return Text.assemble(name, move.source, (f" {self._marks.failed}", _RED))
        if move.status == "ongoing":
            return Text.assemble(name, move.source, (arrow + self._marks.dots, _BLUE))
        return Text(name + move.source, _DIM)


def _row(*cells: RenderableType) -> RenderableType:
    line = RichTable.grid(padding=(0, _GAP, 0, 0))
    line.add_row(*cells)
    return line


def _bar(recovery: Recovery, elapsed_s: float) -> RenderableType:
    total, ended = len(recovery.moves), sum(move.ended for move in recovery.moves)
    bar = ProgressBar(total, ended, width=_BAR_WIDTH, complete_style=_GREEN, finished_style=_GREEN)
    return _row(bar, f"{ended} of {total} instances", f"{elapsed_s:.1f} s")
