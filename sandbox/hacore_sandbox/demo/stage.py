# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What all scenarios do: start a cloud and hacore, wait, and follow a recovery on the screen."""

import dataclasses
import shlex
import threading
from collections.abc import Callable, Collection
from typing import TypeVar

from hacore.clock import Clock
from hacore_sandbox.demo.clients import Hacore, Sandbox
from hacore_sandbox.demo.processes import REPORT_INTERVAL_S, Deployment
from hacore_sandbox.demo.records import CloudState, DemoError, Recovery
from hacore_sandbox.demo.view import View

T = TypeVar("T")

_POLL_S = 0.25  #: between two reads
#: The time limit of a recovery: a fixed part, and a part for each instance.
_RECOVERY_S, _RECOVERY_EACH_S = 60.0, 1.0
_SEGMENT = "demo"


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """The processes of the demo, and who watches them."""

    deployment: Deployment
    shown: View
    clock: Clock

    def start_cloud(
        self, hosts: int, prepare: Callable[[Sandbox], None]
    ) -> tuple[Sandbox, CloudState]:
        """Start a cloud of so many hosts, and `prepare` it; return it, and its state."""
        self.shown.begin("Starting a simulated cloud")
        sandbox = self.deployment.start_sandbox(hosts)
        prepare(sandbox)
        before = sandbox.state()
        self.shown.fact(f"A simulated cloud of {len(before.hosts)} hosts at {sandbox.url}")
        return sandbox, before

    def start_hacore(
        self,
        sandbox: Sandbox,
        state: CloudState,
        report_interval_s: float = REPORT_INTERVAL_S,
        *,
        fences: bool = False,
    ) -> tuple[Hacore, str]:
        """Start hacore, with all hosts of the cloud in a segment; return it, and the segment."""
        self.shown.begin("Starting hacore-standalone")
        hacore = self.deployment.start_hacore(sandbox, report_interval_s, fences=fences)
        segment = hacore.add_segment(_SEGMENT)
        for host in state.hosts:
            hacore.add_host(segment, host)
        self.shown.fact(
            f"hacore-standalone at {hacore.url}, with segment {_SEGMENT} of these hosts"
        )
        return hacore, segment

    def follow(self, hacore: Hacore, uuid: str, instances: int) -> Recovery:
        """Show a recovery of so many instances until nothing changes soon; return it."""
        began = self.clock.monotonic()

        def read() -> Recovery | None:
            recovery = hacore.recovery(uuid)
            self.shown.recovery(recovery, self.clock.monotonic() - began)
            return recovery if recovery.ended else None

        limit_s = _RECOVERY_S + _RECOVERY_EACH_S * instances
        recovery = self.wait("the recovery to end", read, limit_s)
        reason = f": {recovery.message}" if recovery.message else ""
        show = self.shown.fact if recovery.status == "finished" else self.shown.failure
        show(f"Notification {recovery.status}{reason}")
        return recovery

    def wait_until_heard(self, what: str, hacore: Hacore, unheard: Collection[str]) -> None:
        """Return once Nova hears none of the `unheard` hosts, and all others."""
        self.shown.begin(f"Waiting for {what}")
        self.wait(what, lambda: hacore.unheard() == frozenset(unheard) or None)

    def wait(self, what: str, read: Callable[[], T | None], limit_s: float = _RECOVERY_S) -> T:
        """Return what `read` finds, once it is not None; raise DemoError after `limit_s`."""
        deadline = self.clock.monotonic() + limit_s
        while True:
            self.deployment.check()
            if (found := read()) is not None:
                return found
            if self.clock.monotonic() > deadline:
                raise DemoError(f"Timed out after {limit_s:.0f} s waiting for {what}.")
            self.clock.wait(threading.Event(), _POLL_S)

    def manage(self, *arguments: str, shorten: Callable[[str], str] = str) -> None:
        """Show a verb of hacore-manage, as an operator types it, and its output.

        :param shorten: what is shown of the output.
        """
        self.shown.command(shlex.join(("hacore-manage", *arguments)))
        output = self.deployment.manage(arguments, self.shown.columns)
        self.shown.output(shorten(output.rstrip()))
