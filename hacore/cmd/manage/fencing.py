# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage host test-fencing and accept-identity: the fencing devices of one host, now.

This process asks the devices itself, so it runs where the file of devices is, as the user that
may read it.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from hacore.clock import Clock, SystemClock
from hacore.cmd import launch
from hacore.cmd.manage import arguments as cli
from hacore.cmd.manage import output
from hacore.db import devices, hosts
from hacore.db.devices import Change, Probe
from hacore.db.engine import Database
from hacore.engine.fencing import Fencing
from hacore.engine.known_devices import KnownDevices
from hacore.engine.probes import probe
from hacore.errors import Conflict
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.nova import Nova
from hacore.nova.retry import Unguarded
from hacore.states import USABLE, PowerVerdict

if TYPE_CHECKING:
    from hacore.cmd.manage.arguments import Topics

#: Seconds for which Keystone or Nova may be unavailable.
_NOVA_PATIENCE_S = 5


def register(verbs: "Topics") -> None:
    """Add ``test-fencing`` and ``accept-identity`` to the verbs of hosts."""
    tested = cli.add_verb(
        verbs,
        "test-fencing",
        _test,
        "read each fencing device of a host now, and show what it says and which box it shows; 1: "
        "one of them cannot be used",
    )
    tested.add_argument(
        "--off",
        action="store_true",
        help="a drill: switch the host off and prove it, as a recovery does; only for a host on "
        "maintenance that is disabled and has no instances. It stays off",
    )
    output.add_format(tested)
    accepted = cli.add_verb(
        verbs,
        "accept-identity",
        _accept,
        "confirm that the boxes which the fencing devices of a host show now are that host's",
    )
    cli.add_operator(accepted)
    for verb in (tested, accepted):
        verb.add_argument("name", metavar="NAME", help="of the host")


def _test(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> int:
    clock = SystemClock()
    with launch.usable_database(conf) as db:
        host = hosts.named(db, arguments.name).name
        fencing = _fencing(conf, clock, host)
        if arguments.off:
            if host in conf.own_hosts:
                raise Conflict(f"Host {host} is not switched off: this command runs on it.")
            nova = Nova(conf, clock=clock, retry_timeout_s=_NOVA_PATIENCE_S)
            return drill(db, clock, fencing, nova, host)
        return show(db, clock, fencing, host, arguments.format)


def _accept(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    clock = SystemClock()
    with launch.usable_database(conf) as db:
        host = hosts.named(db, arguments.name).name
        accept(db, clock, _fencing(conf, clock, host), host, arguments.by)


def _fencing(conf: cfg.ConfigOpts, clock: Clock, host: str) -> Fencing:
    fencing = Fencing(conf, clock)
    fencing.check([host])
    if not fencing.levels(host):
        file = conf.fencing.devices_file or "the file that [fencing] devices_file names"
        raise Conflict(f"Host {host} has no fencing device; name one in {file}.")
    return fencing


def show(db: Database, clock: Clock, fencing: Fencing, host: str, form: str) -> int:
    """Probe each device of a host, write what it shows, and return the exit status."""
    guard = Unguarded(clock)
    found = [probe(db, fencing, guard, device, None) for device in fencing.devices(host)]
    parts = {
        "devices": [_row(each) for each in found],
        "history": [_line(each) for each in devices.history(db, host)],
    }
    output.show_all(form, parts)
    return int(not all(each.is_usable for each in found))


def _row(made: Probe) -> dict[str, Any]:
    return {
        "device": made.device,
        "level": made.level,
        "verdict": str(made.verdict),
        "can_off": str(made.can_off),
        "identity": made.identity,
        "verified": made.verified,
        "sentence": made.sentence,
    }


def _line(change: Change) -> dict[str, Any]:
    return {
        "at": change.at,
        "device": change.device,
        "by": change.by,
        "identity_before": change.identity_before,
        "identity": change.identity,
        "message": change.message,
    }


def accept(db: Database, clock: Clock, fencing: Fencing, host: str, by: str) -> None:
    """Take what the devices of a host show now for their identities, from a person.

    Raises Conflict, and accepts nothing, where one does not answer or is that of another host.
    """
    guard = Unguarded(clock)
    prover, known = fencing.prover(db, guard), KnownDevices.read(db)
    shown = []
    for device in fencing.devices(host):
        answer, identity = prover.status(device)
        if answer.verdict not in USABLE:
            raise Conflict(f"{answer.sentence}. Nothing was accepted.")
        if others := known.shares(host, identity.value):
            raise Conflict(
                f"{device} shows {identity.value}, as does the device of {', '.join(others)}; "
                "nothing was accepted: correct the address of one of them."
            )
        shown.append((device, identity))
    for device, identity in shown:
        if identity.verified:
            text = f"shows {identity.value}, which the file of devices names"
        else:
            before = devices.accept(db, host, device.name, identity.value, by)
            text = (
                f"was known by {before or 'nothing'}, and is now by {identity.value or 'nothing'}"
            )
        sys.stdout.write(f"{device} {text}.\n")
        probe(db, fencing, guard, device, None)


# ------------------------------------------------------------------------- drill


class _Drill:
    """The orders of a drill: none is written down, for nothing lies on the host.

    Whether it may be switched off is asked right before each.
    """

    def __init__(self, db: Database, nova: Nova, host: str) -> None:
        self._db, self._nova, self._host = db, nova, host

    def may_order(self, _device: Device) -> None:
        refuse(self._db, self._nova, self._host)

    def about_to_order(self, device: Device) -> None:
        sys.stdout.write(f"{device}: switching it off ...\n")
        sys.stdout.flush()

    def answered(self, _device: Device, answer: Answer) -> None:
        if answer.verdict is not PowerVerdict.OFF:
            sys.stdout.write(f"{answer.sentence}; the order may yet be carried out.\n")


def refuse(db: Database, nova: Nova, name: str) -> None:
    """Raise Conflict unless a host may be switched off for a drill."""
    why = f"Host {name} is not switched off"
    if not hosts.named(db, name).on_maintenance:
        raise Conflict(f"{why}: it is not on maintenance; set on_maintenance first.")
    service = nova.service(name)
    if service is None:
        raise Conflict(f"{why}: Nova knows no compute service of that name.")
    if service.enabled:
        raise Conflict(
            f"{why}: its compute service is enabled, so an instance may come; run 'openstack "
            f"compute service set --disable {name} nova-compute' first."
        )
    count = len(nova.instances_on(name))
    if count:
        raise Conflict(f"{why}: {count} instances lie on it; move them first.")


def drill(db: Database, clock: Clock, fencing: Fencing, nova: Nova, host: str) -> int:
    """Switch a host off as a recovery does, say what proves it, and return the exit status."""
    refuse(db, nova, host)
    known = KnownDevices.read(db)
    outcome = fencing.prover(db, Unguarded(clock)).prove(
        known.judged(fencing.levels(host)), _Drill(db, nova, host), known.identities, {}
    )
    for sentence in outcome.sentences:
        sys.stdout.write(f"{sentence}\n")
    if not outcome.proof:
        sys.stdout.write(f"Nothing proves that {host} is off.\n")
        return 1
    names = ", ".join(each.device.place for each in outcome.proof)
    sys.stdout.write(f"{host} is proved off by {names}. Switch it on by hand.\n")
    return 0
