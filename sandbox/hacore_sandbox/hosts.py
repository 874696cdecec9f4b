# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The Compute API's calls on services, hypervisors, migrations and aggregates.

All are for administrators; rest.py checks that.
"""

import datetime
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from hacore_sandbox.cloud import Cloud
from hacore_sandbox.model import Aggregate, Host, Migration, Refused, Service
from hacore_sandbox.views import Views
from hacore_sandbox.wire import TRUE, Answer, Call, Json

_FALSE = ("0", "f", "false", "off", "n", "no")
_MIGRATION_FILTERS = {
    "hidden", "host", "instance_uuid", "source_compute", "status", "migration_type"
}  # fmt: skip


class Hosts:
    """The calls, one method each."""

    def __init__(self, cloud: Cloud, views: Views) -> None:
        self._cloud = cloud
        self._state = cloud.state
        self._views = views

    # -- services

    def services(self, call: Call) -> Answer:
        host, binary = call.param("host"), call.param("binary")
        if host and host in self._state.hosts:
            known = [self._state.hosts[host].service]
        else:
            known = list(self._state.services.values())
        shown = [
            self._views.service(service, call.version)
            for service in known
            # in a cell that is down it is known from its host mapping only, since 2.69
            if (call.version >= (2, 69) or self._state.reachable(service.host))
            and (not host or service.host == host)
            and (not binary or service.binary == binary)
        ]
        return Answer({"services": shown}, rows=len(shown))

    def update_service(self, call: Call) -> Answer:
        if call.version < (2, 53):
            return self._update_by_host(call)
        body = call.json()
        _check_properties(body, ("status", "disabled_reason", "forced_down"))
        status = body.get("status", "enabled")
        if status not in ("enabled", "disabled"):
            raise Refused(
                400,
                f"Invalid input for field/attribute status. Value: {status}. "
                f"{status!r} is not one of ['enabled', 'disabled']",
            )
        service = self._service(call.ids["id"])
        changes: dict[str, bool | str | None] = {}
        if "status" in body:
            reason = body.get("disabled_reason")
            if status == "enabled" and reason:
                message = "Specifying 'disabled_reason' with status 'enabled' is invalid."
                raise Refused(400, message)
            changes = {"disabled": status == "disabled", "disabled_reason": reason}
        if "forced_down" in body:
            changes["forced_down"] = self._forced_down(service, body["forced_down"])
        if not changes:
            raise Refused(
                400,
                "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
            )
        delay_s = self._cloud.update_service(service, changes)
        return Answer({"service": self._views.service(service, call.version)}, delay_s=delay_s)

    def _service(self, service_uuid: str) -> Service:
        try:
            uuid.UUID(service_uuid)
        except ValueError:
            raise Refused(400, f"Invalid uuid {service_uuid}") from None
        service = self._state.services.get(service_uuid)
        if service is None:
            raise Refused(404, f"Service {service_uuid} could not be found.")
        if service.binary != "nova-compute":
            raise _not_updatable(service.binary)
        self._state.check_cell(service.host)
        return service

    def _update_by_host(self, call: Call) -> Answer:
        """Before 2.53 the action is in the path and the service in the body."""
        body = call.json()
        host, binary, action = body.get("host"), body.get("binary"), call.ids["id"]
        shown: dict[str, Json] = {"host": host, "binary": binary}
        if action not in ("enable", "disable", "disable-log-reason", "force-down"):
            raise Refused(404, "Unknown action")
        if binary != "nova-compute":
            raise _not_updatable(str(binary))
        if host not in self._state.hosts:
            raise Refused(404, f"Host '{host}' is not mapped to any cell")
        self._state.check_cell(host)
        service = self._state.hosts[host].service
        changes: dict[str, bool | str | None]
        if action == "force-down":
            if "forced_down" not in body or call.version < (2, 11):
                raise Refused(400, "Missing forced_down field")
            forced_down = self._forced_down(service, body["forced_down"])
            changes = {"forced_down": forced_down}
            shown["forced_down"] = forced_down
        else:
            reason = body.get("disabled_reason")
            if action == "disable-log-reason" and not reason:
                raise Refused(400, "Missing disabled reason field")
            reason = reason if action == "disable-log-reason" else None
            changes = {"disabled": action != "enable", "disabled_reason": reason}
            shown["status"] = "enabled" if action == "enable" else "disabled"
            if reason:
                shown["disabled_reason"] = reason
        return Answer({"service": shown}, delay_s=self._cloud.update_service(service, changes))

    def _forced_down(self, service: Service, value: Json) -> bool:
        word = str(value).lower()
        if word not in TRUE + _FALSE:
            message = f"Invalid input for field/attribute forced_down. Value: {value}."
            raise Refused(400, message)
        if word in _FALSE and any(
            migration.status == "done" and migration.migration_type == "evacuation"
            for migration in self._state.migrations_from[service.host]
        ):
            raise Refused(
                400,
                f"Unable to force up host {service.host} as `done` evacuation migration records "
                "remain associated with the host. Ensure the compute service has been "
                "restarted, allowing these records to move to `completed` before retrying this "
                "request.",
            )
        return word in TRUE

    # -- hypervisors

    def hypervisors(self, call: Call) -> Answer:
        hosts = self._hypervisors(call)
        shown = [self._views.hypervisor(host, call.version) for host in hosts]
        return Answer({"hypervisors": shown}, rows=len(shown))

    def hypervisors_detail(self, call: Call) -> Answer:
        hosts = self._hypervisors(call)
        shown = [self._views.hypervisor_detail(host, call.version) for host in hosts]
        return Answer({"hypervisors": shown}, rows=len(shown))

    def hypervisor(self, call: Call) -> Answer:
        wanted = call.ids["id"]
        for host in self._state.hosts.values():
            if wanted in (host.node_uuid, str(host.node_id)):
                return Answer({"hypervisor": self._views.hypervisor_detail(host, call.version)})
        raise Refused(404, f"Hypervisor with ID '{wanted}' could not be found.")

    def _hypervisors(self, call: Call) -> list[Host]:
        pattern = call.param("hypervisor_hostname_pattern") or ""
        hosts = [
            host
            for host in self._state.hosts.values()
            if pattern in host.hypervisor_hostname and self._state.reachable(host.name)
        ]
        marker = call.param("marker")
        if marker is not None:
            ids = [host.node_uuid for host in hosts]
            if marker not in ids:
                raise Refused(400, f"marker [{marker}] not found")
            hosts = hosts[ids.index(marker) + 1 :]
        return hosts[: call.limit_param(self._state.settings.max_limit)]

    # -- migrations

    def migrations(self, call: Call) -> Answer:
        paged = call.version >= (2, 59)
        if paged:
            _check_migration_query(call)
        most = self._state.settings.max_limit
        limit = call.limit_param(most) if paged else len(self._state.migrations)
        shown: list[Json] = []
        for migration in self._migrations(call):
            if len(shown) == limit:
                break
            shown.append(self._views.migration(migration, call.version))
        if not paged:
            shown.reverse()  # nova: unsorted, which is by id
        body: dict[str, Json] = {"migrations": shown}
        if paged and shown and len(shown) == limit:
            body["migrations_links"] = next_link(call, "os-migrations", shown[-1]["uuid"])
        return Answer(body, rows=len(shown))

    def _migrations(self, call: Call) -> Iterator[Migration]:
        """The migrations that match the filters, newest first, after the marker."""
        source, instance = call.param("source_compute"), call.param("instance_uuid")
        if instance is not None:
            known = self._state.migrations_of.get(instance, [])
        elif source is not None:
            known = self._state.migrations_from.get(source, [])
        else:
            known = self._state.migrations
        wanted = {
            "source_compute": source,
            "status": call.param("status"),
            "migration_type": call.param("migration_type"),
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        since = before = None
        if call.version >= (2, 59):
            since, before = call.time_param("changes-since"), call.time_param("changes-before")
        passed = self._passed_marker(call)
        for migration in reversed(known):
            if migration.id >= passed or not self._state.reachable(migration.source_compute):
                continue
            if any(getattr(migration, name) != value for name, value in wanted.items()):
                continue
            if not _of_host(migration, call.param("host")) or not _of_people(migration, call):
                continue
            if self._changed_between(migration, since, before):
                yield migration

    def _passed_marker(self, call: Call) -> int:
        marker = call.param("marker")
        if marker is None or call.version < (2, 59):
            return len(self._state.migrations) + 1
        for migration in reversed(self._state.migrations):
            if migration.uuid == marker:
                return migration.id
        raise Refused(400, f"Marker {marker} could not be found.")

    def _changed_between(
        self,
        migration: Migration,
        since: datetime.datetime | None,
        before: datetime.datetime | None,
    ) -> bool:
        if since is None and before is None:
            return True
        if migration.updated is None:
            return False  # nova compares with updated_at, which is NULL at first
        changed = self._views.stored(migration.updated)
        return (since is None or changed >= since) and (before is None or changed <= before)

    # -- aggregates

    def aggregates(self, call: Call) -> Answer:
        known = self._state.aggregates.values()
        shown = [self._views.aggregate(aggregate, call.version) for aggregate in known]
        return Answer({"aggregates": shown}, rows=len(shown))

    def create_aggregate(self, call: Call) -> Answer:
        wanted = call.json().get("aggregate")
        if not isinstance(wanted, dict) or not wanted.get("name"):
            raise Refused(400, "Invalid input for field/attribute aggregate.")
        aggregate = self._state.add_aggregate(wanted["name"], wanted.get("availability_zone"))
        shown = self._views.aggregate(aggregate, call.version, full=False)
        return Answer({"aggregate": shown})

    def aggregate(self, call: Call) -> Answer:
        return self._aggregate_answer(self._aggregate(call), call)

    def delete_aggregate(self, call: Call) -> Answer:
        aggregate = self._aggregate(call)
        if aggregate.hosts:
            raise Refused(
                400,
                f"Cannot remove host from aggregate {aggregate.id}. "
                "Reason: Host aggregate is not empty.",
            )
        del self._state.aggregates[aggregate.id]
        return Answer()

    def act_on_aggregate(self, call: Call) -> Answer:
        body = call.json()
        aggregate = self._aggregate(call)
        action = next(iter(body), None)
        values = body.get(action or "")
        if action == "set_metadata" and isinstance(values, dict):
            metadata = values.get("metadata") or {}
            aggregate.metadata |= {k: str(v) for k, v in metadata.items() if v is not None}
            for name in [k for k, v in metadata.items() if v is None]:
                aggregate.metadata.pop(name, None)
        elif action in ("add_host", "remove_host") and isinstance(values, dict):
            self._change_members(aggregate, action, str(values.get("host")))
        else:
            raise Refused(400, f"There is no such action: {action}")
        return self._aggregate_answer(aggregate, call)

    def _change_members(self, aggregate: Aggregate, action: str, host: str) -> None:
        if action == "add_host":
            self._state.host(host)
            if host in aggregate.hosts:
                raise Refused(409, f"Aggregate {aggregate.id} already has host {host}.")
            aggregate.hosts.append(host)
        else:
            if host not in aggregate.hosts:
                raise Refused(404, f"Cannot remove host {host} in aggregate {aggregate.id}")
            aggregate.hosts.remove(host)

    def _aggregate(self, call: Call) -> Aggregate:
        wanted = call.ids["id"]
        if not wanted.isdigit() or int(wanted) not in self._state.aggregates:
            raise Refused(404, f"Aggregate {wanted} could not be found.")
        return self._state.aggregates[int(wanted)]

    def _aggregate_answer(self, aggregate: Aggregate, call: Call) -> Answer:
        return Answer({"aggregate": self._views.aggregate(aggregate, call.version)})


def next_link(call: Call, path: str, marker: str) -> Json:
    """The link to the next page, which Nova adds to every full page."""
    kept = [(name, value) for name, value in call.query if name != "marker"]
    query = urlencode([*kept, ("marker", marker)])
    return [{"rel": "next", "href": f"{call.base_url}/compute/v2.1/{path}?{query}"}]


def _check_properties(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in body:
        if name not in known:
            message = f"Additional properties are not allowed ({name!r} was unexpected)"
            raise Refused(400, message)


def _check_migration_query(call: Call) -> None:
    known = _MIGRATION_FILTERS | {"limit", "marker", "changes-since"}
    if call.version >= (2, 66):
        known |= {"changes-before"}
    if call.version >= (2, 80):
        known |= {"user_id", "project_id"}
    _check_properties(dict(call.query), tuple(known))
    since, before = call.time_param("changes-since"), call.time_param("changes-before")
    if since and before and before < since:
        raise Refused(
            400, "The value of changes-since must be less than or equal to changes-before."
        )


def _of_host(migration: Migration, host: str | None) -> bool:
    return host is None or host in (migration.source_compute, migration.dest_compute)


def _of_people(migration: Migration, call: Call) -> bool:
    if call.version < (2, 80):
        return True
    user, project = call.param("user_id"), call.param("project_id")
    server = migration.server
    return user in (None, server.user_id) and project in (None, server.project_id)


def _not_updatable(binary: str) -> Refused:
    return Refused(
        400,
        f"Updating a {binary} service is not supported. Only nova-compute services can be updated.",
    )
