# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An engine that stops itself, as by SIGSTOP, while it has the row of the limits locked.

The first of several does, which makes the file FROZEN_FILE of the environment and writes its
process id there.  All print how long a statement waited for that row.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from hacore.cmd import engine

_asked = threading.local()
_TABLE = "limit_domains"


def _locks(statement: str) -> bool:
    return statement.startswith(f"UPDATE {_TABLE}") and "locks" in statement


def _before(
    _connection: Any, _cursor: Any, statement: str, _values: Any, _context: Any, _many: bool
) -> None:
    if _locks(statement):
        _asked.at = time.time()


def _freeze(file: Path) -> None:
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(handle, str(os.getpid()).encode())
    os.close(handle)
    os.kill(os.getpid(), signal.SIGSTOP)


def _after(
    _connection: Any, _cursor: Any, statement: str, _values: Any, _context: Any, _many: bool
) -> None:
    _say(statement, "had")
    if _locks(statement):
        _freeze(Path(os.environ["FROZEN_FILE"]))


def _failed(context: Any) -> None:
    _say(context.statement or "", "gave up")


def _say(statement: str, how: str) -> None:
    if _locks(statement):
        seconds = time.time() - _asked.at
        print(f"asked at {_asked.at:.3f}, {how} the row after {seconds:.3f} s", flush=True)


def main() -> None:
    """Run hacore-engine."""
    event.listen(sa.Engine, "before_cursor_execute", _before)
    event.listen(sa.Engine, "after_cursor_execute", _after)
    event.listen(sa.Engine, "handle_error", _failed)
    engine.main()
