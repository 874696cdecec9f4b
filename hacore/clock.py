# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Time, as an argument.

Whatever waits or needs the time is given a `Clock`, so that a test can pass
one of its own and twenty minutes pass in milliseconds.  Nothing else in hacore
calls ``time.sleep`` or ``datetime.now``.
"""

import datetime
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What hacore needs of time."""

    def now(self) -> datetime.datetime:
        """The wall clock, UTC and aware."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never decreases."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Sleep until `event` is set or `timeout_s` has passed; True if it is set."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(max(0.0, timeout_s))
