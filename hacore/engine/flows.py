# Licensed under the Apache License, Version 2.0; see LICENSE.
"""From the configured task lists to taskflow flows.

Everything that can be wrong with a list is found by `Flows` when it is made,
that is before the engine is ready: a flow never runs with a step missing.
"""

import dataclasses
import importlib.metadata
import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import stevedore
from oslo_config import cfg
from taskflow import exceptions as taskflow_exc
from taskflow import retry
from taskflow import task as taskflow_task
from taskflow.patterns import linear_flow

from hacore.errors import ConfigError

PHASES = ("pre", "main", "post")
#: Each of them has a host with devices switched off; one has to be in a list.
SWITCH_OFF = ("fence_compute_host_task", "disable_compute_service_task")
_GROUP = "taskflow_driver_recovery_flows"


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A flow that the configuration describes.

    ``provides``: what the engine puts in, by the names that tasks ask for.
    """

    name: str
    option: str
    provides: frozenset[str]


_ALWAYS = frozenset({"notification_uuid", "host_name", "payload"})
_OF_OPERATIONS = frozenset({"operation_uuid", "host_name", "options"})
KINDS = {
    kind.name: kind
    for kind in (
        Kind("host-auto", "host_auto_failure_recovery_tasks", _ALWAYS),
        Kind("host-rh", "host_rh_failure_recovery_tasks", _ALWAYS | {"reserved_host"}),
        Kind("instance", "instance_failure_recovery_tasks", _ALWAYS | {"instance_uuid"}),
        Kind("process", "process_failure_recovery_tasks", _ALWAYS | {"process_name"}),
        Kind("return", "host_return_tasks", _OF_OPERATIONS),
    )
}


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One entry of a task list, found."""

    phase: str
    name: str
    factory: Any
    distribution: str


