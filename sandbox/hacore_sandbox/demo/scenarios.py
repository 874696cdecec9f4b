# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What fails, how a monitor would report it, and what is checked at the end."""

import dataclasses
from typing import Protocol

from hacore_sandbox.demo import checks
from hacore_sandbox.demo.clients import Sandbox
from hacore_sandbox.demo.records import CloudState, Instance, Move, Outcome

#: The host that fails; all instances are on it.
VICTIM = "compute1"

#: How a monitor reports a failed host.
HOST_STOPPED = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}

_HEADERS = ("Instance", "From", "To", "State", "Back after", "Status")


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """What failed, and the notification about it."""

    text: str
    kind: str
    payload: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The result of the demo; `wrong` is empty if all is well."""

    wrong: list[str]
    summary: str  #: if nothing is wrong
    table: Table


class Scenario(Protocol):
    """One kind of failure."""

    def title(self, count: int) -> str:
        """The headline, with `count` instances on the host."""

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        """Prepare what the scenario needs beyond running instances."""

    def fail(self, sandbox: Sandbox, before: CloudState) -> Failure:
        """Make something fail."""

    def check(self, outcome: Outcome) -> Result:
        """Check the outcome."""


class HostFails:
    """A host loses its power, with all its instances."""

    def title(self, count: int) -> str:
        return f"a host with {counted(count)} dies"

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        # every tenth one: a stopped instance must not come back running
        for uuid in uuids[9::10]:
            sandbox.shut_off(uuid)

    def fail(self, sandbox: Sandbox, before: CloudState) -> Failure:
        sandbox.kill_host(VICTIM, guests_survive=False)
        return Failure(
            text=f"{VICTIM} has lost its power; {counted(_running(before))} failed with it",
            kind="COMPUTE_HOST",
            payload=HOST_STOPPED,
        )

    def check(self, outcome: Outcome) -> Result:
        moves = {move.instance_uuid: move for move in outcome.recovery.moves}
        rows = [
            _row(was, outcome.after.instances.get(was.uuid), moves.get(was.uuid))
            for was in outcome.before.instances.values()
        ]
        last_s = max((move.ended_after_s or 0.0 for move in moves.values()), default=0.0)
        return Result(
            wrong=checks.evacuated(outcome, VICTIM),
            summary=f"Every instance is back ({len(rows)} of {len(rows)}): on another host, in its "
            f"old state, unlocked. The last one was back {last_s:.1f} s after the failure was "
            "reported.",
            table=Table(_HEADERS, tuple(rows)),
        )


class InstanceFails:
    """One instance crashes; its host is healthy."""

    def title(self, count: int) -> str:
        return f"one of {counted(count)} crashes"

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        pass

    def fail(self, sandbox: Sandbox, before: CloudState) -> Failure:
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

    def check(self, outcome: Outcome) -> Result:
        was = _first(outcome.before)
        now = outcome.after.instances.get(was.uuid)
        took = f"{outcome.recovery.changed_after_s:.1f} s"
        row = (was.name, _host(was), _host(now), _state(now), took, outcome.recovery.status)
        return Result(
            wrong=checks.restarted(outcome),
            summary=f"{was.name} runs again, {took} after its crash was reported; no other "
            "instance has changed.",
            table=Table(_HEADERS, (row,)),
        )


class ProcessFails:
    """nova-compute dies; the instances keep running, but Nova cannot reach them."""

    def title(self, count: int) -> str:
        return f"nova-compute dies on a host with {counted(count)}"

    def prepare(self, sandbox: Sandbox, uuids: list[str]) -> None:
        pass

    def fail(self, sandbox: Sandbox, before: CloudState) -> Failure:
        del before
        sandbox.kill_host(VICTIM, guests_survive=True)
        return Failure(
            text=f"nova-compute on {VICTIM} has died; its instances keep running",
            kind="PROCESS",
            payload={"process_name": "nova-compute", "event": "STOPPED"},
        )

    def check(self, outcome: Outcome) -> Result:
        before, after = outcome.before, outcome.after
        maintenance = "on maintenance" if VICTIM in outcome.on_maintenance else "in service"
        rows = (
            (f"nova-compute of {VICTIM} in Nova", _service(before), _service(after)),
            (f"{VICTIM} in hacore", "in service", maintenance),
            (f"instances running on {VICTIM}", str(_running(before)), str(_running(after))),
        )
        return Result(
            wrong=checks.taken_out(outcome, VICTIM),
            summary=f"Nova has scheduled nothing to {VICTIM} since "
            f"{outcome.recovery.changed_after_s:.1f} s after the failure was reported; its "
            "instances keep running.",
            table=Table(("What", "Before", "After"), rows),
        )


SCENARIOS: dict[str, Scenario] = {
    "host": HostFails(),
    "instance": InstanceFails(),
    "process": ProcessFails(),
}


def counted(count: int) -> str:
    return f"{count} instance{'' if count == 1 else 's'}"


def _first(state: CloudState) -> Instance:
    return next(iter(state.instances.values()))


def _running(state: CloudState) -> int:
    return sum(one.guest_up and one.host == VICTIM for one in state.instances.values())


def _service(state: CloudState) -> str:
    return "disabled" if state.hosts[VICTIM].disabled else "enabled"


def _row(was: Instance, now: Instance | None, move: Move | None) -> tuple[str, ...]:
    back_s = move.ended_after_s if move and move.status == "succeeded" else None
    took = f"{back_s:5.1f} s" if back_s is not None else "-"
    return (was.name, _host(was), _host(now), _state(now), took, move.status if move else "-")


def _host(instance: Instance | None) -> str:
    return instance.host or "-" if instance else "-"


def _state(now: Instance | None) -> str:
    if now is None:
        return "no longer exists"
    return f"{now.vm_state}, locked" if now.locked else now.vm_state
