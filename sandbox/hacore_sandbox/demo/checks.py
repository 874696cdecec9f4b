# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is wrong at the end of the demo, in sentences; none if all is well.

The sandbox's control API says where an instance is and whether it runs; hacore
must agree.  Pure.
"""

import dataclasses
from collections.abc import Collection, Mapping

from hacore_sandbox.demo.records import Bmc, CloudState, Instance, Move, Outcome, Recovery

_MOST_NAMED = 5


def evacuated(outcome: Outcome, dead: str, reported: Collection[str] = ()) -> list[str]:
    """Every instance of `dead` is on a living host, in its old state; the others are unchanged.

    :param reported: living hosts that hacore may still be looking at, and keep out of service.
    """
    moves = {move.instance_uuid: move for move in outcome.recovery.moves}
    reasons = {}
    for was in outcome.before.instances.values():
        now = outcome.after.instances.get(was.uuid)
        if was.host == dead:
            place = [*_place(now, dead, outcome.after), *_move(now, moves.get(was.uuid))]
            reasons[was.name] = [*place, *_condition(was, now)]
        else:
            reasons[was.name] = _unchanged(was, now)
    return [*_finished(outcome), *_hosts(outcome, dead, reported), *_summary(reasons)]


def restarted(outcome: Outcome) -> list[str]:
    """Every instance, the crashed one too, is on its old host in its old state."""
    return [*_finished(outcome), *_hosts(outcome, None), *_summary(_all_unchanged(outcome))]


def taken_out(outcome: Outcome, host: str) -> list[str]:
    """The service of `host` is disabled, hacore has it on maintenance, no instance moved."""
    return [*_finished(outcome), *_hosts(outcome, host), *_summary(_all_unchanged(outcome))]


def held(
    outcome: Outcome,
    recoveries: Mapping[str, Recovery],
    dead: str,
    rule: str = "majority",
    reported: Collection[str] = (),
) -> list[str]:
    """Each of the `recoveries`, by host, is held by `rule`, and hacore has moved nothing.

    The guests of the host `dead` have died.

    :param reported: hosts that hacore keeps out of service meanwhile.
    """
    reasons = {}
    for each in outcome.before.instances.values():
        was = dataclasses.replace(each, guest_up=False) if each.host == dead else each
        reasons[was.name] = _unchanged(was, outcome.after.instances.get(was.uuid))
    wrong = []
    for host, recovery in recoveries.items():
        if recovery.held != rule:
            said = f" ({recovery.message.rstrip('.')})" if recovery.message else ""
            wrong.append(f"The recovery of {host} is {recovery.status}, not held ({rule}){said}.")
    wrong += moved_nothing(recoveries)
    return [*wrong, *_hosts(outcome, None, reported), *_summary(reasons)]


def ordered_off(bmcs: Mapping[str, Bmc], host: str) -> list[str]:
    """The BMC of `host` was ordered once, to switch it off, and no other one ever."""
    return [
        f"The BMC of {name} was ordered: {', '.join(bmc.orders) or 'nothing'}."
        for name, bmc in bmcs.items()
        if bmc.orders != (("off",) if name == host else ())
    ]


def moved_nothing(recoveries: Mapping[str, Recovery]) -> list[str]:
    """None of the `recoveries`, by host, has begun to move an instance."""
    return [
        f"The recovery of {host} has moves: {len(recovery.moves)}."
        for host, recovery in recoveries.items()
        if recovery.moves
    ]


# -- the notification and the hosts


def _finished(outcome: Outcome) -> list[str]:
    status = outcome.recovery.status
    return [] if status == "finished" else [f"The notification is {status}, not finished."]


def _hosts(outcome: Outcome, failed: str | None, reported: Collection[str] = ()) -> list[str]:
    """Only the failed host is disabled in Nova and on maintenance in hacore."""
    wrong = []
    for host in outcome.after.hosts.values():
        if host.name in reported:
            continue
        if host.disabled != (host.name == failed):
            wrong.append(f"{host.name} is {'disabled' if host.disabled else 'enabled'} in Nova.")
        on_maintenance = host.name in outcome.on_maintenance
        if on_maintenance != (host.name == failed):
            how = "is on maintenance" if on_maintenance else "is not on maintenance"
            wrong.append(f"{host.name} {how} in hacore.")
    return wrong


# -- what is wrong with one instance


def _place(now: Instance | None, dead: str, after: CloudState) -> list[str]:
    if now is None:
        return []  # _condition reports it
    if now.host == dead:
        return [f"is still on {dead}"]
    host = after.hosts.get(now.host or "")
    if host is None:
        return ["is on no host"]
    return [] if host.alive else [f"is on {host.name}, which is dead"]


def _move(now: Instance | None, move: Move | None) -> list[str]:
    """Whether hacore agrees."""
    if move is None:
        return ["has no move in hacore"]
    if move.status != "succeeded":
        said = f" ({move.message.rstrip('.')})" if move.message else ""
        return [f"has a move that is {move.status}{said}"]
    if now is not None and move.dest != now.host:
        return [f"is on {now.host}, but on {move.dest} according to hacore"]
    return []


def _condition(was: Instance, now: Instance | None) -> list[str]:
    if now is None:
        return ["no longer exists"]
    wrong = []
    if now.vm_state != was.vm_state:
        wrong.append(f"is {now.vm_state}, not {was.vm_state}")
    if now.task_state is not None:
        wrong.append(f"is busy ({now.task_state})")
    if now.guest_up != was.guest_up:
        wrong.append("runs, but did not before" if now.guest_up else "does not run")
    if now.locked != was.locked:
        wrong.append("is locked" if now.locked else "is no longer locked")
    return wrong


def _unchanged(was: Instance, now: Instance | None) -> list[str]:
    wrong = _condition(was, now)
    if now is not None and now.host != was.host:
        wrong.insert(0, f"was moved from {was.host} to {now.host}")
    return wrong


def _all_unchanged(outcome: Outcome) -> dict[str, list[str]]:
    return {
        was.name: _unchanged(was, outcome.after.instances.get(was.uuid))
        for was in outcome.before.instances.values()
    }


def _summary(reasons: dict[str, list[str]]) -> list[str]:
    bad = [f"{name} {', '.join(texts)}" for name, texts in reasons.items() if texts]
    if not bad:
        return []
    named = "; ".join(bad[:_MOST_NAMED])
    more = f"; and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
    verb = "is" if len(bad) == 1 else "are"
    return [f"{len(bad)} of {len(reasons)} instances {verb} wrong: {named}{more}."]
