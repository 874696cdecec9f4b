# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The HTTP server: sockets, threads, and the delays of the answers.

HTTP/1.1 with keep-alive, for known clients: bodies have a Content-Length.  The
model is single-threaded, so one lock guards it; delays and JSON are outside of
the lock.
"""

import email.utils
import http
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Mapping

from hacore.clock import Clock, SystemClock
from hacore_sandbox.rest import Rest
from hacore_sandbox.wire import Response, fault_body

LOG = logging.getLogger(__name__)
_REASONS = {status.value: status.phrase for status in http.HTTPStatus}
_MOST_BODY = 10 * 1024 * 1024


class SandboxServer(socketserver.ThreadingTCPServer):
    """Serves one `Rest` on 127.0.0.1."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, rest: Rest, port: int = 0, clock: Clock | None = None) -> None:
        self.rest = rest
        self.clock = clock or SystemClock()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        try:
            with self.lock:
                return self.rest.handle(method, path, query, headers, body)
        except Exception:
            LOG.exception("Unexpected exception in the sandbox: %s %s", method, path)
            return Response(500, {}, fault_body(500, "internal error of the sandbox; see its log"))


class _Connection(socketserver.StreamRequestHandler):
    """One connection, with any number of requests."""

    server: SandboxServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self._one_request():
                pass
        except (ConnectionError, TimeoutError):
            return

    def _one_request(self) -> bool:
        """Read and answer a request; False if the connection must be closed."""
        line = self.rfile.readline(65536)
        if line in (b"\r\n", b"\n"):
            line = self.rfile.readline(65536)
        if not line:
            return False
        try:
            method, target, version = line.decode("latin-1").split()
        except ValueError:
            self._send(Response(400, {}, "bad request line"), head=False, close=True)
            return False
        headers = self._headers()
        length = int(headers.get("content-length") or 0)
        if length > _MOST_BODY or "transfer-encoding" in headers:
            self._send(Response(413, {}, "body too large"), head=False, close=True)
            return False
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(length) if length else b""
        path, _, query = target.partition("?")
        response = self.server.answer(method, path, query, headers, body)
        if response.delay_s > 0:
            self.server.clock.wait(threading.Event(), response.delay_s)
        if response.drop:
            self._abort()
            return False
        close = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        self._send(response, head=method == "HEAD", close=close)
        return not close

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while True:
            line = self.rfile.readline(65536)
            if line in (b"\r\n", b"\n", b""):
                return headers
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()

    def _send(self, response: Response, *, head: bool, close: bool) -> None:
        if response.body is None:
            payload, kind = b"", "application/json"
        elif isinstance(response.body, bytes):
            payload, kind = response.body, "application/json"
        elif isinstance(response.body, str):
            payload, kind = response.body.encode(), "text/html; charset=UTF-8"
        else:
            payload = json.dumps(response.body, separators=(",", ":")).encode()
            kind = "application/json"
        headers = {"Date": email.utils.formatdate(usegmt=True), **response.headers}
        lines = [
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}",
            f"Content-Type: {kind}",
            f"Connection: {'close' if close else 'keep-alive'}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if response.status != 204:
            lines.append(f"Content-Length: {len(payload)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(data if head or response.status == 204 else data + payload)

    def _abort(self) -> None:
        """Close with a reset, as if the process behind the port had died."""
        linger_at_once = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_at_once)
