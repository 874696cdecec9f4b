# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What there is at the end of a story, in hacore's database and in the cloud."""

import collections
from collections.abc import Iterable, Mapping

from hacore.db import operations
from hacore.db.models import Host
from hacore_sandbox.model import Server
from tests.scenarios.stage import Stage
from tests.scenarios.transports import host_marks


def describe(stage: Stage, notifications: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """The lines below a log."""
    stage.cloud.advance()
    lines = [f"In the end, after {stage.clock.monotonic():.1f} s:"]
    for name, uuid in notifications.items():
        row = stage.notification(uuid)
        lines.append(f"  {name}: {row.status}: {row.message or ''}".rstrip(": "))
        told: dict[str, list[str]] = collections.defaultdict(list)
        for move in stage.moves(uuid).values():
            where = f" to {move.dest_host}" if move.dest_host else ""
            why = f" ({move.message})" if move.message else ""
            lock = ", locked by us" if move.locked else ""
            told[f"{move.status}{where}{lock}{why}"].append(move.instance_name)
        lines += [f"    {', '.join(names)}: {what}" for what, names in told.items()]
    for name, uuid in asked.items():
        operation = operations.read(stage.db, uuid).operation
        lines.append(f"  {name}: {operation.status}: {operation.message or ''}".rstrip(": "))
    lines += _grouped((name, _host(stage, name, row)) for name, row in _hosts(stage))
    lines += _grouped((server.name, _server(stage, server)) for server in _servers(stage))
    return [stage.log.named(line) for line in lines]


def _grouped(rows: Iterable[tuple[str, str]]) -> list[str]:
    same: dict[str, list[str]] = collections.defaultdict(list)
    for name, what in rows:
        same[what].append(name)
    return [f"  {', '.join(names)}: {what}" for what, names in same.items()]


def _hosts(stage: Stage) -> list[tuple[str, Host]]:
    return [(name, stage.registered(name)) for name in stage.hosts]


def _host(stage: Stage, name: str, row: Host) -> str:
    marks = host_marks(row.on_maintenance, row.maintenance_by, row.reserved, row.taken_by)
    if name not in stage.cloud.state.hosts:
        return f"unknown to Nova, {marks}"
    service = stage.service(name)
    up = "up" if stage.cloud.state.is_up(service) else "down"
    forced = ", forced down" if service.forced_down else ""
    disabled = f", disabled ({service.disabled_reason})" if service.disabled else ""
    return f"{up}{forced}{disabled}, {marks}"


def _servers(stage: Stage) -> list[Server]:
    state = stage.cloud.state
    return sorted([*state.servers.values(), *state.deleted], key=lambda server: server.number)


def _server(stage: Stage, server: Server) -> str:
    if server.deleted is not None:
        return "deleted"
    parts = [f"{server.vm_state} on {server.host}"]
    if server.task_state:
        parts.append(f"task_state {server.task_state}")
    if server.vm_state == "active" and not server.guest_up:
        parts.append("its guest is dead")
    if server.locked_by:
        parts.append(f"LOCKED by {server.locked_by} ({server.locked_reason})")
    records = stage.cloud.state.migrations_of[server.uuid]
    count = sum(record.migration_type == "evacuation" for record in records)
    if count:
        parts.append(f"evacuated {count} times" if count > 1 else "evacuated once")
    return ", ".join(parts)
