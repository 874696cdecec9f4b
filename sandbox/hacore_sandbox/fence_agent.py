# Licensed under the Apache License, Version 2.0; see LICENSE.
"""fence_hacore_sandbox: a fence agent for the BMCs of hacore-sandbox.

It keeps to the conventions of ClusterLabs' agents: options as key=value lines on standard
input, reboot as the action where none is given, an unknown option is a warning, every failure
ends with 1 and its cause is on standard error.  Standard library only: it starts at once.
"""

import argparse
import base64
import dataclasses
import http.client
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from xml.sax import saxutils

NAME = "fence_hacore_sandbox"
LOG = logging.getLogger(NAME)
ACTIONS = ("on", "off", "reboot", "status", "monitor", "metadata", "validate-all")
OK, FAILED, IS_OFF = 0, 1, 2
_TRUE = ("1", "yes", "on", "true")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """An option; `alias` is its deprecated name."""

    name: str
    kind: str
    text: str
    default: str = ""
    required: bool = False
    alias: str = ""


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("action", "string", "Fencing action", "reboot", required=True, alias="option"),
        Parameter(
            "ip", "string", "IP address or hostname of fencing device", required=True,
            alias="ipaddr",
        ),
        Parameter("ipport", "integer", "TCP/UDP port to use for connection with device", "5080"),
        Parameter("username", "string", "Login name", required=True, alias="login"),
        Parameter("password", "string", "Login password or passphrase", alias="passwd"),
        Parameter(
            "password_script", "string", "Script to run to retrieve password",
            alias="passwd_script",
        ),
        Parameter("plug", "string", "Name of the simulated host", required=True, alias="port"),
        Parameter("verbose", "boolean", "Verbose mode", "0"),
        Parameter("verbose_level", "integer", "Level of debugging detail in output", ""),
        Parameter("delay", "second", "Wait X seconds before fencing is started", "0"),
        Parameter("login_timeout", "second", "Wait X seconds for an answer to the login", "5"),
        Parameter("power_timeout", "second", "Test X seconds for status change after ON/OFF", "20"),
        Parameter("power_wait", "second", "Wait X seconds after issuing ON/OFF", "0"),
        Parameter("shell_timeout", "second", "Wait X seconds for an answer to a command", "3"),
        Parameter(
            "stonith_status_sleep", "second",
            "Sleep X seconds between status calls during a STONITH action", "1",
        ),
    )
}  # fmt: skip
_ALIASES = {parameter.alias: name for name, parameter in PARAMETERS.items() if parameter.alias}


class Failed(Exception):
    """The agent ends with 1; the text is the cause."""


class Usage(Failed):
    """The options are wrong."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one action; return the exit status."""
    logging.basicConfig(format="%(asctime)-15s %(levelname)s: %(message)s\n", force=True)
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="A fence agent for the simulated BMCs of hacore-sandbox. Without arguments it "
        "reads its options from standard input, as key=value lines.",
    )
    parser.add_argument("-o", "--action", choices=["metadata"], help="print the metadata")
    given = parser.parse_args(argv)
    options = {"action": given.action} if given.action else _read(sys.stdin)
    try:
        return _run(_with_defaults(options))
    except Failed as exc:
        LOG.error("%s", exc)
        if isinstance(exc, Usage):
            LOG.error("Please use '-h' for usage")
        return FAILED


# -- options


def _read(lines: Iterable[str]) -> dict[str, str]:
    options = {}
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, value = text.partition("=")
        value = re.sub('^"(.*)"$', r"\1", value)
        name = name.replace("-", "_")
        name = _ALIASES.get(name, name)
        if name in PARAMETERS:
            options[name] = value
        elif name != "nodename":  # Pacemaker's own
            LOG.warning("Parse error: Ignoring unknown option '%s'", name)
    return options


def _with_defaults(given: dict[str, str]) -> dict[str, str]:
    options = {name: known.default for name, known in PARAMETERS.items()} | given
    options["action"] = options["action"].lower()
    if options["action"] == "meta-data":
        options["action"] = "metadata"
    if options["action"] not in ACTIONS:
        raise Usage(f"Failed: Unrecognised action '{options['action']}'")
    if options["action"] != "metadata":
        _validate(options)
    level = options["verbose_level"] or str(int(options["verbose"].lower() in _TRUE))
    LOG.setLevel(logging.DEBUG if int(level) else logging.WARNING)
    return options


def _validate(options: dict[str, str]) -> None:
    if not options["username"]:
        raise Usage("Failed: You have to set login name")
    if not options["ip"]:
        raise Usage("Failed: You have to enter fence address")
    if not options["password"] and not options["password_script"]:
        raise Usage("Failed: You have to enter password or password script")
    if not options["plug"] and options["action"] != "monitor":
        raise Usage("Failed: You have to enter plug number or machine identification")
    for name, known in PARAMETERS.items():
        if known.kind in ("second", "integer") and options[name] and not options[name].isdecimal():
            raise Usage(f"Failed: The value you have entered for --{name} is not a valid number")


# -- the device


