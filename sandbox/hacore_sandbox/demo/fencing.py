# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Two hosts fail, and each must be proved off before its instances are started elsewhere.

The device of the first one switches it off.  That of the second one has died with its host: hacore
holds the recovery, until an operator confirms that the host is off.
"""

import dataclasses
from collections.abc import Mapping

from hacore_sandbox.demo import checks
from hacore_sandbox.demo.clients import Hacore, Sandbox
from hacore_sandbox.demo.records import Bmc, CloudState, Outcome, Recovery
from hacore_sandbox.demo.scenarios import HOST_STOPPED, Result, Table, counted
from hacore_sandbox.demo.stage import Stage

_HOSTS = 4
_HANGS, _DARK = "compute1", "compute2"  #: with power, and without
_REASON = "its rack has no power; I am standing in front of it"
#: Twice what Nova's times can show, so that a busy machine takes no living host for a silent one.
_REPORT_INTERVAL_S = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Cloud:
    """What takes part."""

    stage: Stage
    sandbox: Sandbox
    hacore: Hacore
    segment: str

    def outcome(self, before: CloudState, recovery: Recovery) -> Outcome:
        after = self.sandbox.state()
        return Outcome(before, after, recovery, self.hacore.on_maintenance(self.segment))

    def report(self, host: str) -> str:
        """Wait until the host is silent, as a monitor does, and report it."""
        unheard = {_HANGS, host}  # the first one stays off
        what = f"hacore to see that Nova does not hear {host}"
        self.stage.wait_until_heard(what, self.hacore, unheard)
        uuid = self.hacore.notify("COMPUTE_HOST", host, HOST_STOPPED, self.stage.clock.now())
        self.stage.shown.fact(
            f"Nova does not hear {host} any more: COMPUTE_HOST notification {uuid}"
        )
        return uuid


def play(stage: Stage, instances: int) -> Result:
    """Play it; return what became of it."""
    shown = stage.shown
    shown.title(f"two hosts with {counted(instances)} fail, one of them with its fencing device")
    sandbox, before = stage.start_cloud(_HOSTS, lambda made: _fill(made, instances))
    hacore, segment = stage.start_hacore(sandbox, before, _REPORT_INTERVAL_S, fences=True)
    cloud = _Cloud(stage, sandbox, hacore, segment)
    stage.wait_until_heard("Nova to hear all hosts", hacore, unheard=())
    shown.fact(f"hacore has seen heartbeats of all {_HOSTS} hosts; fencing.ini has their BMCs")

    recoveries = {_HANGS: _switched_off(cloud, before)}
    wrong = [
        *checks.evacuated(cloud.outcome(before, recoveries[_HANGS]), _HANGS),
        *checks.ordered_off(sandbox.bmcs(), _HANGS),
    ]
    if not wrong:
        moved = sandbox.state()
        recoveries[_DARK], wrong = _confirmed(cloud, moved)
        if recoveries[_DARK].status == "finished":
            end = cloud.outcome(moved, recoveries[_DARK])
            wrong = [
                *checks.evacuated(end, _DARK, reported=(_HANGS,)),
                *checks.ordered_off(sandbox.bmcs(), _HANGS),
            ]
    return Result(
        wrong=wrong,
        summary=f"{_HANGS} was switched off by its own device, and read back as off, before its "
        f"instances were started elsewhere. Those of {_DARK}, whose device is dead, waited for an "
        f"operator who knows that it is off. Both stay off until 'hacore-manage host return'.",
        table=_table(before, sandbox.state(), recoveries, sandbox.bmcs()),
    )


def _fill(sandbox: Sandbox, instances: int) -> None:
    sandbox.add_instances((_HANGS, _DARK), instances)


def _switched_off(cloud: _Cloud, before: CloudState) -> Recovery:
    """Let a host fail that has power; return how its recovery ends."""
    shown = cloud.stage.shown
    cloud.sandbox.kill_host(_HANGS, guests_survive=True)
    shown.failure(f"{_HANGS} is cut off; it has power, and its instances run on")
    uuid = cloud.report(_HANGS)
    recovery = cloud.stage.follow(cloud.hacore, uuid, _on(before, _HANGS))
    shown.fact(f"The proof: {cloud.hacore.proof(cloud.segment, _HANGS)}")
    return recovery


def _confirmed(cloud: _Cloud, before: CloudState) -> tuple[Recovery, list[str]]:
    """Let a host fail with its BMC; return how its recovery ends, and what is wrong until then."""
    stage, hacore, shown = cloud.stage, cloud.hacore, cloud.stage.shown
    cloud.sandbox.set_bmc(_DARK, "dead")
    cloud.sandbox.power_off(_DARK)
    shown.failure(f"The rack of {_DARK} has lost its power, and its BMC does not answer either")
    uuid = cloud.report(_DARK)
    recovery = stage.follow(hacore, uuid, _on(before, _DARK))
    wrong = checks.held(
        cloud.outcome(before, recovery),
        {_DARK: recovery},
        _DARK,
        rule="proof",
        reported=(_HANGS, _DARK),
    )
    if wrong:
        return recovery, wrong
    shown.fact(f"Nothing of {_DARK} has been evacuated. The operator looks: the rack is dark")
    stage.manage("host", "confirm-off", _DARK, "--reason", _REASON, "--again", _DARK)
    shown.begin("Waiting for an engine to go on")
    stage.wait("an engine to go on", lambda: hacore.recovery(uuid).held is None or None)
    recovery = stage.follow(hacore, uuid, _on(before, _DARK))
    return recovery, [f"The recovery of {_DARK} is {recovery.status}, not finished."]


def _table(
    before: CloudState,
    now: CloudState,
    recoveries: Mapping[str, Recovery],
    bmcs: Mapping[str, Bmc],
) -> Table:
    rows = [
        (
            host,
            bmcs[host].power,
            ", ".join(bmcs[host].orders) or "-",
            recoveries[host].status if host in recoveries else "-",
            str(_on(before, host)),
            str(_on(now, host)),
        )
        for host in sorted(bmcs)
    ]
    headers = ("Host", "Power", "Orders to its BMC", "Recovery", "Instances before", "After")
    return Table(headers, tuple(rows))


def _on(state: CloudState, host: str) -> int:
    return sum(one.host == host for one in state.instances.values())
