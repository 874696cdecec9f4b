# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From a seed to a plan: a world, what happens to it, and when."""

import dataclasses
import random
from typing import Any

from hacore.nova import LATE_S
from tests.schedules import draw_answers, draw_fencing
from tests.schedules.plans import Ambush, Crash, EnginePlan, Happening, HostPlan, InstancePlan, Plan

#: vm_state and task_state of an instance, and the power state where it is not the usual one.
_STATES: tuple[tuple[int, dict[str, Any]], ...] = (
    (12, {"vm_state": "active"}),
    (2, {"vm_state": "active", "task_state": "powering-off"}),
    (3, {"vm_state": "stopped"}),
    (1, {"vm_state": "stopped", "task_state": "powering-on"}),
    (2, {"vm_state": "error"}),
    (1, {"vm_state": "error", "task_state": "rebuilding"}),
    (1, {"vm_state": "paused"}),
    (1, {"vm_state": "suspended"}),
    (1, {"vm_state": "rescued"}),
    (1, {"vm_state": "resized", "power_state": 1}),
    (1, {"vm_state": "resized", "power_state": 4}),
    (1, {"vm_state": "building"}),
    (1, {"vm_state": "active", "task_state": "deleting"}),
    (1, {"vm_state": "shelved"}),
)
_LOCKS = ((8, None), (1, "owner"), (1, "admin"))
_METHODS = ("auto", "auto", "auto", "reserved_host", "auto_priority", "rh_priority")

HOST_DOWN = {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}
PROCESS_DOWN = {"event": "STOPPED", "process_name": "nova-compute"}


def plan(seed: int) -> Plan:
    """Draw what happens with this seed; the same every time."""
    chance = random.Random(f"schedule-{seed}")
    return _Draw(seed, chance).plan()


