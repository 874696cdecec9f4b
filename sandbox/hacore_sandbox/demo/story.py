# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The demo from its first line to its exit status."""

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
from hacore_sandbox.demo.facts import DemoError, Outcome
from hacore_sandbox.demo.scenarios import SCENARIOS, VICTIM, Ending, Scenario
from hacore_sandbox.demo.stage import Stage
from hacore_sandbox.demo.view import View

_LOOK_S = 0.25  #: between two looks at the recovery
#: The longest that a recovery may take: so much, and so much more for each instance.
_RECOVERY_S, _RECOVERY_EACH_S = 60.0, 1.0
_SEGMENT = "demo"


class Stopped(BaseException):
    """A signal tells the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(scenario: str, instances: int) -> int:
    """Play it; 0 if and only if all is as it should be in the end."""
    clock = SystemClock()
    try:
        with _signals(), contextlib.closing(view.choose(clock)) as shown:
            try:
                return _run(SCENARIOS[scenario], instances, shown, clock)
            except Stopped as exc:
                shown.verdict("Stopped; nothing is left behind.", good=False)
                return 128 + exc.number
    except BrokenPipeError:
        # nobody reads any more; the interpreter flushes once again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Raise Stopped, once, for the signals that tell a process to end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # not again, while the children are ended
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
        with Stage(folder, clock) as stage:
            shown.title(scenario.title(instances))
            ending = _play(scenario, instances, stage, shown, clock)
            shown.table(ending.table)
            if ending.wrong:
                raise DemoError(" ".join(ending.wrong))
            shown.verdict(ending.good, good=True)
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


def _play(scenario: Scenario, instances: int, stage: Stage, shown: View, clock: Clock) -> Ending:
    shown.begin("Starting a simulated cloud")
    sandbox = stage.start_sandbox()
    scenario.prepare(sandbox, sandbox.add_instances(VICTIM, instances))
    before = sandbox.truth()
    shown.fact(f"A simulated cloud of {len(before.hosts)} hosts at {sandbox.url}")

    shown.begin("Starting hacore-standalone")
    hacore = stage.start_hacore(sandbox)
    segment = hacore.add_segment(_SEGMENT)
    for host in before.hosts:
        hacore.add_host(segment, host)
    shown.fact(f"hacore-standalone at {hacore.url}, with segment {_SEGMENT} of these hosts")

    failure = scenario.strike(sandbox, before)
    shown.failure(failure.text)
    uuid = hacore.notify(failure.kind, VICTIM, failure.payload, clock.now())
    shown.fact(f"{failure.kind} notification {uuid}")
    began = clock.monotonic()
    most_s = _RECOVERY_S + _RECOVERY_EACH_S * instances
    while True:
        stage.check()
        recovery, elapsed_s = hacore.recovery(uuid), clock.monotonic() - began
        shown.recovery(recovery, elapsed_s)
        if recovery.ended:
            break
        if elapsed_s > most_s:
            raise DemoError(f"The recovery has not ended within {most_s:.0f} s.")
        clock.wait(threading.Event(), _LOOK_S)
    said = f": {recovery.message}" if recovery.message else ""
    tell = shown.fact if recovery.status == "finished" else shown.failure
    tell(f"Notification {recovery.status}{said}")
    outcome = Outcome(before, sandbox.truth(), recovery, hacore.on_maintenance(segment))
    return scenario.end(outcome)
