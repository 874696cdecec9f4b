# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which process this is, and whether another one on this machine has certainly ended.

A pid alone is not enough: it is reused, and in another container it is another
process.  A process has certainly ended if boot and pid namespace are the same and no
process has that pid and that start time.  In all other cases it may still run.
"""

import dataclasses
import os
import pathlib

_PROC = pathlib.Path("/proc")
_START_TIME = 22 - 3  # proc(5): field 22 of stat; the fields behind the name begin with the third


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a process among all that ever ran on any machine.

    :ivar boot_id: of the kernel, which changes with each boot.
    :ivar pid_namespace: the one that `pid` belongs to.
    :ivar started: in clock ticks since boot.
    """

    boot_id: str
    pid_namespace: str
    pid: int
    started: int


def this_process() -> Identity | None:
    """Return the identity of this process; None where /proc does not show it."""
    try:
        pid = os.getpid()
        if os.readlink(_PROC / "self") != str(pid):
            return None  # the /proc of another pid namespace
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return Identity(boot_id, os.readlink(_PROC / "self/ns/pid"), pid, _started(pid))
    except (OSError, ValueError, IndexError):
        return None


def is_dead(other: Identity) -> bool:
    """Whether `other` has certainly ended; False where that is not known."""
    mine = this_process()
    if mine is None or (mine.boot_id, mine.pid_namespace) != (other.boot_id, other.pid_namespace):
        return False
    try:
        os.kill(other.pid, 0)  # /proc may hide the processes of other users
        return _started(other.pid) != other.started
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError):
        return False


def _started(pid: int) -> int:
    # the name of a program may hold blanks and parentheses: count from the last one
    return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[_START_TIME])
