# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What dies, how a monitor would report it, and what is looked at in the end."""

import dataclasses
from typing import Protocol

from hacore_sandbox.demo import judge
from hacore_sandbox.demo.facts import Instance, Move, Outcome, Truth
from hacore_sandbox.demo.peers import Sandbox

#: The host that something happens to; all instances are on it.
VICTIM = "compute1"

_HEADERS = ("Instance", "From", "To", "State", "Back after", "Status")


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """What happened, and the notification that reports it."""

    text: str
    kind: str
    payload: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """What came of it; `wrong` is empty when all is as it should be."""

    wrong: list[str]
    good: str  #: the sentence for that case
    table: Table


class Scenario(Protocol):
    """One story."""

    def title(self, count: int) -> str:
        """What it is about, with `count` instances on the host."""

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        """Do what the story needs beyond running instances."""

    def strike(self, sandbox: Sandbox, before: Truth) -> Failure:
        """Let it happen."""

    def end(self, outcome: Outcome) -> Ending:
        """Judge it."""


class HostFails:
    """A host loses its power, and with it what runs there."""

    def title(self, count: int) -> str:
        return f"a host with {_instances(count)} dies"

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        # every tenth one: what was shut off must not come back running
        for uuid in uuids[9::10]:
            sandbox.shut_off(uuid)

    def strike(self, sandbox: Sandbox, before: Truth) -> Failure:
        sandbox.kill_host(VICTIM, guests_survive=False)
        return Failure(
            text=f"{VICTIM} has lost its power; {_instances(_running(before))} went down with it",
            kind="COMPUTE_HOST",
            payload={"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"},
        )

    def end(self, outcome: Outcome) -> Ending:
        moves = {move.instance_uuid: move for move in outcome.recovery.moves}
        rows = [
            _row(was, outcome.after.instances.get(was.uuid), moves.get(was.uuid))
            for was in outcome.before.instances.values()
        ]
        last_s = max((move.ended_after_s or 0.0 for move in moves.values()), default=0.0)
        return Ending(
            wrong=judge.evacuated(outcome, VICTIM),
            good=f"Every instance is back ({len(rows)} of {len(rows)}): on another host, in the "
            f"state it was in, unlocked. The last one {last_s:.1f} s after the failure was "
            "reported.",
            table=Table(_HEADERS, tuple(rows)),
        )


class InstanceFails:
    """One instance crashes; its host is well."""

    def title(self, count: int) -> str:
        return f"one of {_instances(count)} crashes"

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        pass

    def strike(self, sandbox: Sandbox, before: Truth) -> Failure:
        one = _first(before)
        sandbox.crash(one.uuid)
        return Failure(
            text=f"{one.name} on {one.host} has crashed",
            kind="VM",
            payload={
                "instance_uuid": one.uuid,
                "vir_domain_event": "STOPPED_FAILED",
                "event": "LIFECYCLE",
            },
        )

    def end(self, outcome: Outcome) -> Ending:
        was = _first(outcome.before)
        now = outcome.after.instances.get(was.uuid)
        took = f"{outcome.recovery.changed_after_s:.1f} s"
        row = (was.name, _host(was), _host(now), _state(now), took, outcome.recovery.status)
        return Ending(
            wrong=judge.restarted(outcome),
            good=f"{was.name} runs again, {took} after its crash was reported; no other instance "
            "was touched.",
            table=Table(_HEADERS, (row,)),
        )


class ProcessFails:
    """nova-compute dies; the instances run on, but Nova cannot reach them."""

    def title(self, count: int) -> str:
        return f"nova-compute dies on a host with {_instances(count)}"

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        pass

    def strike(self, sandbox: Sandbox, before: Truth) -> Failure:
        del before
        sandbox.kill_host(VICTIM, guests_survive=True)
        return Failure(
            text=f"nova-compute on {VICTIM} has died; its instances run on",
            kind="PROCESS",
            payload={"process_name": "nova-compute", "event": "STOPPED"},
        )

    def end(self, outcome: Outcome) -> Ending:
        before, after = outcome.before, outcome.after
        maintenance = "on maintenance" if VICTIM in outcome.on_maintenance else "in service"
        rows = (
            (f"nova-compute of {VICTIM} in Nova", _service(before), _service(after)),
            (f"{VICTIM} in hacore", "in service", maintenance),
            (f"instances that run on {VICTIM}", str(_running(before)), str(_running(after))),
        )
        return Ending(
            wrong=judge.taken_out(outcome, VICTIM),
            good=f"Nova places nothing on {VICTIM} any more, "
            f"{outcome.recovery.changed_after_s:.1f} s after the failure was reported; what runs "
            "there runs on.",
            table=Table(("What", "Before", "After"), rows),
        )


SCENARIOS: dict[str, Scenario] = {
    "host": HostFails(),
    "instance": InstanceFails(),
    "process": ProcessFails(),
}


def _instances(count: int) -> str:
    return f"{count} instance{'' if count == 1 else 's'}"


def _first(truth: Truth) -> Instance:
    return next(iter(truth.instances.values()))


def _running(truth: Truth) -> int:
    return sum(one.guest_up and one.host == VICTIM for one in truth.instances.values())


def _service(truth: Truth) -> str:
    return "disabled" if truth.hosts[VICTIM].disabled else "enabled"


def _row(was: Instance, now: Instance | None, move: Move | None) -> tuple[str, ...]:
    back_s = move.ended_after_s if move and move.status == "succeeded" else None
    took = f"{back_s:5.1f} s" if back_s is not None else "-"
    return (was.name, _host(was), _host(now), _state(now), took, move.status if move else "-")


def _host(instance: Instance | None) -> str:
    return instance.host or "-" if instance else "-"


def _state(now: Instance | None) -> str:
    if now is None:
        return "gone"
    return f"{now.vm_state}, locked" if now.locked else now.vm_state
