# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An engine that knows the sandbox's fence agent, and dies by kill -9 at a named point.

HACORE_CRASH_AT names the point; without it the engine lives.  HACORE_CRASH_AFTER: seconds after
the point, for those that are while something runs.
"""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event, orm

from hacore.cmd import engine
from hacore.fencing import installed

Install = Callable[[str], None]


def _die(point: str) -> None:
    """End all processes of this engine, as the kernel does."""
    sys.stderr.write(f"killed {point}\n")
    sys.stderr.flush()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _call(module: str, name: str, *, after: bool = False) -> Install:
    """Before, or after, a call of a function of hacore's: `module` may name a class."""

    def install(point: str) -> None:
        owner = _owner(module)
        real = getattr(owner, name)

        @functools.wraps(real)
        def dying(*arguments: Any, **options: Any) -> Any:
            if after:
                real(*arguments, **options)
            return _die(point)

        setattr(owner, name, dying)

    return install


def _owner(path: str) -> Any:
    module, _, name = path.partition(":")
    found = __import__(module, fromlist=["_"])
    return getattr(found, name) if name else found


def _uncommitted(table: str) -> Install:
    """When a row of this table is written, and not committed."""

    def install(point: str) -> None:
        def flushed(session: orm.Session, _context: Any) -> None:
            if any(type(row).__name__ == table for row in session.new):
                _die(point)

        event.listen(orm.Session, "after_flush", flushed)

    return install


def _order(point: str) -> None:
    """While the agent that was ordered to switch a host off runs."""
    from hacore.fencing import programs

    real = programs._supervise

    def supervise(supervisor: Any, pipe: int, job: bytes, *others: Any) -> None:
        if b"action=off" in job:
            after_s = float(os.environ["HACORE_CRASH_AFTER"])
            threading.Timer(after_s, _die, [point]).start()
        real(supervisor, pipe, job, *others)

    programs._supervise = supervise


_FENCING = "hacore.engine.fencing:HostFencing"
_NOVA = "hacore.nova.client:Nova"

#: Of a recovery that switches its host off, in their order.
RECOVERY: dict[str, Install] = {
    "before the order is asked for": _call(_FENCING, "about_to_order"),
    "before the order is committed": _uncommitted("FencingOrder"),
    "after the order is committed": _call("hacore.db.orders", "begin", after=True),
    "while the agent runs": _order,
    "after the agent's answer": _call(_FENCING, "answered"),
    "after the answer is written": _call(_FENCING, "answered", after=True),
    "before the proof is committed": _uncommitted("Proof"),
    "after the proof is committed": _call("hacore.db.proofs", "of_devices", after=True),
    "before the force down": _call(_NOVA, "force_down"),
    "after the force down": _call(_NOVA, "force_down", after=True),
    "before the first evacuate call": _call(_NOVA, "evacuate"),
    "after the first evacuate call": _call(_NOVA, "evacuate", after=True),
}

#: Of a return, in their order.
RETURN: dict[str, Install] = {
    "before the orders are read": _call("hacore.engine.fencing:HostDevices", "unsettled"),
    "after the orders are read": _call(
        "hacore.engine.fencing:HostDevices", "unsettled", after=True
    ),
    "before a change is written": _call("hacore.db.returns", "about_to"),
    "after a change is written": _call("hacore.db.returns", "about_to", after=True),
    "before the force up": _call(_NOVA, "force_up"),
    "after the force up": _call(_NOVA, "force_up", after=True),
    "before the enable": _call(_NOVA, "enable_service"),
    "after the enable": _call(_NOVA, "enable_service", after=True),
    "before the end of maintenance": _call("hacore.db.returns", "end"),
    "after the end of maintenance": _call("hacore.db.returns", "end", after=True),
    "before the end is written": _call("hacore.db.operation_claims", "finish"),
    "after the end is written": _call("hacore.db.operation_claims", "finish", after=True),
}


def main() -> None:
    """Run the engine."""
    installed.FOLDERS = (str(Path(sys.executable).parent),)  # before it is a default of anything
    point = os.environ.get("HACORE_CRASH_AT")
    if point:
        (RECOVERY | RETURN)[point](point)
    engine.main()