class Flows:
    """The flows that operators configured.

    Raises ConfigError with the option, the wrong word and the known names.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._known: dict[str, _Known] = {}
        for namespace in conf.task_namespaces:
            self._known |= _load(namespace, self._known.keys())
        options = conf[_GROUP]
        self._steps = {
            kind.name: self._resolve(kind, getattr(options, kind.option)) for kind in KINDS.values()
        }
        for kind in KINDS.values():
            self._check(kind)
        if conf.fencing.devices_file and conf.fencing.require_proof != "never":
            self._check_fencing()

    def steps(self, kind: str) -> tuple[Step, ...]:
        """Return the steps of a flow in the order they run."""
        return self._steps[kind]

    def build(
        self, kind: str, context: Any, novaclient: Any, main_retry: retry.Retry | None = None
    ) -> linear_flow.Flow:
        """Return a new flow of `kind`, its tasks made for this recovery.

        :param main_retry: runs the main list again and again, as it decides, from the first
            task on that asks for what it provides: those before find out what is to be done.
        """
        flow = linear_flow.Flow(kind)
        main = linear_flow.Flow(f"{kind}-main", retry=main_retry)
        tasks = self._tasks(kind, context, novaclient)
        repeated = [task for phase, task in tasks if phase == "main"]
        given = set(main_retry.provides) if main_retry else set()
        asking = (task for task in repeated if given & set(task.requires | task.optional))
        first = next(asking, next(iter(repeated), None))
        for phase, task in tasks:
            if phase == "main" and (len(main) or task is first):
                if not len(main):
                    flow.add(main)
                main.add(task)
            else:
                flow.add(task)
        return flow

    def _tasks(
        self, kind: str, context: Any, novaclient: Any
    ) -> list[tuple[str, taskflow_task.Task]]:
        """Make the tasks of a flow; return them with their phases, in order."""
        made, used = [], set[str]()
        for step in self._steps[kind]:
            task = _make(step, context, novaclient)
            task.name = _unused(type(task).__name__, used)
            made.append((step.phase, task))
        return made

    # -------------------------------------------------------------- checks

    def _resolve(self, kind: Kind, lists: Mapping[str, Iterable[str]]) -> tuple[Step, ...]:
        where = f"[{_GROUP}] {kind.option}"
        unknown = sorted(set(lists) - set(PHASES))
        if unknown:
            raise ConfigError(
                f"{where}: unknown phase {unknown[0]!r}; valid phases are {', '.join(PHASES)}."
            )
        steps = []
        for phase in PHASES:
            for name in lists.get(phase, ()):
                found = self._known.get(name)
                if found is None:
                    raise ConfigError(
                        f"{where}: unknown task {name!r} (in {phase}); known tasks are "
                        f"{', '.join(sorted(self._known))}; tasks of other packages must be in an "
                        "entry-point group that [DEFAULT] task_namespaces lists."
                    )
                steps.append(Step(phase, name, found.factory, found.distribution))
        if not steps:
            raise ConfigError(f"{where} lists no tasks; use no_op for a flow that does nothing.")
        return tuple(steps)

    def _check(self, kind: Kind) -> None:
        where = f"[{_GROUP}] {kind.option}"
        try:
            flow = self.build(kind.name, None, None)
        except taskflow_exc.TaskFlowException as exc:
            raise ConfigError(f"{where}: {exc}") from exc
        provided = set(kind.provides)
        for task in tasks_of(flow):
            missing = sorted(set(task.requires) - provided)
            if missing:
                raise ConfigError(
                    f"{where}: task {task.name} needs {missing[0]!r}, which neither the engine "
                    f"nor an earlier task provides; the engine provides "
                    f"{', '.join(sorted(kind.provides))}."
                )
            provided |= set(task.provides)

    def _check_fencing(self) -> None:
        """Refuse a list that leaves the devices alone: its recoveries would be held for ever."""
        for kind in KINDS.values():
            names = {step.name for step in self._steps[kind.name]}
            if kind.name.startswith("host-") and not names & set(SWITCH_OFF):
                raise ConfigError(
                    f"[{_GROUP}] {kind.option}: no task has the host switched off, and [fencing] "
                    f"devices_file is set; add {SWITCH_OFF[1]}, or {SWITCH_OFF[0]} before it."
                )


def tasks_of(flow: linear_flow.Flow) -> Iterator[taskflow_task.Task]:
    """Yield the tasks of a flow, in the order they run."""
    for item in flow:
        if isinstance(item, linear_flow.Flow):
            yield from tasks_of(item)
        else:
            yield item


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """A task that an installed package has."""

    factory: Any
    distribution: str


def _load(namespace: str, known: Collection[str]) -> dict[str, _Known]:
    """Return the tasks of an entry-point group that are not among `known`."""
    # from the metadata: stevedore's cache forgets whose an entry point is
    distributions: dict[str, str] = {}
    for point in importlib.metadata.entry_points(group=namespace):
        owner = point.dist.name if point.dist else "unknown"
        other = distributions.setdefault(point.name, owner)
        if other != owner and point.name not in known:
            raise ConfigError(
                f"[DEFAULT] task_namespaces: {' and '.join(sorted((other, owner)))} both have a "
                f"task {point.name!r} in the entry-point group {namespace!r}, and which one would "
                "run is chance; uninstall one of them, or give its task another name."
            )
    if not distributions:
        raise ConfigError(
            f"[DEFAULT] task_namespaces: no installed package has tasks in the entry-point group "
            f"{namespace!r}; install it, or take the group out."
        )

    def failed(_manager: Any, entry_point: Any, exc: BaseException) -> None:
        raise ConfigError(
            f"Task {entry_point.name!r} of {distributions.get(entry_point.name, 'unknown')} cannot "
            f"be loaded from {entry_point.value}: {exc}."
        ) from exc

    # others are not even imported: Masakari itself may be installed here, whose tasks would
    # register its options over ours
    manager: stevedore.NamedExtensionManager[Any] = stevedore.NamedExtensionManager(
        namespace,
        names=[name for name in distributions if name not in known],
        on_load_failure_callback=failed,
    )
    return {each.name: _Known(each.plugin, distributions[each.name]) for each in manager}


def _make(step: Step, context: Any, novaclient: Any) -> taskflow_task.Task:
    """Construct a task, with those of ``context`` and ``novaclient`` that it takes."""
    offered = {"context": context, "novaclient": novaclient}
    try:
        parameters = inspect.signature(step.factory).parameters.values()
        takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        names = {p.name for p in parameters}
        task = step.factory(**{k: v for k, v in offered.items() if takes_all or k in names})
    except Exception as exc:  # a task may be anybody's, and raise anything
        raise ConfigError(
            f"Task {step.name!r} of {step.distribution} cannot be constructed: "
            f"{type(exc).__name__}: {exc} (at start a task is constructed once with context and "
            "novaclient None)."
        ) from exc
    if not isinstance(task, taskflow_task.Task):
        raise ConfigError(
            f"Task {step.name!r} of {step.distribution} is a {type(task).__name__}, not a "
            "taskflow task."
        )
    return task


def _unused(name: str, used: set[str]) -> str:
    """Return `name`, with a number behind it where the flow has it already."""
    candidate, number = name, 1
    while candidate in used:
        number += 1
        candidate = f"{name}-{number}"
    used.add(candidate)
    return candidate
