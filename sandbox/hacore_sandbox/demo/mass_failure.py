# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A switch dies: six of ten hosts are reported at once, and all but one of them live.

hacore holds all six recoveries.  An operator looks, and approves the one whose host is off.
"""

from collections.abc import Mapping

from hacore_sandbox.demo import checks
from hacore_sandbox.demo.clients import Hacore, Sandbox
from hacore_sandbox.demo.records import CloudState, DemoError, Outcome, Recovery
from hacore_sandbox.demo.scenarios import HOST_STOPPED, Result, Table, counted
from hacore_sandbox.demo.stage import Stage

_HOSTS = 10
#: Those behind the switch, as they are reported: the last one is the first in a list.
_CUT_OFF = tuple(f"compute{number}" for number in range(6, 0, -1))
_DEAD = "compute1"  #: it has lost its power with the switch
_ALIVE = tuple(host for host in _CUT_OFF if host != _DEAD)
_REASON = f"{_DEAD} is off, says its power supply"
#: Twice what Nova's times can show, so that a busy machine takes no living host for a silent one.
_REPORT_INTERVAL_S = 2.0


def play(stage: Stage, instances: int) -> Result:
    """Play it; return what became of it."""
    shown = stage.shown
    shown.title(f"a switch dies, and 6 of 10 hosts with {counted(instances)} are reported at once")
    # the first one is on the host that dies
    on = tuple(reversed(_CUT_OFF))
    sandbox, before = stage.start_cloud(_HOSTS, lambda made: _fill(made, on, instances))
    hacore, segment = stage.start_hacore(sandbox, before, _REPORT_INTERVAL_S)
    stage.wait_until_heard("Nova to hear all hosts", hacore, unheard=())
    shown.fact(f"hacore has seen heartbeats of all {_HOSTS} hosts")

    for host in _CUT_OFF:
        sandbox.kill_host(host, guests_survive=host != _DEAD)
    shown.failure(
        f"A power supply has failed: {_DEAD} is off, and so is the switch behind which "
        f"{_ALIVE[-1]} to {_ALIVE[0]} live on"
    )
    stage.wait_until_heard("hacore to see that Nova does not hear them", hacore, _CUT_OFF)
    shown.fact(f"Nova does not hear {_CUT_OFF[-1]} to {_CUT_OFF[0]} any more")
    uuids = {
        host: hacore.notify("COMPUTE_HOST", host, HOST_STOPPED, stage.clock.now())
        for host in _CUT_OFF
    }
    shown.fact(f"{len(uuids)} COMPUTE_HOST notifications, one for each of these hosts")
    recoveries = stage.wait("the recoveries to be held", lambda: _ended(hacore, uuids))
    now = sandbox.state()
    outcome = Outcome(before, now, recoveries[_DEAD], hacore.on_maintenance(segment))
    if wrong := checks.held(outcome, recoveries, _DEAD):
        return Result(wrong, "", _table(before, now, recoveries))
    shown.fact(f"All {len(uuids)} recoveries are held, and nothing has been evacuated")

    recovery = _decide(stage, hacore, uuids[_DEAD], _on(before, _DEAD))
    for host in _ALIVE:
        sandbox.revive_host(host)
    shown.fact("The switch has its power again")
    stage.wait_until_heard("Nova to hear the others again", hacore, unheard=(_DEAD,))
    shown.fact(f"Nova hears {_ALIVE[-1]} to {_ALIVE[0]} again")
    recoveries = {host: hacore.recovery(uuid) for host, uuid in uuids.items()}
    now = sandbox.state()
    others = {host: recoveries[host] for host in _ALIVE}
    outcome = Outcome(before, now, recovery, hacore.on_maintenance(segment))
    return Result(
        wrong=[*checks.evacuated(outcome, _DEAD, _ALIVE), *checks.moved_nothing(others)],
        summary="Nothing was evacuated before an operator had looked. Then the recovery of "
        f"{_DEAD} evacuated {counted(_on(before, _DEAD))}; all others run where they were. The "
        f"{len(others)} other recoveries go on by themselves now that Nova hears their hosts. "
        "They wait whether one falls silent after all, move nothing, and end as ignored within a "
        "quarter of an hour.",
        table=_table(before, now, recoveries),
    )


def _fill(sandbox: Sandbox, hosts: tuple[str, ...], instances: int) -> None:
    sandbox.add_instances(hosts, instances)


def _ended(hacore: Hacore, uuids: Mapping[str, str]) -> dict[str, Recovery] | None:
    """Return all recoveries, by host, once nothing changes soon in any of them."""
    recoveries = {host: hacore.recovery(uuid) for host, uuid in uuids.items()}
    return recoveries if all(each.ended for each in recoveries.values()) else None


def _decide(stage: Stage, hacore: Hacore, uuid: str, instances: int) -> Recovery:
    """Look at what is held as an operator does, and approve one of them; return how it ends."""
    stage.manage("recovery", "list", "--held", shorten=_first)
    stage.manage("explain", uuid)
    stage.shown.fact(f"The operator asks the power supplies: {_DEAD} is off, the others are on")
    stage.manage("recovery", "approve", uuid, "--reason", _REASON)
    stage.shown.begin("Waiting for an engine to go on")
    stage.wait("an engine to go on", lambda: hacore.recovery(uuid).held is None or None)
    return stage.follow(hacore, uuid, instances)


def _first(output: str) -> str:
    """The first of the paragraphs that hacore-manage makes of rows wider than the terminal."""
    first, *others = output.split("\n\n")
    if len(others) + 1 != len(_CUT_OFF):
        raise DemoError(f"hacore-manage lists {len(others) + 1} held recoveries: {output}")
    return f"{first}\n\n(and {len(others)} more)"


def _table(before: CloudState, now: CloudState, recoveries: Mapping[str, Recovery]) -> Table:
    rows = [
        (
            host,
            "off" if host == _DEAD else "on",
            f"held ({recovery.held})" if recovery.held else recovery.status,
            str(_on(before, host)),
            str(_on(now, host)),
        )
        for host, recovery in sorted(recoveries.items())
    ]
    return Table(("Host", "Power", "Recovery", "Instances before", "After"), tuple(rows))


def _on(state: CloudState, host: str) -> int:
    return sum(one.host == host for one in state.instances.values())
