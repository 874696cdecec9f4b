# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Runs programs, such as fence agents, and leaves no process behind.

A program is ended with its whole tree at its deadline, when the guard raises, and when this
process is killed.  Its environment holds PATH and REQUESTS_CA_BUNDLE, and what it is given.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from hacore.clock import Clock
from hacore.errors import HacoreError

LOG = logging.getLogger(__name__)

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
#: The file or folder of certificates that agents, and hacore itself, trust.
CA_BUNDLE = "REQUESTS_CA_BUNDLE"

_SUPERVISOR = pathlib.Path(__file__).with_name("supervisor.py")
_LOOK_S = 0.05
_END_S = 10.0  #: the supervisor gives itself half of it


class Guard(Protocol):
    """Whether the work that a run is part of may go on; that of a recovery, hacore.nova.Guard."""

    def check(self) -> None:
        """Raise if it may not."""

    def wait(self, seconds: float) -> None:
        """Sleep; raise like `check` as soon as it may not."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A program to run.

    :ivar given: its standard input.
    :ivar environment: besides PATH and the certificates.
    """

    program: str
    arguments: Sequence[str] = ()
    given: str = dataclasses.field(default="", repr=False)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended, and what it said; `code` None: it was killed at its deadline."""

    code: int | None
    out: str = dataclasses.field(default="", repr=False)
    err: str = dataclasses.field(default="", repr=False)


class CannotRun(HacoreError):
    """A program could not be started; the sentence has no full stop."""


class Runner(Protocol):
    """Runs a program; `run`, but for who simulates devices."""

    def __call__(self, command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
        """Return how it ended; raises CannotRun, and what the guard raises."""


def run(command: Command, deadline_s: float, clock: Clock, guard: Guard) -> Ended:
    """Run a program to its end, or to its deadline.

    Raises CannotRun, and what the guard raises; the program has ended then.
    """
    guard.check()
    bundle = {name: value for name, value in os.environ.items() if name == CA_BUNDLE}
    environment = {"PATH": PATH, **bundle}
    job = {
        "command": [command.program, *command.arguments],
        "given": command.given,
        "environment": {**environment, **command.environment},
        "deadline_s": deadline_s,
    }
    with contextlib.ExitStack() as opened:
        try:
            # nothing that an agent says touches a disk
            answer = opened.enter_context(open(os.memfd_create("hacore-answer"), "rb"))
            supervisor, pipe = _started(environment, answer.fileno())
        except OSError as exc:
            raise CannotRun(
                f"{command.program} cannot be run: {exc.strerror}; check the limits of the "
                f"engine's unit"
            ) from exc
        _supervise(supervisor, pipe, json.dumps(job).encode() + b"\n", deadline_s, clock, guard)
        answer.seek(0)
        return _ended(command, answer.read(), supervisor.returncode)


def _started(environment: Mapping[str, str], answer: int) -> tuple["subprocess.Popen[bytes]", int]:
    """Return the supervisor, and the pipe that it reads; raises OSError."""
    theirs, ours = os.pipe()
    try:
        supervisor = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(_SUPERVISOR)],
            stdin=theirs,
            stdout=answer,
            stderr=subprocess.DEVNULL,  # a traceback might quote the job
            env=environment,
            start_new_session=True,
        )
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return supervisor, ours


def _supervise(
    supervisor: "subprocess.Popen[bytes]",
    pipe: int,
    job: bytes,
    deadline_s: float,
    clock: Clock,
    guard: Guard,
) -> None:
    """Give the job, and return when the supervisor has ended; its end is that of all it runs."""
    end = clock.monotonic() + deadline_s
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended: the missing answer says so
            _write(pipe, job)
        while supervisor.poll() is None and clock.monotonic() < end:
            guard.wait(_LOOK_S)
    finally:
        os.close(pipe)
        try:
            supervisor.wait(_END_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _ended(command: Command, answer: bytes, status: int) -> Ended:
    if not answer:  # somebody has killed it: the program may have done its work
        return Ended(status, err="its supervisor ended without an answer")
    found = json.loads(answer)
    if "failed" in found:
        raise CannotRun(f"{command.program} cannot be run: {found['failed']}; install it again")
    ended = Ended(found["code"], found["out"], found["err"])
    LOG.debug("%s ended with %s", command.program, ended.code)
    return ended


class Programs:
    """Runs programs for one piece of work, under its guard and clock."""

    def __init__(self, clock: Clock, guard: Guard, runner: Runner = run) -> None:
        self.clock, self.guard = clock, guard
        self._runner = runner

    def run(self, command: Command, deadline_s: float) -> Ended:
        """Return how a program ended; raises CannotRun, and what the guard raises."""
        return self._runner(command, deadline_s, self.clock, self.guard)
