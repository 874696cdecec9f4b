# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Injected faults, as set through /control/faults.

Rules are tried in order and the first one that applies wins.  Random numbers
come from a separate generator, so that a fault never changes the uuids.
"""

import dataclasses
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

EVACUATION_KINDS = ("no_valid_host", "failed_claim", "spawn_error", "hang")
SERVICES = ("compute", "identity")
#: What stands in the place of an answer: a proxy's page, a part of it, too many rows.
ANSWERS = ("html", "truncated", "unfiltered")


class BadFault(ValueError):
    """The description of a fault is invalid."""


@dataclasses.dataclass
class Rule:
    """How often a fault occurs: `ratio` of the matching calls, every n-th, at most n `times`."""

    ratio: float | None = None
    every: int | None = None
    times: int | None = None
    seen: int = 0
    struck: int = 0  #: how many calls the fault has applied to

    def strikes(self, rng: random.Random) -> bool:
        """Count one matching call; True if the fault applies to it."""
        if self.times == 0:
            return False
        self.seen += 1
        if self.every is not None and self.seen % self.every:
            return False
        if self.ratio is not None and rng.random() >= self.ratio:
            return False
        if self.times is not None:
            self.times -= 1
        self.struck += 1
        return True


@dataclasses.dataclass
class EvacuationFault(Rule):
    """An evacuation that fails or never ends."""

    kind: str = "no_valid_host"
    servers: frozenset[str] | None = None  #: None: all of them


@dataclasses.dataclass
class CallFault(Rule):
    """An answer in place of the real one, or a closed connection."""

    service: str | None = None
    method: str | None = None
    path: re.Pattern[str] | None = None
    body: re.Pattern[str] | None = None  #: of the request: distinguishes the actions
    servers: frozenset[str] | None = None  #: uuids, one of which is in the path; None: any call
    status: int | None = None  #: of the answer
    message: str = "sandbox: injected fault"  #: with `status`
    answer: str | None = None  #: one of `ANSWERS`; all but html are of a call that is carried out
    act: bool = False  #: carry out the call before the faulty answer
    retry_after: int | None = None
    drop: str | None = None  #: close the connection `before` or `after` carrying out the call
    delay_s: float = 0.0

    def matches(self, service: str, method: str, path: str, body: str) -> bool:
        return (
            (self.service is None or self.service == service)
            and (self.method is None or self.method == method)
            and (self.path is None or self.path.search(path) is not None)
            and (self.body is None or self.body.search(body) is not None)
            and (self.servers is None or not self.servers.isdisjoint(path.split("/")))
        )


class Faults:
    """All active faults."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"faults-{seed}")
        self.slow = 1.0
        self.clock_ahead_s = 0.0  #: applies to the times in tokens and the Date header
        self.unavailable_until: dict[str, float] = {}
        self.cells_down_until: dict[str, float] = {}  #: by the name of a host in the cell
        self.evacuations: list[EvacuationFault] = []
        self.calls: list[CallFault] = []

    def clear(self) -> None:
        self.slow = 1.0
        self.clock_ahead_s = 0.0
        self.unavailable_until = {}
        self.cells_down_until = {}
        self.evacuations = []
        self.calls = []

    def of_evacuation(self, server_uuid: str) -> str | None:
        """The kind of failure to inject into this evacuation, or None."""
        for rule in self.evacuations:
            chosen = rule.servers is None or server_uuid in rule.servers
            if chosen and rule.strikes(self._rng):
                return rule.kind
        return None

    def of_call(self, service: str, method: str, path: str, body: str) -> CallFault | None:
        for rule in self.calls:
            if rule.matches(service, method, path, body) and rule.strikes(self._rng):
                return rule
        return None

    def is_unavailable(self, service: str, now: float) -> bool:
        return self.unavailable_until.get(service, 0.0) > now

    def is_cell_down(self, host: str | None, now: float) -> bool:
        """Whether Nova's API cannot reach the database of the host's cell."""
        return bool(self.cells_down_until) and self.cells_down_until.get(host or "", 0.0) > now

    def put(self, body: Mapping[str, Any], now: float) -> None:
        """Set the faults that `body` names and keep the others; BadFault leaves all unchanged."""
        known = {"slow", "clock_ahead_s", "unavailable", "cells_down", "evacuations", "calls"}
        if unknown := set(body) - known:
            raise BadFault(f"unknown fault {min(unknown)!r}; known: {', '.join(sorted(known))}")
        slow = body.get("slow", self.slow)
        if not isinstance(slow, int | float) or slow <= 0:
            raise BadFault("slow must be a number greater than 0")
        ahead_s = float(body.get("clock_ahead_s", self.clock_ahead_s))
        unavailable = {
            name: float(seconds) for name, seconds in dict(body.get("unavailable", {})).items()
        }
        if unknown := set(unavailable) - set(SERVICES):
            raise BadFault(f"unknown service {min(unknown)!r}; known: {', '.join(SERVICES)}")
        cells_down = {
            host: float(seconds) for host, seconds in dict(body.get("cells_down", {})).items()
        }
        evacuations = [_evacuation_fault(rule) for rule in body.get("evacuations", ())]
        calls = [_call_fault(rule) for rule in body.get("calls", ())]
        self.slow = float(slow)
        self.clock_ahead_s = ahead_s
        self.unavailable_until |= {name: now + seconds for name, seconds in unavailable.items()}
        self.cells_down_until |= {host: now + seconds for host, seconds in cells_down.items()}
        if "evacuations" in body:
            self.evacuations = evacuations
        if "calls" in body:
            self.calls = calls

    def describe(self, now: float) -> dict[str, Any]:
        """The active faults, in the form that `put` accepts."""
        return {
            "slow": self.slow,
            "clock_ahead_s": self.clock_ahead_s,
            "unavailable": _left(self.unavailable_until, now),
            "cells_down": _left(self.cells_down_until, now),
            "evacuations": [_shown(rule) for rule in self.evacuations],
            "calls": [_shown(rule) for rule in self.calls],
        }


