# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage doctor: checks everything that hacore needs, and names the remedies.

Nothing is changed: it reads, makes calls that name what does not exist, and sends one
wake-up, which engines may get at any time.  Only the server of ``--instance`` is locked,
unlocked and restarted.
"""

import argparse
import collections
import datetime
import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from hacore import rpc
from hacore.clock import Clock, SystemClock
from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output, rights, watched
from hacore.cmd.manage.findings import Finding, Result, ok, unchecked, wrong
from hacore.conf.nova import has_login
from hacore.db import hosts, limits, schema
from hacore.db.hosts import Registered
from hacore.engine.fencing import Fencing
from hacore.engine.flows import Flows
from hacore.errors import (
    ConfigError,
    DatabaseUnavailable,
    HacoreError,
    NovaError,
    TransientNovaError,
    Unavailable,
)
from hacore.hostnames import alike
from hacore.nova import Nova, check_login, of_several

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

#: Seconds that two clocks may differ: logs can be read side by side, and tokens are valid.
_MOST_APART_S = 5.0
#: Seconds for which Keystone or Nova may be unavailable.
_NOVA_PATIENCE_S = 5
_COLUMNS = ("check", "result", "detail")
#: How many names a sentence repeats.
_NAMED = 5


def register(topics: "Topics") -> None:
    """Add ``doctor``."""
    text = "check everything that hacore needs, and name the remedy where a check fails"
    verb = cli.add_verb(topics, "doctor", _run, text)
    verb.add_argument(
        "--instance",
        type=cli.uuid,
        metavar="UUID",
        help="a server that may be restarted, to check the actions on servers that Nova allows",
    )
    output.add_format(verb)


def _run(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    with launch.quiet():
        findings = list(examine(conf, SystemClock(), arguments.instance))
    rows = [
        {"check": finding.check, "result": str(finding.result), "detail": finding.detail}
        for finding in findings
    ]
    output.show(arguments.format, rows, _COLUMNS)
    return int(any(finding.result == Result.WRONG for finding in findings))


def examine(
    conf: cfg.ConfigOpts, clock: Clock, instance_uuid: str | None = None
) -> Iterator[Finding]:
    """Run all checks; those that depend on a failed one are not made."""
    yield _flows(conf)
    yield _api(conf)
    registered: list[Registered] | None = None
    try:
        with launch.reaching_database(conf) as db:
            schema.check(db)
            yield ok("database", f"Schema {schema.version(db)}.")
            with db.read() as session:
                asked = clock.now()
                theirs = db.now(session)
            took = clock.now() - asked
            yield _clock_check("clock: database", "the database", theirs - asked, took)
            registered = hosts.registered(db)
            with db.bind.connect() as connection:
                lacking = limits.missing(connection)
            check = "database: time limits"
            yield wrong(check, lacking) if lacking else ok(check, limits.KEPT)
            yield from watched.findings(conf, db, registered)
            db.dispose()
    except (ConfigError, DatabaseUnavailable) as exc:
        yield wrong("database", str(exc))
    yield _fencing(conf, clock, registered)
    yield _bus(conf)
    yield from _nova(conf, clock, registered, instance_uuid)


def _flows(conf: cfg.ConfigOpts) -> Finding:
    try:
        Flows(conf)
    except ConfigError as exc:
        return wrong("recovery flows", str(exc))
    return ok("recovery flows", "All tasks are installed; 'hacore-manage flow show' lists them.")


def _api(conf: cfg.ConfigOpts) -> Finding:
    check = "api: policy and tokens"
    if conf.auth_strategy == "keystone" and not has_login(conf, "keystone_authtoken"):
        return unchecked(
            check,
            "[keystone_authtoken] has no auth_type; set it and the options of that login, unless "
            "this machine runs engines only.",
        )
    try:
        launch.check_application(conf)
        if conf.auth_strategy == "keystone":
            check_login(conf, "keystone_authtoken")
    except NovaError as exc:
        return wrong(check, f"{exc}; check the login in [keystone_authtoken].")
    except (ConfigError, cfg.Error) as exc:
        return wrong(check, str(exc))
    return ok(check, f"auth_strategy is {conf.auth_strategy}.")


def _fencing(conf: cfg.ConfigOpts, clock: Clock, registered: list[Registered] | None) -> Finding:
    check = "fencing devices"
    names = [host.name for host in registered or ()]
    if not conf.fencing.devices_file:
        return unchecked(
            check,
            "[fencing] devices_file is not set: a host that Nova does not hear is evacuated, "
            "whether it is off or not; see doc/fencing.md.",
        )
    try:
        fencing = Fencing(conf, clock)
        fencing.check(names)
    except ConfigError as exc:
        return wrong(check, str(exc))
    without = [name for name in names if not fencing.levels(name)]
    if without:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        return wrong(
            check,
            f"No device is configured for {', '.join(without[:_NAMED])}{more}: they are evacuated "
            "when Nova does not hear them, whether they are off or not; add them to "
            f"{conf.fencing.devices_file}.",
        )
    return ok(check, f"Each of the {len(names)} registered hosts has one.")


def _bus(conf: cfg.ConfigOpts) -> Finding:
    check = "message bus"
    try:
        launch.check_bus(conf)
        rpc.check(conf)
    except ConfigError as exc:
        return wrong(check, str(exc))
    except Unavailable as exc:
        return wrong(
            check,
            f"{launch.clause(exc)}; check [DEFAULT] transport_url (user, password, host, port, "
            "virtual host) and the broker. Until then recoveries start up to "
            f"{conf.claim_poll_interval:g} s later.",
        )
    return ok(check, "It accepted a wake-up.")


def _clock_check(
    check: str, whose: str, ahead: datetime.timedelta, took: datetime.timedelta
) -> Finding:
    """Compare a clock with ours; reading it took `took`, and it was `ahead` of our time before."""
    apart_s = ahead.total_seconds() - took.total_seconds() / 2
    if abs(apart_s) <= _MOST_APART_S:
        return ok(check, f"{abs(apart_s):.1f} s difference.")
    return wrong(
        check,
        f"The clock of {whose} is {abs(apart_s):.0f} s "
        f"{'ahead of' if apart_s > 0 else 'behind'} this machine's; synchronize both with the "
        "same time servers (chronyc tracking).",
    )


# --------------------------------------------------------------------- nova


def _nova(
    conf: cfg.ConfigOpts,
    clock: Clock,
    registered: Sequence[Registered] | None,
    instance_uuid: str | None,
) -> Iterator[Finding]:
    try:
        nova = Nova(conf, clock=clock, retry_timeout_s=_NOVA_PATIENCE_S)
        asked = clock.now()
        issued = nova.authenticate()
        took = clock.now() - asked
    except TransientNovaError as exc:
        reason = launch.connection_failure(exc)
        yield wrong(
            "keystone", f"Keystone is unavailable: {reason}; check [nova] auth_url and Keystone."
        )
        return
    except HacoreError as exc:
        yield wrong("keystone", _sentence(exc))
        return
    yield ok("keystone", "The user in [nova] gets a token.")
    if issued is not None:
        yield _clock_check("clock: Keystone", "Keystone", issued - asked, took)
    try:
        nova.log_in()
    except TransientNovaError as exc:
        yield wrong(
            "nova",
            f"Nova is unavailable: {launch.connection_failure(exc)}; check that nova-api runs.",
        )
        return
    except NovaError as exc:
        yield wrong("nova", _sentence(exc))
        return
    yield ok("nova", _microversion(nova))
    yield from _of_nova(conf, clock, nova, registered, instance_uuid)


def _sentence(exc: HacoreError) -> str:
    return f"{launch.clause(exc)}."


def _microversion(nova: Nova) -> str:
    text = f"Microversion {nova.microversion}"
    return f"{text}." if nova.lock_has_reason else f"{text}: locks have no reason before 2.73."


def _of_nova(
    conf: cfg.ConfigOpts,
    clock: Clock,
    nova: Nova,
    registered: Sequence[Registered] | None,
    instance_uuid: str | None,
) -> Iterator[Finding]:
    yield _nova_clock(clock, nova)
    yield from rights.of_lists(
        nova, with_aggregates=conf.host_failure.add_reserved_host_to_aggregate
    )
    if instance_uuid is None:
        yield from rights.of_actions(nova)
    else:
        yield from rights.of_actions_on(
            nova, clock, instance_uuid, conf.wait_period_after_power_off
        )
    if registered is None:
        yield unchecked("hosts", "Fix the database first.")
    else:
        yield from _hosts(nova, registered)


def _nova_clock(clock: Clock, nova: Nova) -> Finding:
    check = "clock: Nova"
    asked = clock.now()
    try:
        theirs = nova.now()
    except NovaError as exc:
        return wrong(check, _sentence(exc))
    if theirs is None:
        return unchecked(check, "The answers of Nova have no Date header.")
    # whole seconds: half a second late on average
    ahead = theirs - asked + datetime.timedelta(seconds=0.5)
    return _clock_check(check, "Nova's API", ahead, clock.now() - asked)


def _hosts(nova: Nova, registered: Sequence[Registered]) -> Iterator[Finding]:
    """Compare the names of registered hosts with those of Nova's compute services."""
    try:
        services = collections.Counter(nova.host_names())
    except NovaError as exc:
        yield unchecked("hosts", _sentence(exc))
        return
    known = set(services)
    twice = sorted(name for name, count in services.items() if count > 1)
    for name in twice:
        yield wrong("hosts", of_several(name, services[name]))
    unknown = [host for host in registered if host.name not in known]
    for host in unknown:
        close = alike(host.name, known) or difflib.get_close_matches(
            host.name, known, n=1, cutoff=0.5
        )
        where = f"openstack segment host update {host.segment_uuid} {host.name}"
        remedy = (
            f"if {close[0]} is meant, run '{where} --name {close[0]}'"
            if close
            else "register it under its name in 'openstack compute service list'"
        )
        yield wrong(
            "hosts",
            f"Host {host.name} of segment {host.segment_name} is not a compute service of Nova, "
            f"so nothing can be evacuated from it; {remedy}.",
        )
    if not unknown and not twice:
        unwatched = sorted(known - {host.name for host in registered})
        text = f"{len(registered)} registered, all known to Nova."
        if unwatched:
            text += f" In no segment: {', '.join(unwatched)}."
        yield ok("hosts", text)
