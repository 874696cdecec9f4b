# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What doctor says of heartbeats, devices and what is held: as the engines have written it."""

import collections
from collections.abc import Iterator, Mapping, Sequence

from oslo_config import cfg

from hacore.cmd.manage import safety
from hacore.cmd.manage.findings import Finding, ok, unchecked, wrong
from hacore.db import devices, holds, pauses, power, services, watch
from hacore.db.engine import Database
from hacore.db.holds import Held
from hacore.db.hosts import Registered
from hacore.db.watch import Known, Report
from hacore.states import CanOff, Hearing, NotificationType, Rule

_HEARTBEATS = "nova: heartbeats"
_PROBES = "fencing devices: probes"
#: Intervals after which a probe is overdue: each device has its moment within one.
_OVERDUE = 2.2
#: Report intervals after which a host is silent; see hacore.nova.heartbeats.
_SILENT = 3.2
_DAY_S = 86400.0
#: How many names a sentence repeats.
_NAMED = 10


def findings(
    conf: cfg.ConfigOpts, db: Database, registered: Sequence[Registered]
) -> Iterator[Finding]:
    """Yield what the engines have written of Nova's heartbeats, and of what is held."""
    if sentence := services.unenforced(db):
        yield wrong("engines: versions", sentence)
    held = holds.all_of(db)
    hosts = {each.host: each.rule for each in held if each.type == NotificationType.COMPUTE_HOST}
    yield from _heartbeats(conf, db, registered, hosts)
    yield from _probes(conf, db)
    yield from _pauses(db)
    yield from _held(held)
    for host in power.switched_on(db):
        yield wrong("power", host.on or "")


def _heartbeats(
    conf: cfg.ConfigOpts,
    db: Database,
    registered: Sequence[Registered],
    held: Mapping[str, Rule],
) -> Iterator[Finding]:
    report = watch.report(db)
    if report.illness is not None:
        yield wrong(
            _HEARTBEATS,
            f"Nova is ill: {report.illness}. No host counts as silent until it is well; recoveries "
            "of hosts are held (rule nova).",
        )
        return
    if not report.current:
        yield _nobody(db, report)
        return
    yield _interval(conf, report)
    yield from _hosts(report, registered, held)


def _nobody(db: Database, report: Report) -> Finding:
    ago = "" if report.age_s is None else f"; the last look was {_age(report.age_s)} ago"
    text = f"No engine watches Nova{ago}"
    engines = [each for each in services.list_(db) if each.binary == services.ENGINE and each.alive]
    if not engines:
        return unchecked(_HEARTBEATS, f"{text}; start hacore-engine.")
    named = ", ".join(sorted({each.host for each in engines}))
    return wrong(
        _HEARTBEATS,
        f"{text}, though hacore-engine runs on {named}; its journal says why. Recoveries of hosts "
        "wait until it does.",
    )


def _interval(conf: cfg.ConfigOpts, report: Report) -> Finding:
    interval_s = report.interval_s
    if interval_s is None:
        return unchecked(
            _HEARTBEATS, "Nova's report interval is not known yet; run doctor again in a minute."
        )
    how = "learned" if conf.nova.report_interval is None else "[nova] report_interval"
    text = f"Nova's report interval is {interval_s:.3g} s ({how})"
    silent_s = _SILENT * interval_s
    limit_s = conf.wait_period_after_service_update
    if silent_s >= limit_s:
        return wrong(
            _HEARTBEATS,
            f"{text}: a host is silent after {silent_s:.0f} s, and a recovery waits {limit_s} s "
            "for that; raise [DEFAULT] wait_period_after_service_update to "
            f"{2 * silent_s:.0f} or more.",
        )
    counts = collections.Counter(known.state for known in report.hosts.values())
    listed = ", ".join(f"{counts[state]} {state}" for state in Hearing if counts[state])
    return ok(_HEARTBEATS, f"{text}. Hosts of Nova: {listed or 'none'}.")