class Device:
    """The BMC, with a connection for each call."""

    def __init__(self, options: dict[str, str]) -> None:
        self._options = options
        password = options["password"]
        if options["password_script"]:
            script = options["password_script"]
            done = subprocess.run(script, shell=True, capture_output=True, text=True, check=False)
            password = done.stdout.rstrip()
        login = f"{options['username']}:{password}".encode()
        self._authorization = f"Basic {base64.b64encode(login).decode()}"

    def power(self) -> str:
        """on or off; raises Failed."""
        status, answer = self._ask("GET", None, "login_timeout")
        power = answer.get("power") if status == http.client.OK else None
        if power not in ("on", "off"):
            raise Failed("Failed: Unable to obtain correct plug status or plug is not available")
        return str(power)

    def switch(self, power: str) -> None:
        """Send an order; that it was accepted says nothing."""
        status, _ = self._ask("POST", {"power": power}, "shell_timeout")
        if status == http.client.FORBIDDEN:
            raise Failed(
                "Failed: The user does not have the correct privileges to do the requested action."
            )

    def _ask(
        self, method: str, body: dict[str, str] | None, limit: str
    ) -> tuple[int, dict[str, object]]:
        host, port = self._options["ip"], int(self._options["ipport"])
        path = f"/bmc/{self._options['plug']}"
        connection = http.client.HTTPConnection(host, port, timeout=int(self._options[limit]))
        headers = {"Authorization": self._authorization}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        except TimeoutError as exc:
            raise Failed("Connection timed out") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise Failed(f"Failed: Unable to connect to {host}:{port}: {exc}") from exc
        finally:
            connection.close()
        # as urllib3 puts it, which is what the agents of real devices show
        said = host, port, method, path, response.status, len(text)
        LOG.debug('http://%s:%s "%s %s HTTP/1.1" %s %s', *said)
        if response.status == http.client.UNAUTHORIZED:
            raise Failed("Unable to connect/login to fencing device")
        try:
            answer = json.loads(text or b"{}")
        except ValueError as exc:
            raise Failed(f"Failed: {host}:{port} is no BMC of hacore-sandbox") from exc
        return response.status, answer


# -- the actions


def _run(options: dict[str, str]) -> int:
    action = options["action"]
    if action == "metadata":
        sys.stdout.write(metadata())
    if action in ("metadata", "validate-all"):
        return OK
    time.sleep(int(options["delay"]))
    device = Device(options)
    power = device.power()
    if action == "status":
        sys.stdout.write(f"Status: {power.upper()}\n")
        return IS_OFF if power == "off" else OK
    if action == power:
        sys.stdout.write(f"Success: Already {power.upper()}\n")
    elif action == "reboot":
        _reboot(device, power, options)
    elif action != "monitor":
        _switch(device, action, options)
        sys.stdout.write(f"Success: Powered {action.upper()}\n")
    return OK


def _reboot(device: Device, power: str, options: dict[str, str]) -> None:
    if power == "on":
        _switch(device, "off", options)
    try:
        _switch(device, "on", options)
    except Failed as exc:
        LOG.error("%s", exc)  # no failure: it was off, which is what fencing is for
    sys.stdout.write("Success: Rebooted\n")


def _switch(device: Device, power: str, options: dict[str, str]) -> None:
    """Send an order, and read until it is carried out."""
    device.switch(power)
    time.sleep(int(options["power_wait"]))
    until = time.monotonic() + int(options["power_timeout"])
    while device.power() != power:
        if time.monotonic() >= until:
            raise Failed(f"Failed: Timed out waiting to power {power.upper()}")
        time.sleep(int(options["stonith_status_sleep"]))


def metadata() -> str:
    """The metadata, in the form of the agents."""
    quote = saxutils.quoteattr
    lines = [
        '<?xml version="1.0" ?>',
        f'<resource-agent name="{NAME}" shortdesc="Fence agent for hacore-sandbox" >',
        "<longdesc>Switches the hosts of hacore-sandbox, through their simulated BMCs.</longdesc>",
        "<vendor-url>https://www.openstack.org</vendor-url>",
        "<parameters>",
    ]
    for name, known in PARAMETERS.items():
        default = f" default={quote(known.default)}" if known.default else ""
        attributes = f'unique="0" required="{int(known.required)}"'
        names = [(known.alias, 'deprecated="1"'), (name, f"obsoletes={quote(known.alias)}")]
        for shown, more in names if known.alias else [(name, "")]:
            lines += [
                f"\t<parameter name={quote(shown)} {attributes} {more}>".replace(" >", ">"),
                f"\t\t<getopt mixed={quote(f'--{name}')} />",
                f"\t\t<content type={quote(known.kind)}{default} />",
                f'\t\t<shortdesc lang="en">{saxutils.escape(known.text)}</shortdesc>',
                "\t</parameter>",
            ]
    lines += ["</parameters>", "<actions>", '\t<action name="on" automatic="0"/>']
    lines += [f'\t<action name="{action}" />' for action in ACTIONS if action != "on"]
    return "\n".join([*lines, "</actions>", "</resource-agent>", ""])


if __name__ == "__main__":
    sys.exit(main())
