# Licensed under the Apache License, Version 2.0; see LICENSE.
"""given.yaml: what there is before anything happens.  README.md lists the keys."""

from pathlib import Path
from typing import Any

from tests import factories
from tests.devices import Devices
from tests.scenarios.stage import Stage

_KEYS = {"cloud", "segments", "instances", "aggregates", "conf", "watched", "devices"}
_HA = {"HA_Enabled": "True"}


def build(given: dict[str, Any] | None, folder: Path) -> Stage:
    """Make the world that `given` describes."""
    given = given or {}
    if unknown := set(given) - _KEYS:
        raise ValueError(
            f"given.yaml: unknown key {min(unknown)!r}; known: {', '.join(sorted(_KEYS))}"
        )
    cloud = dict(given.get("cloud") or {})
    hosts = cloud.pop("hosts", {}) or {}
    if "size" in cloud:
        cloud["hosts"] = cloud.pop("size")
    stage = Stage(folder, given.get("conf") or {}, cloud)
    stage.always_looks = bool(given.get("watched"))
    if hosts_with_devices := given.get("devices"):
        stage.devices = Devices(stage.conf, stage.cloud, hosts_with_devices)
    for service in stage.cloud.state.services.values():
        stage.log.names[service.uuid] = f"{service.binary}@{service.host}"
    _segments(stage, given.get("segments") or {"segment1": {}})
    for name, values in hosts.items():
        _cloud_host(stage, name, values)
    for name, values in (given.get("instances") or {}).items():
        _instances(stage, name, dict(values or {}))
    for name, members in (given.get("aggregates") or {}).items():
        stage.cloud.state.add_aggregate(name, None).hosts.extend(members)
    return stage


def _segments(stage: Stage, segments: dict[str, Any]) -> None:
    """Segments with hosts; one that lists none has all of the cloud's."""
    for name, values in segments.items():
        values = dict(values or {})
        hosts = values.pop("hosts", list(stage.cloud.state.hosts))
        if isinstance(hosts, list):
            hosts = dict.fromkeys(hosts)
        row = factories.segment(stage.db, name=name, **values)
        stage.log.names[row.uuid] = name
        for host, attributes in hosts.items():
            registered = factories.host(stage.db, host, segment_uuid=row.uuid, **(attributes or {}))
            stage.hosts[host] = registered
            stage.log.names[registered.uuid] = host


def _cloud_host(stage: Stage, name: str, values: dict[str, Any]) -> None:
    host = stage.cloud.state.host(name)
    for key, value in values.items():
        if key == "disabled":
            host.service.disabled = value
        elif key == "capacity":
            host.capacity = value
        elif key == "forced_down":
            host.service.forced_down = value
        elif key == "dead" and value:
            stage.kill(name)
            host.service.last_report = float("-inf")  # long ago
        else:
            raise ValueError(f"given.yaml: cloud.hosts.{name}: unknown {key!r}")


def _instances(stage: Stage, name: str, values: dict[str, Any]) -> None:
    count = values.pop("count", None)
    host = values.pop("host", "compute1")
    metadata = values.pop("metadata", _HA)
    uuids = stage.boot(count or 1, host, name=name, metadata=metadata, states=values)
    for number, uuid in enumerate(uuids, 1):
        server = stage.cloud.state.servers[uuid]
        server.name = name if count is None else f"{name}-{number}"
        stage.log.names[uuid] = server.name