def _hosts(
    report: Report, registered: Sequence[Registered], held: Mapping[str, Rule]
) -> Iterator[Finding]:
    """Yield one row for all registered hosts that are heard, and one for each other."""
    known = [(host, report.hosts[host.name]) for host in registered if host.name in report.hosts]
    heard = [each for _, each in known if each.state == Hearing.HEARD]
    if heard:
        named = ", ".join(f"{each.host} (for {_age(each.age_s)})" for each in heard)
        yield ok("heartbeats: heard", f"{named}.")
    for host, each in known:
        if each.state != Hearing.HEARD:
            yield _unheard(host, each, held.get(host.name))


def _unheard(host: Registered, known: Known, held: Rule | None) -> Finding:
    check = f"heartbeats: {known.state}"
    text = f"{host.name}, for {_age(known.age_s)}"
    if host.on_maintenance:
        return ok(check, f"{text}; it is on maintenance.")
    if held is not None:
        return wrong(check, f"{text}. Its recovery is held (rule {held}).")
    if known.state == Hearing.SILENT:
        return wrong(
            check,
            f"{text}. Nova does not hear it: check nova-compute and the host; instances are "
            "evacuated only when a host monitor reports its failure.",
        )
    return unchecked(check, f"{text}; run doctor again in a minute.")


def _probes(conf: cfg.ConfigOpts, db: Database) -> Iterator[Finding]:
    """Yield one row for each fencing device that does not work, and one for all that do."""
    seen = devices.all_of(db)
    if not seen:
        return
    interval_s = conf.fencing.probe_interval
    if not interval_s:
        text = "[fencing] probe_interval is 0, so no fencing device is probed; set it to 3600."
        yield unchecked(_PROBES, text)
    probed = [each for each in seen if each.verdict is not None]
    bad = [each for each in probed if not each.is_usable]
    for each in bad[:_NAMED]:
        ago = f"probed {_age(each.age_s or 0.0)} ago"
        if each.can_off == CanOff.NO:
            ago = f"it cannot switch the host off; {ago}"
        yield wrong(_PROBES, f"{each.sentence}; {ago}.")
    if (more := len(bad) - _NAMED) > 0:
        yield wrong(_PROBES, f"{more} more devices do not work; the engine's log names them.")
    if len(probed) < len(seen):
        yield unchecked(_PROBES, f"{len(seen) - len(probed)} devices were not probed yet.")
    good_s = [each.age_s or 0.0 for each in probed if each.is_usable]
    if not good_s:
        return
    text = f"{len(good_s)} devices work; the oldest probe was {_age(max(good_s))} ago"
    if interval_s and max(good_s) > _OVERDUE * interval_s:
        yield wrong(
            _PROBES,
            f"{text}, and [fencing] probe_interval is {interval_s} s; check the "
            "journal of hacore-engine.",
        )
    else:
        yield ok(_PROBES, f"{text}.")


def _pauses(db: Database) -> Iterator[Finding]:
    with db.read() as session:
        now = db.now(session)
    for pause in pauses.all_of(db):
        text = safety.described(db, pause)
        if pause.until is None and (now - pause.since).total_seconds() >= _DAY_S:
            yield wrong("pause", f"{text} End it: 'hacore-manage resume'.")
        else:
            yield ok("pause", text)


def _held(held: Sequence[Held]) -> Iterator[Finding]:
    """Yield one row for each rule."""
    by_rule: dict[Rule, list[Held]] = collections.defaultdict(list)
    for each in held:
        by_rule[each.rule].append(each)
    for rule, some in by_rule.items():
        first = some[0]
        if len(some) == 1:
            what = f"Notification {first.uuid} ({first.type} of host {first.host})"
            how = f"'hacore-manage explain {first.uuid}' shows why."
        else:
            hosts = list(dict.fromkeys(each.host for each in some))
            more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
            what = f"{len(some)} notifications ({', '.join(hosts[:_NAMED])}{more})"
            how = (
                "'hacore-manage recovery list --held' lists them, 'hacore-manage explain UUID' "
                "shows why."
            )
        yield wrong(f"held: {rule}", f"{what}, for {_age(first.for_s)}: {how}")


def _age(seconds: float) -> str:
    """Return a duration as a person says it."""
    for unit, size in (("d", _DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