class _Draw:
    def __init__(self, seed: int, chance: random.Random) -> None:
        self._seed = seed
        self._chance = chance
        self._happenings: list[Happening] = []
        self._last = 0.0

    def plan(self) -> Plan:
        options = self._options()
        segments = tuple(
            {
                "name": f"segment{number}",
                "recovery_method": self._chance.choice(_METHODS),
                "enabled": not self._one_in(25),
            }
            for number in range(self._chance.choice((1, 1, 2)))
        )
        hosts = self._hosts(len(segments))
        to_and_fro = self._one_in(12)
        if to_and_fro:
            hosts = _only_two(hosts)
        failing = hosts[:1] if to_and_fro else self._failing(hosts)
        instances = self._instances(hosts, failing)
        if to_and_fro:
            self._to_and_fro(hosts[0], hosts[1])
        else:
            self._failures(failing, instances)
        if not failing or self._one_in(4):
            self._small_failures(hosts, instances)
        for _ in range(self._chance.choice((0, 0, 1, 1, 2, 3))):
            self._fault(hosts, failing)
        for instance in instances:
            if self._one_in(25):
                self._at(self._moment(30), "delete", instance=instance.name)
        if self._one_in(25):
            self._at(self._moment(60), "segment_disabled", number=0)
        engines = self._engines(len(instances))
        more, last = draw_answers.drawn(self._seed, hosts, instances, self._happenings)
        self._happenings += more
        self._last = max(self._last, last)
        fencing, more, last = draw_fencing.drawn(self._seed, hosts, self._happenings)
        self._happenings += more
        self._last = max(self._last, last)
        return Plan(
            seed=self._seed,
            options=options,
            cloud=self._cloud(),
            segments=segments,
            hosts=hosts,
            instances=instances,
            engines=engines,
            happenings=tuple(sorted(self._happenings, key=lambda happening: happening.at)),
            healed_at=self._last,
            wakes=not self._one_in(3),
            ambushes=_ambushes(self._seed, options["DEFAULT"]["claim_lease"]),
            sees_dead=self._seed % 2 == 0,
            fencing=fencing,
        )

    # --------------------------------------------------------------- luck

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

    def _moment(self, most: float) -> float:
        """Mostly early: that is where things happen at the same time."""
        return round(self._chance.uniform(0, 1) ** 2 * most, 2)

    def _weighted(self, table: Any) -> Any:
        return self._chance.choices([row[1] for row in table], [row[0] for row in table])[0]

    def _at(self, moment: float, what: str, lasts: float = 0.0, **facts: Any) -> None:
        self._happenings.append(Happening(round(moment, 2), what, facts))
        self._last = max(self._last, moment + lasts)

    # -------------------------------------------------------------- world

    def _options(self) -> dict[str, dict[str, Any]]:
        pick = self._chance.choice
        # of their own: the rest of the story stays
        limits, proof = random.Random(f"limits-{self._seed}"), random.Random(f"proof-{self._seed}")
        return {
            "DEFAULT": {
                "claim_lease": pick((20, 60, 60, 120)),
                "claim_poll_interval": pick((15.0, 30.0)),
                "max_concurrent_recoveries": pick((2, 4, 50)),
                "max_recovery_attempts": pick((2, 3, 3)),
                "process_unfinished_notifications_interval": pick((20, 60)),
                "notifications_expired_interval": pick((86400,) * 9 + (240,)),
                "verify_interval": pick((2.0, 3.0, 5.0)),
                "wait_period_after_service_update": pick((20, 40)),
                "wait_period_after_evacuation": pick((30, 60)),
                "wait_period_after_power_off": pick((20, 60)),
                "wait_period_after_power_on": pick((20, 60)),
                "host_failure_recovery_threads": pick((1, 2, 32, 32)),
            },
            "fencing": {
                "require_proof": proof.choice(("configured",) * 7 + ("always",)),
                **draw_fencing.options(self._seed),
            },
            "host_failure": {
                "evacuate_all_instances": not self._one_in(5),
                "ignore_instances_in_error_state": self._one_in(5),
                "add_reserved_host_to_aggregate": self._one_in(3),
                "force_down": pick(("after_fencing",) * 5 + ("never", "always")),
            },
            "instance_failure": {
                "process_all_instances": self._one_in(3),
                "max_restarts": limits.choice((0, 1, 5)),
            },
            "nova": {"retry_timeout": pick((20, 300, 300))},
            "mass_failure": {"max_share": limits.choice((0, 50)), "burst_hosts": 0},
        }

    def _cloud(self) -> dict[str, Any]:
        pick = self._chance.choice
        return {
            "control_work_s": pick((0.02, 0.3, 2.0)),
            "control_workers": pick((1, 64)),
            "spawn_s": pick((0.05, 1.0, 8.0)),
            "stop_s": pick((0.05, 1.0, 8.0)),
            "start_s": pick((0.05, 1.0, 8.0)),
            "compute_read_s": pick((0.0, 0.02, 0.2)),
            "compute_write_s": pick((0.0, 0.05, 0.5)),
            "identity_token_s": pick((0.0, 0.1)),
            "service_down_s": pick((1.0, 5.0, 15.0)),
            "token_lifetime_s": pick((86400.0,) * 5 + (40.0,)),
            "evacuate_busy": not self._one_in(4),
            "max_limit": pick((1000, 1000, 2)),
            "max_microversion": pick(((2, 100), (2, 100), (2, 72), (2, 53))),
        }

    def _hosts(self, segments: int) -> tuple[HostPlan, ...]:
        made = []
        for number in range(1, self._chance.choice((3, 4, 4, 5)) + 1):
            reserved = number > 1 and self._one_in(3)
            made.append(
                HostPlan(
                    name=f"compute{number}",
                    segment=self._chance.randrange(segments),
                    reserved=reserved,
                    disabled=reserved and not self._one_in(4),
                    capacity=1 if number > 1 and self._one_in(10) else 1000,
                )
            )
        return tuple(made)

    def _failing(self, hosts: tuple[HostPlan, ...]) -> tuple[HostPlan, ...]:
        count = self._chance.choice((0, 1, 1, 1, 1, 1, 1, 2, 2))
        return tuple(self._chance.sample(hosts, min(count, len(hosts) - 1)))

    def _instances(
        self, hosts: tuple[HostPlan, ...], failing: tuple[HostPlan, ...]
    ) -> tuple[InstancePlan, ...]:
        made = []
        for host in hosts:
            counts = (0, 1, 2, 2, 3, 4) if host in failing else (0, 0, 1)
            for _ in range(self._chance.choice(counts)):
                made.append(
                    InstancePlan(
                        name=f"vm{len(made) + 1}",
                        host=host.name,
                        states=self._weighted(_STATES),
                        ha=not self._one_in(4),
                        lock=self._weighted(_LOCKS),
                    )
                )
        return tuple(made)

    # ----------------------------------------------------------- failures

    def _failures(self, failing: tuple[HostPlan, ...], instances: tuple[InstancePlan, ...]) -> None:
        for host in failing:
            dies_at = self._moment(20)
            false_alarm = self._one_in(12)
            if not false_alarm:
                self._at(dies_at, "host_dies", host=host.name, guests_survive=self._one_in(2))
            reported_at = dies_at + self._moment(15)
            for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
                status = "ONLINE" if self._one_in(4) else "OFFLINE"  # another one is no duplicate
                payload = {**HOST_DOWN, "cluster_status": status}
                self._notify(reported_at, "COMPUTE_HOST", host.name, payload)
                reported_at += self._moment(60)
            if self._one_in(3):
                self._notify(dies_at + self._moment(5), "PROCESS", host.name, PROCESS_DOWN)
            on_it = [instance for instance in instances if instance.host == host.name]
            if on_it and self._one_in(3):
                self._crashed(dies_at + self._moment(10), self._chance.choice(on_it))
            if not false_alarm and self._one_in(5):
                self._returns(host, dies_at + 5 + self._moment(self._chance.choice((40, 200))))

    def _returns(self, host: HostPlan, back_at: float) -> None:
        self._at(back_at, "host_returns", host=host.name)
        if self._one_in(2):
            self._notify(back_at + 5, "COMPUTE_HOST", host.name, {**HOST_DOWN, "event": "STARTED"})
        if self._one_in(2):  # and it fails once more, much later
            again_at = back_at + 150 + self._moment(200)
            self._at(again_at - 50, "maintenance_ends", host=host.name)
            self._at(again_at, "host_dies", host=host.name, guests_survive=False)
            self._notify(again_at + 2, "COMPUTE_HOST", host.name, HOST_DOWN)

    def _to_and_fro(self, one: HostPlan, other: HostPlan) -> None:
        """Instances go to the other host, back, and there again: old records are no new ones."""
        at = self._moment(10)
        for host in (one, other, one):
            self._at(at, "host_dies", host=host.name, guests_survive=False)
            self._notify(at + 2, "COMPUTE_HOST", host.name, HOST_DOWN)
            self._at(at + 100, "host_returns", host=host.name)
            self._at(at + 110, "maintenance_ends", host=host.name)
            at += 130

    def _small_failures(
        self, hosts: tuple[HostPlan, ...], instances: tuple[InstancePlan, ...]
    ) -> None:
        for instance in self._chance.sample(instances, min(len(instances), 2)):
            self._crashed(self._moment(30), instance)
        if self._one_in(2):
            host = self._chance.choice(hosts)
            event = self._chance.choice(("STOPPED", "STOPPED", "STARTED"))
            name = self._chance.choice(("nova-compute", "nova-compute", "libvirtd"))
            payload = {"event": event, "process_name": name}
            self._notify(self._moment(30), "PROCESS", host.name, payload)

    def _crashed(self, moment: float, instance: InstancePlan) -> None:
        self._at(moment, "guest_dies", instance=instance.name)
        payload = {**draw_answers.VM_DOWN, "instance": instance.name}
        self._notify(moment + self._moment(5), "VM", instance.host, payload)
        if self._one_in(3):
            self._notify(moment + self._moment(20), "VM", instance.host, payload)

    def _notify(self, moment: float, type_: str, host: str, payload: dict[str, Any]) -> None:
        self._at(moment, "notify", type=type_, host=host, payload=payload)

    # ------------------------------------------------------------- faults

    def _fault(self, hosts: tuple[HostPlan, ...], failing: tuple[HostPlan, ...]) -> None:
        kind = self._weighted(
            (
                (4, self._away),
                (4, self._bad_answers),
                (3, self._broken_connections),
                (3, self._late_calls),
                (3, self._database_away),
                (2, self._slow),
                (4, self._bad_evacuations),
            )
        )
        kind(self._moment(60), self._chance.choice((5.0, 20.0, 60.0, 60.0, 300.0)))
        spare = [host for host in hosts if host not in failing]
        if spare and self._one_in(6):
            victim = self._chance.choice(spare)
            self._at(self._moment(40), "host_dies", host=victim.name, guests_survive=False)

    def _away(self, at: float, lasts: float) -> None:
        service = self._chance.choice(("compute", "identity"))
        self._at(at, "away", lasts, service=service, seconds=lasts)

    def _bad_answers(self, at: float, lasts: float) -> None:
        status = self._chance.choice((429, 500, 502, 503, 504))
        rule = {"path": ".", "status": status, "ratio": self._chance.choice((0.1, 0.3, 0.8))}
        if status == 429:
            rule["retry_after"] = self._chance.choice((1, 10))
        elif self._one_in(2):
            rule["act"] = True
        self._at(at, "calls_go_wrong", lasts, rule=rule, seconds=lasts)

    def _broken_connections(self, at: float, lasts: float) -> None:
        rule: dict[str, Any] = {
            "path": ".",
            "drop": self._chance.choice(("before", "after")),
            "ratio": self._chance.choice((0.1, 0.3, 0.8)),
        }
        if self._one_in(2):
            rule |= {"method": "POST", "path": "action", "ratio": 1.0}
            rule["body"] = self._chance.choice(("evacuate", "lock", "evacuate"))
        self._at(at, "calls_go_wrong", lasts, rule=rule, seconds=lasts)

    def _late_calls(self, at: float, lasts: float) -> None:
        """Connections break, and Nova carries the calls out a while later."""
        self._at(
            at,
            "calls_are_late",
            lasts + 10,
            ratio=self._chance.choice((0.2, 1.0)),
            by_s=self._chance.choice((0.5, 4.0, 9.0)),
            seconds=lasts,
        )

    def _database_away(self, at: float, lasts: float) -> None:
        lasts = min(lasts, 60.0)
        if self._one_in(3):
            self._at(at, "commits_go_wrong", lasts, ratio=0.3, seconds=lasts)
        else:
            self._at(at, "database_away", lasts, seconds=lasts)

    def _slow(self, at: float, lasts: float) -> None:
        if self._one_in(2):
            self._at(
                at, "cloud_slow", lasts, factor=self._chance.choice((3.0, 20.0)), seconds=lasts
            )
        else:
            rule = {"path": ".", "ratio": 0.3, "delay_s": self._chance.choice((2.0, 20.0, 70.0))}
            self._at(at, "calls_go_wrong", lasts + 70, rule=rule, seconds=lasts)

    def _bad_evacuations(self, at: float, lasts: float) -> None:
        kind = self._chance.choice(("no_valid_host", "failed_claim", "spawn_error", "hang"))
        rule = {"kind": kind, "ratio": self._chance.choice((0.3, 1.0))}
        self._at(0.0 if self._one_in(2) else at, "evacuations_go_wrong", lasts, rule=rule,
                 seconds=lasts)  # fmt: skip

    # ------------------------------------------------------------ engines

    def _engines(self, instances: int) -> tuple[EnginePlan, ...]:
        doors = 40 + 20 * instances
        count = self._chance.choice((1, 2, 2, 3))
        engines = []
        for name in "abc"[:count]:
            crashes = []
            for _ in range(self._chance.choice((0, 0, 1, 1, 2))):
                kind = self._weighted(((5, "kill"), (2, "sigterm"), (2, "freeze")))
                # a frozen engine misses its lease, mostly
                pauses = (30.0, 90.0, 150.0) if kind == "freeze" else (0.0, 3.0, 30.0, 90.0)
                crashes.append(
                    Crash(kind, self._chance.randrange(1, doors), self._chance.choice(pauses))
                )
            starts_at = self._chance.choice((0.0, 0.0, self._moment(40)))
            engines.append(EnginePlan(name, starts_at, tuple(crashes)))
            self._last = max(self._last, starts_at)
        return tuple(engines)


