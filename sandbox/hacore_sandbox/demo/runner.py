# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The demo from the first line to the exit status."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from hacore.clock import Clock, SystemClock
from hacore_sandbox.demo import fencing, mass_failure, view
from hacore_sandbox.demo.clients import Sandbox
from hacore_sandbox.demo.processes import Deployment
from hacore_sandbox.demo.records import DemoError, Outcome
from hacore_sandbox.demo.scenarios import SCENARIOS, VICTIM, Result, Scenario
from hacore_sandbox.demo.stage import Stage
from hacore_sandbox.demo.view import View

_HOSTS = 4  #: of the cloud of a scenario with one failure


class Stopped(BaseException):
    """The demo was ended by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(scenario: str, instances: int) -> int:
    """Run a scenario; returns 0 if and only if nothing is wrong at the end."""
    clock = SystemClock()
    try:
        with _signals(), contextlib.closing(view.choose(clock)) as shown:
            try:
                return _run(scenario, instances, shown, clock)
            except Stopped as exc:
                shown.verdict("Stopped. All processes are ended and all files removed.", good=False)
                return 128 + exc.number
    except BrokenPipeError:
        # the reader has gone; the interpreter flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Raise Stopped once for SIGINT, SIGTERM and SIGHUP."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # not again while the children are being ended
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(scenario: str, instances: int, shown: View, clock: Clock) -> int:
    folder = Path(tempfile.mkdtemp(prefix="hacore-demo-"))
    keep = True
    try:
        with Deployment(folder, clock) as deployment:
            stage = Stage(deployment, shown, clock)
            if scenario == "mass-failure":
                result = mass_failure.play(stage, instances)
            elif scenario == "fencing":
                result = fencing.play(stage, instances)
            else:
                result = _recover(SCENARIOS[scenario], instances, stage)
            shown.table(result.table)
            if result.wrong:
                raise DemoError(" ".join(result.wrong))
            shown.verdict(result.summary, good=True)
        keep = False
    except DemoError as exc:
        shown.verdict(f"{exc} The logs are in {folder}.", good=False)
        return 1
    except (Stopped, BrokenPipeError):
        keep = False
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _recover(scenario: Scenario, instances: int, stage: Stage) -> Result:
    """Play a scenario with one failure and one recovery."""
    stage.shown.title(scenario.title(instances))

    def prepare(sandbox: Sandbox) -> None:
        scenario.prepare(sandbox, sandbox.add_instances([VICTIM], instances))

    sandbox, before = stage.start_cloud(_HOSTS, prepare)
    hacore, segment = stage.start_hacore(sandbox, before)
    failure = scenario.fail(sandbox, before)
    stage.shown.failure(failure.text)
    uuid = hacore.notify(failure.kind, VICTIM, failure.payload, stage.clock.now())
    stage.shown.fact(f"{failure.kind} notification {uuid}")
    recovery = stage.follow(hacore, uuid, instances)
    outcome = Outcome(before, sandbox.state(), recovery, hacore.on_maintenance(segment))
    return scenario.check(outcome)
