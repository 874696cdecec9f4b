# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-sandbox: a simulated OpenStack cloud to try hacore on.

`serve` runs it until SIGTERM or SIGINT; `demo` shows how hacore recovers from a
failure in it.
"""

import argparse
import dataclasses
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hacore_sandbox.settings import Settings

NOVA_SECTION = """\
[nova]
auth_type = password
auth_url = {url}/identity/v3
username = hacore
password = hacore
project_name = service
user_domain_id = default
project_domain_id = default
region_name = RegionOne
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    options = _parser().parse_args(argv)
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hacore-sandbox", description="A simulated OpenStack cloud to try hacore on."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_demo(commands)
    return parser


# -- serve


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="serve Keystone and Nova on 127.0.0.1 until stopped",
        description="Serve a simulated Keystone v3 and Nova on 127.0.0.1 until stopped. "
        "Durations come from the preset; the options below change them.",
    )
    serve.set_defaults(run=_serve)
    option = serve.add_argument
    option(
        "--port",
        type=int,
        default=5080,
        help="TCP port; 0 selects a free one (default %(default)s)",
    )
    option(
        "--preset",
        default="real",
        help="durations and sizes: real, demo or instant (default %(default)s)",
    )
    option(
        "--hosts", type=int, help="number of compute hosts, named compute1 and so on (default 4)"
    )
    option("--host-name", metavar="FORMAT", help="format of the host names (default compute{})")
    option(
        "--hypervisor-suffix",
        metavar="TEXT",
        help="added to the host name in the name of the hypervisor",
    )
    option("--host-capacity", type=int, metavar="N", help="maximum number of servers on a host")
    option(
        "--instances",
        type=int,
        default=0,
        metavar="M",
        help="number of servers, spread over all hosts",
    )
    option(
        "--ha-instances",
        type=int,
        default=0,
        metavar="M",
        help="number of servers with the metadata HA_Enabled=True",
    )
    option("--seed", type=int, default=0, help="the same seed gives the same uuids")
    option("--api-workers", type=int, metavar="N", help="requests that nova-api handles at once")
    option("--control-workers", type=int, metavar="N", help="number of conductors and schedulers")
    option("--service-down", type=float, metavar="S", help="nova's service_down_time")
    option("--max-microversion", metavar="X.Y", help="highest microversion of Nova (default 2.100)")
    option("--token-lifetime", type=float, metavar="S", help="lifetime of a Keystone token")
    option(
        "--instance-ha-url",
        default="http://127.0.0.1:15868/v1",
        metavar="URL",
        help="instance-ha endpoint in the catalogue; empty for none (default %(default)s)",
    )
    option(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting; hacore_sandbox/settings.py lists them",
    )


def _serve(options: argparse.Namespace) -> int:
    from hacore.clock import SystemClock
    from hacore_sandbox.cloud import Cloud
    from hacore_sandbox.identity import id_of
    from hacore_sandbox.rest import Rest
    from hacore_sandbox.server import SandboxServer

    try:
        settings = _settings(options)
    except ValueError as exc:
        sys.stderr.write(f"hacore-sandbox: {exc}\n")
        return 2
    clock = SystemClock()
    cloud = Cloud(clock, settings, options.seed)
    project, user = id_of("project", "demo"), id_of("user", "demo")
    ha = min(options.ha_instances, options.instances)
    cloud.fill(ha, project, user, name="ha", metadata={"HA_Enabled": "True"})
    cloud.fill(options.instances - ha, project, user)
    rest = Rest(cloud, instance_ha_url=options.instance_ha_url or None)
    try:
        server = SandboxServer(rest, options.port, clock)
    except OSError as exc:
        sys.stderr.write(
            f"hacore-sandbox: failed to listen on port {options.port}: {exc.strerror}\n"
        )
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for serve_forever to end, so it cannot run in this thread
        signal.signal(
            number, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start()
        )
    sys.stdout.write(f"listening on {server.url}\n\n{NOVA_SECTION.format(url=server.url)}")
    sys.stdout.flush()
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


def _settings(options: argparse.Namespace) -> "Settings":
    """The preset with the changes of the options; ValueError if one is invalid."""
    from hacore_sandbox.settings import PRESETS

    if options.preset not in PRESETS:
        raise ValueError(f"unknown preset {options.preset!r}; known: {', '.join(PRESETS)}")
    settings = PRESETS[options.preset]
    changes: dict[str, object] = {
        "hosts": options.hosts,
        "host_name": options.host_name,
        "hypervisor_suffix": options.hypervisor_suffix,
        "host_capacity": options.host_capacity,
        "compute_api_workers": options.api_workers,
        "control_workers": options.control_workers,
        "service_down_s": options.service_down,
        "token_lifetime_s": options.token_lifetime,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if options.max_microversion:
        changes["max_microversion"] = _microversion(options.max_microversion)
    known = {field.name: field.type for field in dataclasses.fields(settings)}
    for pair in options.set:
        name, _, text = pair.partition("=")
        if name not in known or known[name] not in (int, float, bool, str):
            raise ValueError(f"unknown setting {name!r}")
        changes[name] = _value(name, text, known[name])
    return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


def _value(name: str, text: str, kind: object) -> object:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text) if callable(kind) else text
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None


def _microversion(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not major.isdigit() or not minor.isdigit():
        raise ValueError(f"a microversion must look like 2.90, not {text!r}")
    return int(major), int(minor)


# -- demo


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo",
        help="show how hacore recovers from a failure",
        description="Start a simulated cloud and hacore-standalone, let something fail, and show "
        "how hacore recovers from it.  Takes less than half a minute (mass-failure: less than 40 "
        "seconds, fencing: less than a minute), needs no configuration and removes its files.  The "
        "exit status is 0 if every instance ends up where it should be.",
    )
    demo.set_defaults(run=_demo)
    demo.add_argument(
        "--scenario",
        choices=("host", "instance", "process", "mass-failure", "fencing"),
        default="host",
        help="what fails: a host, one instance, nova-compute, the switch of 6 of 10 hosts, or two "
        "hosts that have to be switched off (default %(default)s)",
    )
    demo.add_argument(
        "--instances",
        type=_count,
        default=20,
        metavar="N",
        help="number of instances on what fails, 1 to 1000 (default %(default)s)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 1000, not {text!r}")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    from hacore_sandbox.demo import runner

    return runner.run(options.scenario, options.instances)


if __name__ == "__main__":
    sys.exit(main())
