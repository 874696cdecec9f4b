# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A step may start a process, as an operator's fencing does, on either concurrency back end."""

import subprocess
import sys
import threading

from hacore.clock import SystemClock


def test_a_process_of_a_step_holds_up_no_other_thread() -> None:
    """The engine renews its leases while a step waits for a process."""
    clock, ended, renewals = SystemClock(), threading.Event(), 0

    def renew() -> None:
        nonlocal renewals
        while not clock.wait(ended, 0.05):
            renewals += 1

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        code = "import time; time.sleep(1); print('off')"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
    finally:
        ended.set()
        thread.join()
    assert done.stdout == "off\n"
    assert renewals >= 3
