# Licensed under the Apache License, Version 2.0; see LICENSE.
"""fence_hacore_sandbox, as a process, against a sandbox of real sockets."""

import shutil
import socket
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from hacore_sandbox import fence_agent
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.server import SandboxServer

Agent = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cloud(server: SandboxServer) -> Cloud:
    return server.rest._cloud


def run(stdin: str, *args: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    command = [sys.executable, "-m", "hacore_sandbox.fence_agent", *args]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def agent(server: SandboxServer) -> Agent:
    """Runs it with options on standard input; one that is None is left out."""

    def ask(action: str | None, **more: str | None) -> tuple[int, str, str]:
        options = {
            "action": action,
            "ip": "127.0.0.1",
            "ipport": str(server.server_address[1]),
            "plug": "compute1",
            "username": "admin",
            "password": "admin",
            "stonith_status_sleep": "0",
        } | more
        return run("".join(f"{k}={v}\n" for k, v in options.items() if v is not None))

    return ask


def test_the_command_is_installed() -> None:
    folder = sysconfig.get_path("scripts")
    if not shutil.which("fence_hacore_sandbox", path=folder):
        pytest.fail("run: pip install -e ./sandbox")


def test_a_host_is_switched_off_and_on(agent: Agent, cloud: Cloud) -> None:
    service = cloud.state.host("compute1").service
    assert agent("status") == (0, "Status: ON\n", "")
    assert agent("on") == (0, "Success: Already ON\n", "")
    assert agent("off") == (0, "Success: Powered OFF\n", "")
    assert not service.alive
    assert agent("off") == (0, "Success: Already OFF\n", "")
    assert agent("status") == (2, "Status: OFF\n", "")
    assert agent("monitor") == (0, "", "")
    assert agent("on") == (0, "Success: Powered ON\n", "")
    assert [order.power for order in cloud.bmcs.get("compute1").orders] == ["off", "on"]


@pytest.mark.parametrize("action", ["reboot", None])
def test_reboot_is_the_default(agent: Agent, cloud: Cloud, action: str | None) -> None:
    assert agent(action) == (0, "Success: Rebooted\n", "")
    assert [order.power for order in cloud.bmcs.get("compute1").orders] == ["off", "on"]


def test_reboot_of_a_host_that_is_off(agent: Agent, cloud: Cloud) -> None:
    cloud.switch("compute1", False)
    assert agent("reboot") == (0, "Success: Rebooted\n", "")
    assert [order.power for order in cloud.bmcs.get("compute1").orders] == ["on"]


def test_a_reboot_that_stays_off_has_fenced(agent: Agent, cloud: Cloud) -> None:
    cloud.switch("compute1", False)
    cloud.bmcs.change("compute1", {"mode": "lies"})
    code, said, errors = agent("reboot", power_timeout="0")
    assert (code, said) == (0, "Success: Rebooted\n")
    assert "ERROR: Failed: Timed out waiting to power ON" in errors


def test_an_order_that_takes_its_time(agent: Agent, cloud: Cloud) -> None:
    cloud.bmcs.change("compute1", {"mode": "delay", "delay_s": 0.5})
    assert agent("off") == (0, "Success: Powered OFF\n", "")
    assert not cloud.state.host("compute1").powered


def test_an_order_that_is_ignored(agent: Agent, cloud: Cloud) -> None:
    cloud.bmcs.change("compute1", {"mode": "lies"})
    code, said, errors = agent("off", power_timeout="1")
    assert (code, said) == (1, "")
    assert errors.endswith(" ERROR: Failed: Timed out waiting to power OFF\n\n")
    assert cloud.state.host("compute1").powered


@pytest.mark.parametrize("action", ["off", "status", "monitor"])
def test_a_dead_bmc(agent: Agent, cloud: Cloud, action: str) -> None:
    cloud.bmcs.change("compute1", {"mode": "dead"})
    code, said, errors = agent(action, login_timeout="1")
    assert (code, said) == (1, "")
    assert errors.endswith(" ERROR: Connection timed out\n\n")


def test_nobody_listens(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    code, said, errors = agent("status", ipport=port)
    assert (code, said) == (1, "")
    assert f"Unable to connect to 127.0.0.1:{port}: [Errno 111] Connection refused" in errors


@pytest.mark.parametrize(
    ("more", "errors", "cause"),
    [
        (
            {"password": "wr0ng"},
            "ERROR: Unable to connect/login to fencing device",
            '"GET /bmc/compute1 HTTP/1.1" 401 ',
        ),
        (
            {"username": "reader", "password": "reader"},
            "ERROR: Failed: The user does not have the correct privileges",
            '"POST /bmc/compute1 HTTP/1.1" 403 ',
        ),
        (
            {"plug": "compute99"},
            "ERROR: Failed: Unable to obtain correct plug status or plug is not available",
            '"GET /bmc/compute99 HTTP/1.1" 404 ',
        ),
    ],
)
def test_refusals_have_their_cause_at_verbose(
    agent: Agent, more: dict[str, str], errors: str, cause: str
) -> None:
    code, said, quiet = agent("off", **more)
    assert (code, said) == (1, "")
    assert errors in quiet
    assert cause not in quiet
    for verbose in ({"verbose": "1"}, {"verbose_level": "2"}):
        _, _, loud = agent("off", **more, **verbose)
        assert errors in loud
        assert cause in loud
        assert "wr0ng" not in loud


def test_a_server_that_is_no_bmc(agent: Agent) -> None:
    code, said, errors = agent("status", plug="../compute")
    assert (code, said) == (1, "")
    assert "Failed: " in errors


def test_the_password_of_a_script(agent: Agent, tmp_path: Path) -> None:
    script = f"cat {tmp_path}/password"
    (tmp_path / "password").write_text("admin\n")
    assert agent("status", password=None, password_script=script) == (0, "Status: ON\n", "")
    (tmp_path / "password").write_text("wrong\n")
    assert agent("status", password=None, password_script=script)[0] == 1


def test_deprecated_names_and_comments(server: SandboxServer) -> None:
    port = server.server_address[1]
    options = f"# a comment\n\nnodename=compute1\noption=STATUS\nipaddr=127.0.0.1\nipport={port}\n"
    options += 'login="admin"\npasswd=admin\nport=compute1\n'
    assert run(options) == (0, "Status: ON\n", "")


def test_an_unknown_option_is_a_warning(agent: Agent) -> None:
    code, said, errors = agent("status", passwort="s3cret")
    assert (code, said) == (0, "Status: ON\n")
    assert errors.endswith(" WARNING: Parse error: Ignoring unknown option 'passwort'\n\n")


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"username": None}, "You have to set login name"),
        ({"password": None}, "You have to enter password or password script"),
        ({"ip": None}, "You have to enter fence address"),
        ({"plug": None}, "You have to enter plug number or machine identification"),
        ({"power_timeout": "soon"}, "entered for --power_timeout is not a valid number"),
        ({"ipport": "http"}, "entered for --ipport is not a valid number"),
    ],
)
@pytest.mark.parametrize("action", ["validate-all", "off"])
def test_wrong_options(
    agent: Agent, cloud: Cloud, action: str, more: dict[str, str | None], cause: str
) -> None:
    code, said, errors = agent(action, **more)
    assert (code, said) == (1, "")
    assert f"ERROR: Failed: {cause}" in errors or f"have {cause}" in errors
    assert errors.endswith(" ERROR: Please use '-h' for usage\n\n")
    assert cloud.state.host("compute1").powered