def _left(until: Mapping[str, float], now: float) -> dict[str, float]:
    """The seconds that are left, by name."""
    return {name: round(end - now, 3) for name, end in until.items() if end > now}


def _shown(rule: Rule) -> dict[str, Any]:
    shown = {}
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if field.name in ("seen", "struck") or value is None:
            continue
        if isinstance(value, re.Pattern):
            value = value.pattern
        shown[field.name] = sorted(value) if isinstance(value, frozenset) else value
    return shown


def _known_keys(rule: Mapping[str, Any], names: Iterable[str]) -> None:
    allowed = set(names) | {"ratio", "every", "times"}
    if unknown := set(rule) - allowed:
        raise BadFault(f"unknown key {min(unknown)!r}; known: {', '.join(sorted(allowed))}")
    if rule.get("ratio") is not None and not 0 <= rule["ratio"] <= 1:
        raise BadFault("ratio must be between 0 and 1")
    for name in ("every", "times"):
        value = rule.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise BadFault(f"{name} must be an integer greater than 0")


def _evacuation_fault(rule: Mapping[str, Any]) -> EvacuationFault:
    _known_keys(rule, ("kind", "servers"))
    if rule.get("kind") not in EVACUATION_KINDS:
        raise BadFault(f"kind must be one of {', '.join(EVACUATION_KINDS)}")
    values = dict(rule)
    if values.get("servers") is not None:
        values["servers"] = frozenset(values["servers"])
    return EvacuationFault(**values)


def _call_fault(rule: Mapping[str, Any]) -> CallFault:
    names = (
        "service", "method", "path", "body", "servers", "status", "message", "answer", "act",
        "retry_after", "drop", "delay_s",
    )  # fmt: skip
    _known_keys(rule, names)
    if rule.get("drop") not in (None, "before", "after"):
        raise BadFault("drop must be before or after")
    if rule.get("answer") not in (None, *ANSWERS):
        raise BadFault(f"answer must be one of {', '.join(ANSWERS)}")
    if not any(rule.get(name) for name in ("status", "answer", "drop", "delay_s")):
        raise BadFault("a call fault needs a status, an answer, a drop or a delay_s")
    values = dict(rule)
    if values.get("servers") is not None:
        values["servers"] = frozenset(values["servers"])
    for name in ("path", "body"):
        try:
            if values.get(name) is not None:
                values[name] = re.compile(values[name])
        except re.error as exc:
            raise BadFault(f"{name} is not a valid regular expression: {exc}") from exc
    return CallFault(**values)
