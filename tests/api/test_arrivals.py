# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Clients that send slowly, or nothing, do not delay the answers to others."""

import contextlib
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from wsgiref.types import WSGIApplication

import pytest

from hacore.api.arrivals import is_whole
from hacore.api.server import make_server

MOST = 100
REQUEST = b"GET /v1/segments HTTP/1.1\r\nHost: a\r\nX-Auth-Token: admin:admin\r\n\r\n"


@contextlib.contextmanager
def connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    address = urllib.parse.urlsplit(url)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((address.hostname, address.port), 10))
            for _ in range(count)
        ]


def status(sock: socket.socket) -> bytes:
    """The status of the answer; b"" where the connection was closed without one."""
    return sock.makefile("rb").readline().partition(b" ")[2][:3]


@pytest.mark.parametrize("begun", [REQUEST[:1], REQUEST[:40], REQUEST[:-1]])
def test_slow_and_idle_clients_keep_nobody_waiting(url: str, begun: bytes) -> None:
    stopped = threading.Event()

    def trickle(socks: list[socket.socket]) -> None:
        while not stopped.wait(0.5):
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(b"a")

    with connections(url, 300), connections(url, 100) as slow:
        for sock in slow:
            sock.send(begun)
        thread = threading.Thread(target=trickle, args=(slow if begun[-1:] != b"\r" else [],))
        thread.start()
        try:
            for _ in range(5):
                request = urllib.request.Request(f"{url}/v1/segments")
                request.add_header("X-Auth-Token", "admin:admin")
                # threads that wait for those would not answer before their time-out of 10 s
                with urllib.request.urlopen(request, timeout=5) as answer:
                    assert answer.status == 200
        finally:
            stopped.set()
            thread.join()


def test_a_request_in_pieces_is_answered(url: str) -> None:
    body = b'{"segment": {"name": "a", "recovery_method": "auto", "service_type": "COMPUTE"}}'
    head = (
        b"POST /v1/segments HTTP/1.1\r\nHost: a\r\nX-Auth-Token: admin:admin\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with connections(url, 1) as (sock,):
        whole = head + body
        for piece in (whole[:10], whole[10:100], whole[100:-5], whole[-5:]):
            sock.sendall(piece)
            assert not threading.Event().wait(0.02)
        assert status(sock) == b"201"


def test_two_requests_at_once_are_answered_both(url: str) -> None:
    with connections(url, 1) as (sock,):
        sock.sendall(REQUEST + REQUEST)
        read = b""
        while read.count(b"HTTP/1.1 200") < 2:
            more = sock.recv(65536)
            assert more, read
            read += more


def test_a_client_that_expects_100_continue_gets_it(url: str) -> None:
    head = (
        b"POST /v1/segments HTTP/1.1\r\nHost: a\r\nX-Auth-Token: admin:admin\r\n"
        b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    with connections(url, 1) as (sock,):
        sock.sendall(head)
        assert status(sock) == b"100"
        sock.sendall(b"{}")
        answers = b""
        while b"HTTP/1.1 400" not in answers:
            more = sock.recv(65536)
            assert more, answers
            answers += more


def test_who_does_not_send_in_time_is_disconnected(app: WSGIApplication) -> None:
    with serving(app, request_timeout_s=0.2) as url, connections(url, 2) as (idle, slow):
        slow.send(REQUEST[:40])
        assert status(idle) == b""
        assert status(slow) == b""


def test_who_waits_longest_makes_room(app: WSGIApplication) -> None:
    with serving(app, most_waiting=2) as url, connections(url, 3) as socks:
        assert status(socks[0]) == b""
        for sock in socks[1:]:
            sock.sendall(REQUEST)
            assert status(sock) == b"200"


@contextlib.contextmanager
def serving(
    app: WSGIApplication, *, request_timeout_s: float = 10, most_waiting: int = 1000
) -> Iterator[str]:
    server = make_server(
        ("127.0.0.1", 0),
        app,
        threads=2,
        most_body=MOST,
        request_timeout_s=request_timeout_s,
        most_waiting=most_waiting,
    )
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.bind_addr[1]}"
    server.stop()
    thread.join(timeout=10)


POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\n\n", True),  # cheroot refuses it
        (b"a" * 70000, True),  # too long: so is this
        (POST + b"Content-Length: 3\r\n\r\nab", False),
        (POST + b"CONTENT-LENGTH:3\r\n\r\nabc", True),
        (POST + b"Content-Length: 101\r\n\r\n", True),  # refused without reading it
        (POST + b"Content-Length: x\r\n\r\n", True),  # refused
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", False),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"a" * 101 + b"\r\n", True),  # too long
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", True),  # refused
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde", True),  # refused
    ],
)
def test_what_needs_no_more_from_the_client(data: bytes, whole: bool) -> None:
    assert is_whole(data, MOST) is whole