def test_validate_all_asks_nobody(agent: Agent) -> None:
    assert agent("validate-all", ip="192.0.2.1") == (0, "", "")


def test_an_unknown_action(agent: Agent) -> None:
    code, said, errors = agent("explode")
    assert (code, said) == (1, "")
    assert "ERROR: Failed: Unrecognised action 'explode'" in errors


@pytest.mark.parametrize("how", ["stdin", "arguments"])
def test_metadata(how: str) -> None:
    asked = run("action=metadata\n") if how == "stdin" else run("", "-o", "metadata")
    code, said, errors = asked
    assert (code, errors) == (0, "")
    tree = ET.fromstring(said)
    assert (tree.tag, tree.get("name")) == ("resource-agent", "fence_hacore_sandbox")
    found = {parameter.get("name"): parameter for parameter in tree.iter("parameter")}
    assert found.keys() >= set(fence_agent.PARAMETERS)
    assert found["ipaddr"].get("deprecated") == "1"
    assert found["ip"].get("obsoletes") == "ipaddr"
    action = found["action"].find("content")
    assert action is not None
    assert action.get("default") == "reboot"
    assert [action.get("name") for action in tree.iter("action")] == list(fence_agent.ACTIONS)


def test_help() -> None:
    code, said, errors = run("", "--help")
    assert (code, errors) == (0, "")
    assert said.startswith("usage: fence_hacore_sandbox")
