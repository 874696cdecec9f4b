# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Real processes, started and ended by their ids, and waiting with a deadline."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_END_S = 30.0


def wait_for(
    what: str, question: Callable[[], T | None], timeout_s: float, interval_s: float = 0.2
) -> T:
    """The first answer that is true.  Fails with `what` and the last answer."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}; the last answer: {answer!r}")
        time.sleep(interval_s)


class Daemon:
    """A command in a process group of its own; its output goes to a file.

    The engine and gunicorn fork: what is killed is the group, as when a machine dies.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def text(self) -> str:
        """What this process has said."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace")

    def wait_until_it_says(self, words: str, timeout_s: float) -> None:
        def said() -> bool:
            assert self.is_running(), f"{self.name} has ended:\n{self.text()[-2000:]}"
            return words in self.text()

        wait_for(f"{self.name} to say {words!r}", said, timeout_s, 0.05)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9, all of it; returns when nothing of it is left, its port not either."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        wait_for(f"the end of {self.name}", lambda: not self._members(), _END_S, 0.01)
        self._process.wait(_END_S)

    def _members(self) -> list[str]:
        """Threads of the group that are more than a zombie: one may outlive its process's first."""
        members = []
        for stat in Path("/proc").glob("[0-9]*/task/*/stat"):
            with contextlib.suppress(OSError):
                state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
                if int(group) == self.pid and state not in "ZX":
                    members.append(stat.parent.name)
        return members

    def kill_children(self) -> bool:
        """kill -9 what the process has forked; False where that is nothing (yet)."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        children = [pid for each in threads for pid in (each / "children").read_text().split()]
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        return bool(children)

    def end(self) -> int:
        """SIGTERM; the exit status.  What does not end in time is killed, and that is a failure."""
        if self.is_running():
            self._process.terminate()
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {_END_S:g} s") from None
        finally:
            self.kill()