def _ambushes(seed: int, lease_s: float) -> tuple[Ambush, ...]:
    """Draw each kind in every eighth schedule; by a chance of its own: the rest stays as it is."""
    chance = random.Random(f"ambush-{seed}")
    pick = chance.choice
    late_s = round(chance.uniform(1.0, LATE_S - 0.5), 2)
    longer_than_lease_s = lease_s + pick((1.0, 10.0, 60.0))
    soon_s = pick((0.0, 0.0, 3.0, 30.0))
    how = pick(("kill", "sigterm", "sigterm", "freeze", ""))
    lost = pick(("evacuate", "lock", "os-stop", "os-stop", ""))
    all_kinds = (
        Ambush("reauth", pick((1, 1, 2, 3, 5, 8)), "", pick(("asking", "answered")), 0.0,
               longer_than_lease_s),
        Ambush("power", pick((1, 1, 2, 3)), pick(("claim", "renewal", "")), "",
               round(chance.uniform(10.0, 20.0), 2), soon_s),
        Ambush("late lock", pick((1, 1, 2, 3)), "", how, late_s,
               longer_than_lease_s if how == "freeze" else soon_s),
        Ambush("lost call", 1 if lost == "os-stop" else pick((1, 1, 2, 3)), lost,
               pick(("late", "late", "at once", "never")), late_s, soon_s),
    )  # fmt: skip
    drawn = [ambush for ambush in all_kinds if chance.randrange(8) == 0]
    return (*drawn, *draw_answers.cell_ambush(seed), *draw_fencing.ambush(seed, lease_s))


def _only_two(hosts: tuple[HostPlan, ...]) -> tuple[HostPlan, ...]:
    """The same, with room on the first two only."""
    two = [dataclasses.replace(host, reserved=False, disabled=False) for host in hosts[:2]]
    roomy = [dataclasses.replace(host, capacity=1000) for host in two]
    return (*roomy, *(dataclasses.replace(host, capacity=0) for host in hosts[2:]))
