# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The sandbox over real sockets, and its command."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from hacore_sandbox import cli
from hacore_sandbox.server import SandboxServer


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def test_one_connection_serves_many_requests(server: SandboxServer) -> None:
    with socket.create_connection(server.server_address) as connection:
        reader = connection.makefile("rb")
        for _ in range(3):
            connection.sendall(b"GET /compute HTTP/1.1\r\nHost: here:5\r\n\r\n")
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = dict(
                line.decode().strip().split(": ", 1) for line in iter(reader.readline, b"\r\n")
            )
            body = reader.read(int(headers["Content-Length"]))
            assert b"http://here:5/compute/v2.1/" in body
        connection.sendall(b"HEAD /compute HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert reader.readline().startswith(b"HTTP/1.1 401")
        rest = reader.read()
        assert rest.endswith(b"\r\n\r\n")
        assert b"Connection: close" in rest
        reader.close()


def test_a_dropped_call(server: SandboxServer, http: requests.Session) -> None:
    rule = {"path": "^/compute", "drop": "after", "times": 1}
    http.put(f"{server.url}/control/faults", json={"calls": [rule]})
    with pytest.raises(requests.ConnectionError):
        http.get(f"{server.url}/compute")
    assert http.get(f"{server.url}/compute").status_code == 200


def test_a_delay(server: SandboxServer, http: requests.Session) -> None:
    rule = {"path": "^/compute", "delay_s": 0.2, "times": 1}
    http.put(f"{server.url}/control/faults", json={"calls": [rule]})
    assert http.get(f"{server.url}/compute").elapsed.total_seconds() > 0.19


def test_bodies_that_are_not_taken(server: SandboxServer, http: requests.Session) -> None:
    chunks = iter([b"x"])
    assert http.post(f"{server.url}/compute", data=chunks).status_code == 413
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(b"what\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_bug_of_the_sandbox_is_answered(
    server: SandboxServer, http: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    del server.rest._routes  # whatever breaks
    assert http.get(f"{server.url}/compute").status_code == 500
    assert "Unexpected exception in the sandbox: GET /compute" in caplog.text


def test_expect_continue(server: SandboxServer) -> None:
    with socket.create_connection(server.server_address) as connection:
        head = b"PUT /control/faults HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_it_is_stopped(number: signal.Signals, http: requests.Session) -> None:
    command = [sys.executable, "-m", "hacore_sandbox.cli", "serve", "--port", "0"]
    more = ["--hosts", "3", "--instances", "10", "--ha-instances", "4", "--set", "stop_s=9"]
    with subprocess.Popen(
        [*command, *more, "--max-microversion", "2.60", "--service-down", "7"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("listening on http://127.0.0.1:")
        url = first.split()[-1]
        assert process.stdout.readline() == "\n"
        assert process.stdout.readline() == "[nova]\n"
        state = http.get(f"{url}/control/state").json()
        assert len(state["hosts"]) == 3
        assert sum("HA_Enabled" in server["metadata"] for server in state["servers"]) == 4
        assert len(state["servers"]) == 10
        settings = http.get(f"{url}/control/settings").json()
        assert (settings["stop_s"], settings["service_down_s"]) == (9.0, 7.0)
        assert settings["max_microversion"] == [2, 60]
        os.kill(process.pid, number)
        assert process.wait(10) == 0


def test_a_port_that_is_taken(server: SandboxServer, capsys: pytest.CaptureFixture[str]) -> None:
    port = server.server_address[1]
    assert cli.main(["serve", "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"hacore-sandbox: failed to listen on port {port}: Address already in use\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "best"], "unknown preset 'best'; known: real, demo, instant"),
        (["--set", "speed=1"], "unknown setting 'speed'"),
        (["--set", "stop_s=x"], "stop_s must be a number, not 'x'"),
        (["--set", "evacuate_busy=x"], "evacuate_busy must be true or false, not 'x'"),
        (["--max-microversion", "new"], "a microversion must look like 2.90, not 'new'"),
    ],
)
def test_options_that_are_wrong(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", *words]) == 2
    assert capsys.readouterr().err == f"hacore-sandbox: {message}\n"


@pytest.mark.parametrize(
    ("answer", "kind", "begin"),
    [("html", "text/html; charset=UTF-8", "<html>"), ("truncated", "application/json", '{"versio')],
)
def test_an_answer_that_is_none_of_novas(
    server: SandboxServer, answer: str, kind: str, begin: str
) -> None:
    rule = {"path": "/compute", "answer": answer}
    requests.put(f"{server.url}/control/faults", json={"calls": [rule]}, timeout=10)
    got = requests.get(f"{server.url}/compute", timeout=10)
    assert (got.status_code, got.headers["Content-Type"]) == (200, kind)
    assert got.text.startswith(begin)
    with pytest.raises(ValueError, match=r"char \d+"):
        got.json()
