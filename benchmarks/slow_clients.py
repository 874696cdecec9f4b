# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How long a client waits while hundreds of others send slowly, or nothing.

    python -m benchmarks.slow_clients [--database sqlite|mysql|postgresql] [--seconds 20]

A real hacore-api with its own web server and default limits, noauth2, and a database of
its own; Nova is the sandbox's.  300 connections send nothing, and 100 a byte every 2 s of
a request that has no end; what the API closes is opened again.  The client lists segments
and posts notifications in turn, one after the other and each on a connection of its own:
first alone, and then beside the others.

Exit status 1 if an answer took a second, or was not the right one.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import socket
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

from benchmarks import load
from benchmarks.api import HOSTS
from benchmarks.deployment import KINDS, Deployment, database

IDLE = 300
SLOW = 100
AIM_S = 1.0
_BYTE_INTERVAL_S = 2.0
_GROUPS = 20  # that send one after the other within it
_PATIENCE_S = 30
_OPEN_S = 1
_HEADERS = {"Content-Type": "application/json", "OpenStack-API-Version": "instance-ha 1.3"}
_BEGUN = b"POST /v1/notifications HTTP/1.1\r\nHost: a\r\nX-Slow: "

Address = tuple[str, int]


class Other:
    """A connection that idles, or sends a byte at a time.

    :ivar closed: how often the API has closed it; it is opened again each time.
    """

    def __init__(self, address: Address, *, sends: bool) -> None:
        self._address = address
        self._sends = sends
        self.closed = 0
        self._open()

    def _open(self) -> None:
        self._sock = socket.socket()
        self._sock.settimeout(_OPEN_S)
        with contextlib.suppress(OSError):  # then it is tried again the next time
            self._sock.connect(self._address)
        self._bytes = itertools.chain(_BEGUN, itertools.repeat(ord("a")))

    def go_on(self) -> None:
        """Send a byte, if this one does; see whether the connection is there still."""
        try:
            if self._sends:
                self._sock.send(bytes([next(self._bytes)]))
            self._sock.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # it is: nothing is said
        except OSError:
            pass
        self.closed += 1
        self.close()
        self._open()

    def close(self) -> None:
        self._sock.close()


class Crowd:
    """All the others, and the thread that sends for them."""

    def __init__(self, address: Address) -> None:
        self._others = [Other(address, sends=number < SLOW) for number in range(IDLE + SLOW)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for group in itertools.cycle(range(_GROUPS)):
            if self._stopped.wait(_BYTE_INTERVAL_S / _GROUPS):
                return
            for other in self._others[group::_GROUPS]:
                if not self._stopped.is_set():
                    other.go_on()

    def close(self) -> int:
        """End; how many connections the API has closed."""
        self._stopped.set()
        self._thread.join()
        for other in self._others:
            other.close()
        return sum(other.closed for other in self._others)


def measure(address: Address, seconds: float) -> list[float]:
    """Ask for so long; the seconds that each answer took, the shortest first."""
    latencies_s: list[float] = []
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        host = HOSTS[len(latencies_s) % len(HOSTS)]
        post = json.dumps({"notification": load.instance_failure(host)})
        for method, path, body, status in (
            ("GET", "/v1/segments", None, 200),
            ("POST", "/v1/notifications", post, 202),
        ):
            sent = time.monotonic()
            connection = http.client.HTTPConnection(*address, timeout=_PATIENCE_S)
            with contextlib.closing(connection):
                try:
                    connection.request(method, path, body, _HEADERS)
                    answer = connection.getresponse()
                    text = answer.read()
                except TimeoutError:
                    print(f"{method} {path} was not answered within {_PATIENCE_S} s", flush=True)
                    sys.exit(1)
            latencies_s.append(time.monotonic() - sent)
            if answer.status != status:
                sys.exit(f"{method} {path} was answered {answer.status}: {text[:200]!r}")
    return sorted(latencies_s)


def report(title: str, latencies_s: list[float]) -> None:
    """Print a line of the table."""
    count = len(latencies_s)
    figures = [latencies_s[count // 2], latencies_s[count * 99 // 100], latencies_s[-1]]
    milliseconds = "".join(f"{figure * 1000:>8.1f} ms" for figure in figures)
    print(f"{title:<28}{count:>9}{milliseconds}", flush=True)


def main() -> None:
    """Measure without the others and with them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, database(options.database, Path(name)) as url:
        deployment = Deployment(Path(name), url, HOSTS)
        try:
            split = urllib.parse.urlsplit(deployment.start_api().url)
            address = (split.hostname or "", split.port or 0)
            print(f"hacore-api on {options.database}")
            print(f"{'':<28}{'answers':>9}{'p50':>11}{'p99':>11}{'max':>11}")
            report("alone", measure(address, options.seconds))
            others = Crowd(address)
            try:
                beside = measure(address, options.seconds)
            finally:
                closed = others.close()
            report(f"beside {IDLE} idle, {SLOW} slow", beside)
        finally:
            deployment.close()
    met = beside[-1] < AIM_S
    print(f"The API has closed {closed} connections of the others; they were opened again.")
    print(f"The slowest answer, less than {AIM_S:g} s: {'ok' if met else 'MISSED'}")
    sys.exit(not met)


if __name__ == "__main__":
    main()
