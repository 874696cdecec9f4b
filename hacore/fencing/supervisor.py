# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A program of its own: runs one agent, and ends it with every process that it started.

The engine runs it, and speaks to it over two descriptors only.  Standard input carries one line,
the job, and stays open while the engine wants the answer: closed, by the engine or because the
engine was killed, it is the order to end everything.  Standard output gets the answer.

Why not the engine itself: the children of an agent may have sessions of their own, and outlive
it (ipmitool does), so they are found only by a process that adopts them, a *subreaper*.  And what
the kernel sends at the death of a parent, it sends at the death of the *thread* that forked.

The standard library only: it is started with ``python -I -S``.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from typing import IO, Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_ENGINE = 0  #: standard input
_LOOK_S = 0.05
_KILL_S = 5.0  #: a process in an uninterruptible wait dies later
_KEPT = 256 * 1024  #: bytes of what an agent says

_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run the job that is on standard input; write its code and what it said."""
    # An agent holds a password, and so would its core.  Not 0: that keeps the kernel from writing a
    # file, but not from handing the core to a program of core_pattern; 1 keeps it from both.
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    core = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # the engine ended before it asked
    answer = _run(json.loads(line))
    sys.stdout.write(json.dumps(answer))


def _run(job: dict[str, Any]) -> dict[str, Any]:
    """Return ``code``, None where the agent was killed, ``out`` and ``err``; or ``failed``."""
    end = time.monotonic() + job["deadline_s"]
    try:
        agent = subprocess.Popen(  # noqa: S603 - a program of the allowed folders
            job["command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=job["environment"],
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),  # this process has one thread
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return {"failed": str(exc)}
    streams = (agent.stdin, agent.stdout, agent.stderr)
    given, out, err = (stream for stream in streams if stream is not None)
    try:
        _give(given, job["given"].encode())
        said = {out: b"", err: b""}
        code = _wait(agent, said, end)
    finally:
        _kill_all()
    texts = (text[-_KEPT:].decode(errors="replace") for text in said.values())
    return {"code": code, **dict(zip(("out", "err"), texts, strict=True))}


def _give(stream: Any, given: bytes) -> None:
    try:
        stream.write(given)
        stream.close()
    except BrokenPipeError:
        pass  # it has ended without reading: its code says why


def _wait(agent: "subprocess.Popen[bytes]", said: dict[IO[bytes], bytes], end: float) -> int | None:
    """Collect what the agent says until it has ended; None: its time is over."""
    streams: list[Any] = list(said)
    while True:
        code = agent.poll()
        ready, _, _ = select.select([_ENGINE, *streams], [], [], 0 if code is not None else _LOOK_S)
        if code is None and (_ENGINE in ready or time.monotonic() >= end):
            return None
        for stream in ready:
            if stream == _ENGINE:
                continue
            data = os.read(stream.fileno(), 65536)
            said[stream] = (said[stream] + data)[-_KEPT:]
            if not data:
                streams.remove(stream)
        # a child that it left behind may hold its output open, and write for ever
        if code is not None and (set(ready) <= {_ENGINE} or time.monotonic() >= end):
            return code


def _die_with(parent: int) -> Any:
    """Return what an agent does before it begins: die with this process."""

    def before_exec() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def _kill_all() -> None:
    """Kill all descendants: orphans become children of this process, so none escapes."""
    end = time.monotonic() + _KILL_S
    while time.monotonic() < end:
        for pid in _descendants():
            # it may have ended, or run as another user
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # the name of a program may hold blanks and parentheses
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # it has ended
            children.setdefault(parent, []).append(int(name))
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


if __name__ == "__main__":
    main()
