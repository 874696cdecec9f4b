# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The output of verbs: tables for people, JSON for programs.

A table is a list of rows, each a mapping from the name of a column to its
value; both forms are made from it.
"""

import argparse
import datetime
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import prettytable

Row = Mapping[str, Any]

_BOUNDLESS = 100_000
#: Characters that the last column keeps on a narrow terminal.
_NARROWEST = 30


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``-f table|json``."""
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="default: table"
    )


def show(form: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Write one table.

    :param columns: which values of the rows, in order.
    """
    if form == "json":
        _json([{name: row[name] for name in columns} for row in rows])
    else:
        sys.stdout.write(f"{_table(rows, columns)}\n")


def show_all(form: str, parts: Mapping[str, Row | Sequence[Row]]) -> None:
    """Write several tables, each under its name; a single row becomes a table of its values."""
    if form == "json":
        _json(parts)
        return
    for name, part in parts.items():
        if isinstance(part, Mapping):
            facts = [{"fact": _heading(key), "value": value} for key, value in part.items()]
            table = _table(facts, ("fact", "value"))
        elif part:
            table = _table(part, list(part[0]))
        else:
            table = "none"
        sys.stdout.write(f"{_heading(name)}\n{table}\n")


def _json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, default=_encoded)
    sys.stdout.write("\n")


def _encoded(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    table = prettytable.PrettyTable([_heading(name) for name in columns])
    table.align = "l"
    for row in rows:
        table.add_row([_cell(row[name]) for name in columns])
    text = table.get_string()
    # the last column, which has the long sentences, is folded to the width of the terminal; where
    # there is none a program reads this, and nothing is folded
    width = terminal_width()
    excess = _width(text) - width
    if excess > 0 and rows:
        last = _heading(columns[-1])
        widest = max(len(line) for row in table.rows for line in row[-1].splitlines() or [""])
        table.max_width[last] = max(widest - excess, _NARROWEST)
        text = table.get_string()
    if _width(text) > width:
        return _records(rows, columns, width)
    return text


def _width(text: str) -> int:
    return len(text.partition("\n")[0])


def terminal_width() -> int:
    """Return the columns of the terminal; where there is none, more than any line has."""
    return shutil.get_terminal_size(fallback=(_BOUNDLESS, 0)).columns


def _records(rows: Sequence[Row], columns: Sequence[str], width: int) -> str:
    """Return one paragraph for each row, with one value below the other."""
    widest = max(len(_heading(name)) for name in columns)
    paragraphs = [
        "\n".join(
            folded(f"{_heading(name):{widest}}  {_cell(row[name])}", widest + 2, width)
            for name in columns
        )
        for row in rows
    ]
    return "\n\n".join(paragraphs) or "none"


def folded(text: str, indent: int, width: int | None = None) -> str:
    """Return a text folded to the terminal, with all lines but the first indented."""
    blanks = " " * indent
    first, *others = text.splitlines() or [""]
    lines = [first, *(blanks + line for line in others)]
    return "\n".join(
        textwrap.fill(
            line,
            width or terminal_width(),
            subsequent_indent=blanks,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )


def _heading(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return "\n".join(_cell(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value)
