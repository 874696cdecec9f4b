# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The demo from the first line to the exit status."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from hacore.clock import Clock, SystemClock
from hacore_sandbox.demo import view
from hacore_sandbox.demo.processes import Deployment
from hacore_sandbox.demo.records import DemoError, Outcome
from hacore_sandbox.demo.scenarios import SCENARIOS, VICTIM, Result, Scenario
from hacore_sandbox.demo.view import View

_POLL_S = 0.25  #: between two reads of the recovery
#: The time limit of a recovery: a fixed part, and a part for each instance.
_RECOVERY_S, _RECOVERY_EACH_S = 60.0, 1.0
_SEGMENT = "demo"


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
                return _run(SCENARIOS[scenario], instances, shown, clock)
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


def _run(scenario: Scenario, instances: int, shown: View, clock: Clock) -> int:
    folder = Path(tempfile.mkdtemp(prefix="hacore-demo-"))
    keep = True
    try:
        with Deployment(folder, clock) as deployment:
            shown.title(scenario.title(instances))
            result = _recover(scenario, instances, deployment, shown, clock)
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


def _recover(
    scenario: Scenario, instances: int, deployment: Deployment, shown: View, clock: Clock
) -> Result:
    shown.begin("Starting a simulated cloud")
    sandbox = deployment.start_sandbox()
    scenario.prepare(sandbox, sandbox.add_instances(VICTIM, instances))
    before = sandbox.state()
    shown.fact(f"A simulated cloud of {len(before.hosts)} hosts at {sandbox.url}")

    shown.begin("Starting hacore-standalone")
    hacore = deployment.start_hacore(sandbox)
    segment = hacore.add_segment(_SEGMENT)
    for host in before.hosts:
        hacore.add_host(segment, host)
    shown.fact(f"hacore-standalone at {hacore.url}, with segment {_SEGMENT} of these hosts")

    failure = scenario.fail(sandbox, before)
    shown.failure(failure.text)
    uuid = hacore.notify(failure.kind, VICTIM, failure.payload, clock.now())
    shown.fact(f"{failure.kind} notification {uuid}")
    began = clock.monotonic()
    limit_s = _RECOVERY_S + _RECOVERY_EACH_S * instances
    while True:
        deployment.check()
        recovery, elapsed_s = hacore.recovery(uuid), clock.monotonic() - began
        shown.recovery(recovery, elapsed_s)
        if recovery.ended:
            break
        if elapsed_s > limit_s:
            raise DemoError(f"Timed out after {limit_s:.0f} s waiting for the recovery to end.")
        clock.wait(threading.Event(), _POLL_S)
    reason = f": {recovery.message}" if recovery.message else ""
    show = shown.fact if recovery.status == "finished" else shown.failure
    show(f"Notification {recovery.status}{reason}")
    outcome = Outcome(before, sandbox.state(), recovery, hacore.on_maintenance(segment))
    return scenario.check(outcome)
