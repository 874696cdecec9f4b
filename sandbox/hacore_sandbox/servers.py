# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The Compute API's calls on servers, flavors and limits."""

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hacore_sandbox.cloud import Cloud
from hacore_sandbox.hosts import next_link
from hacore_sandbox.model import FLAVORS, STATUSES, Refused, Server
from hacore_sandbox.server_actions import RECORDED_AS, ServerActions
from hacore_sandbox.state import list_order
from hacore_sandbox.views import Views, flavor, links
from hacore_sandbox.wire import TRUE, Answer, Call, Json

#: nova/api/openstack/compute/schemas/servers.py: from 2.75 on every other name is refused.
QUERY = frozenset({
    "user_id", "project_id", "tenant_id", "launch_index", "image_ref", "image", "kernel_id",
    "ramdisk_id", "hostname", "key_name", "power_state", "vm_state", "task_state", "host", "node",
    "flavor", "reservation_id", "launched_at", "terminated_at", "availability_zone", "name",
    "display_name", "description", "display_description", "locked_by", "uuid", "root_device_name",
    "config_drive", "access_ip_v4", "access_ip_v6", "auto_disk_config", "progress", "sort_key",
    "sort_dir", "all_tenants", "soft_deleted", "deleted", "status", "changes-since",
    "changes-before", "ip", "ip6", "created_at", "tags", "tags-any", "not-tags", "not-tags-any",
    "locked", "limit", "marker",
})  # fmt: skip
#: Filters by what Nova knows of a server whose cell is down.
_MAPPED = frozenset({"all_tenants", "project_id", "tenant_id"})
_REBUILD_TASKS = ("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning")


@dataclasses.dataclass(frozen=True)
class ServerFilter:
    """The filters of a server list."""

    host: str | None
    project_id: str | None
    vm_states: frozenset[str] | None
    task_states: frozenset[str] | None
    name: re.Pattern[str] | None
    uuids: frozenset[str] | None
    locked: bool | None
    deleted: bool | None
    since: datetime.datetime | None
    before: datetime.datetime | None

    def matches(self, server: Server, views: Views) -> bool:
        if self.project_id is not None and server.project_id != self.project_id:
            return False
        if self.vm_states is not None and server.vm_state not in self.vm_states:
            return False
        if self.task_states is not None and server.task_state not in self.task_states:
            return False
        if self.name is not None and self.name.search(server.name) is None:
            return False
        if self.uuids is not None and server.uuid not in self.uuids:
            return False
        if self.locked is not None and self.locked != bool(server.locked_by):
            return False
        if self.since is None and self.before is None:
            return True
        changed = views.stored(server.updated)
        since_ok = self.since is None or changed >= self.since
        return since_ok and (self.before is None or changed <= self.before)


class Servers:
    """The calls, one method each."""

    def __init__(self, cloud: Cloud, views: Views) -> None:
        self._cloud = cloud
        self._state = cloud.state
        self._views = views
        self.records = ServerActions(cloud.state, views)
        self._actions: dict[str, Callable[[Server, Any, Call], Answer]] = {
            "lock": self._lock,
            "unlock": self._unlock,
            "os-stop": self._stop,
            "os-start": self._start,
            "os-resetState": self._reset_state,
            "evacuate": self._evacuate,
            "reboot": self._reboot,
        }

    # -- lists

    def index(self, call: Call) -> Answer:
        return self._list(call, "servers", self._views.server_basic)

    def detail(self, call: Call) -> Answer:
        def shown(server: Server, call: Call) -> Json:
            return self._views.server(server, call, alone=False)

        return self._list(call, "servers/detail", shown)

    def _list(self, call: Call, path: str, shown: Callable[[Server, Call], Json]) -> Answer:
        limit = call.limit_param(self._state.settings.max_limit)
        wanted = self._wanted(call, "detail" if path.endswith("detail") else "index")
        found: list[Json] = []
        last = None
        if wanted is not None and limit:
            # nothing can be said of a filter, an order or a page of what is not reached
            partial = call.version >= (2, 69) and _MAPPED.issuperset(dict(call.query))
            for server in self._matching(wanted, self._marker(call)):
                if not partial and not self._state.reachable(server.host):
                    continue
                found.append(shown(server, call))
                last = server.uuid
                if len(found) == limit:
                    break
        body: dict[str, Json] = {"servers": found}
        if last and len(found) == limit:
            body["servers_links"] = next_link(call, path, last)
        return Answer(body, rows=len(found))

    def _marker(self, call: Call) -> Server | None:
        marker = call.param("marker")
        if marker is None:
            return None
        if marker in self._state.servers:
            return self._state.servers[marker]
        for server in self._state.deleted:
            if server.uuid == marker:
                return server
        raise Refused(400, f"marker [{marker}] not found")

    def _matching(self, wanted: ServerFilter, marker: Server | None) -> Iterator[Server]:
        known: Iterable[Server] = ()
        if wanted.deleted is not True:
            known = self._state.servers_from(wanted.host, marker)
        if wanted.deleted is not False:
            gone = [
                server
                for server in self._state.deleted
                if (wanted.host is None or server.host == wanted.host)
                and (marker is None or list_order(server) > list_order(marker))
            ]
            known = sorted([*known, *gone], key=list_order)
        for server in known:
            if wanted.matches(server, self._views):
                yield server

    def _wanted(self, call: Call, view: str) -> ServerFilter | None:
        """The filters; None if nothing can match."""
        admin = call.who.is_admin
        if call.version >= (2, 75):
            for name, _ in call.query:
                if name not in QUERY:
                    raise Refused(400, f"{name!r} does not match any of the regexes: '^_'")
        all_tenants = (call.param("all_tenants") or "0").lower() in (*TRUE, "")
        if all_tenants and not admin:
            rule = f"os_compute_api:servers:{view}:get_all_tenants"
            raise Refused(403, f"Policy doesn't allow {rule} to be performed.")
        project = call.param("project_id") or call.param("tenant_id")
        vm_states, task_states = self._states(call)
        if vm_states is not None and not vm_states:
            return None
        locked = call.param("locked") if call.version >= (2, 73) else None
        since, before = call.time_param("changes-since"), call.time_param("changes-before")
        changes = since is not None or before is not None
        deleted = call.param("deleted") if admin else None
        uuids = call.params("uuid")
        return ServerFilter(
            host=call.param("host") if admin else None,
            project_id=project if all_tenants else call.who.project_id,
            vm_states=vm_states,
            task_states=task_states,
            name=_pattern(call.param("name") or call.param("display_name")),
            uuids=frozenset(uuids) if uuids else None,
            locked=None if locked is None else locked.lower() in TRUE,
            deleted=deleted.lower() in TRUE if deleted else (None if changes else False),
            since=since,
            before=before,
        )

    def _states(self, call: Call) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        """`status` as vm_states and task_states, as nova translates it."""
        statuses = {status.upper() for status in call.params("status")}
        vm_states = call.params("vm_state") if call.who.is_admin else []
        task_states = call.params("task_state") if call.who.is_admin else []
        if not statuses:
            return (
                frozenset(vm_states) if vm_states else None,
                frozenset(task_states) if task_states else None,
            )
        plain = {state for state, (status, _) in STATUSES.items() if status in statuses}
        busy = {state for state, (_, tasks) in STATUSES.items() if statuses & set(tasks.values())}
        if plain:
            return frozenset(plain | busy), None
        if not busy and call.version >= (2, 38):
            raise Refused(400, "Invalid status value")
        tasks = frozenset(_REBUILD_TASKS if "REBUILD" in statuses else ("migrating",))
        return frozenset(busy), tasks

    # -- one server

    def _server(self, call: Call, *, partial: bool = False) -> Server:
        """The server; `partial`: also if all but its mapping is in a cell that is down."""
        server = self._state.server(call.ids["id"])
        if not call.who.is_admin and server.project_id != call.who.project_id:
            raise Refused(404, f"Instance {call.ids['id']} could not be found.")
        if not partial:
            self._state.check_cell(server.host)
        return server

    def show(self, call: Call) -> Answer:
        server = self._server(call, partial=call.version >= (2, 69))
        return Answer({"server": self._views.server(server, call)})

    def create(self, call: Call) -> Answer:
        wanted = call.json().get("server")
        if not isinstance(wanted, dict) or not wanted.get("name"):
            raise Refused(400, "Invalid input for field/attribute server.")
        host = wanted.get("host")
        if host is not None and (not call.who.is_admin or call.version < (2, 74)):
            message = "Additional properties are not allowed ('host' was unexpected)"
            raise Refused(400, f"Invalid input for field/attribute server. {message}")
        zone = str(wanted.get("availability_zone") or "")
        if ":" in zone and call.who.is_admin:
            host = zone.split(":")[1]
        if host is not None and host not in self._state.hosts:
            raise Refused(400, f"Compute host {host} could not be found.")
        count = int(wanted.get("min_count") or 1)
        who, name = call.who, wanted["name"]
        made = [
            self._cloud.boot(
                name if count == 1 else f"{name}-{number}",
                who.project_id,
                who.user_id,
                host,
                wanted.get("metadata"),
            )
            for number in range(1, count + 1)
        ]
        shown = {
            "id": made[0].uuid,
            "links": links(call, f"servers/{made[0].uuid}"),
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [{"name": "default"}],
            "adminPass": "sandbox",
        }
        return Answer({"server": shown}, status=202)

    def delete(self, call: Call) -> Answer:
        server = self._server(call)
        self._cloud.lifecycle.delete(server, call.who)
        self.records.record(server, "delete", call)
        return Answer(status=204)

    def metadata(self, call: Call) -> Answer:
        return Answer({"metadata": dict(self._server(call).metadata)})

    def update_metadata(self, call: Call) -> Answer:
        server = self._server(call)
        values = call.json().get("metadata")
        if not isinstance(values, dict):
            raise Refused(400, "Malformed request body")
        new = {str(name): str(value) for name, value in values.items()}
        server.metadata = new if call.method == "PUT" else server.metadata | new
        return Answer({"metadata": dict(server.metadata)})

    def delete_metadata(self, call: Call) -> Answer:
        server = self._server(call)
        if call.ids["key"] not in server.metadata:
            raise Refused(404, "Metadata item was not found")
        del server.metadata[call.ids["key"]]
        return Answer(status=204)

    def migrations(self, call: Call) -> Answer:
        """Nova lists running live migrations here; the sandbox has none."""
        self._server(call)
        return Answer({"migrations": []})

    # -- actions

    def act(self, call: Call) -> Answer:
        body = call.json()
        if len(body) != 1:
            raise Refused(400, "Malformed request body")
        ((name, values),) = body.items()
        action = self._actions.get(name)
        if action is None:
            raise Refused(400, f"There is no such action: {name}")
        server = self._server(call)
        if name in ("evacuate", "os-resetState") and not call.who.is_admin:
            rule = "os-evacuate" if name == "evacuate" else "os-admin-actions:reset_state"
            raise Refused(403, f"Policy doesn't allow os_compute_api:{rule} to be performed.")
        # nova: the lock of a locked server by its owner does nothing
        nothing = name == "lock" and server.locked_by and server.project_id == call.who.project_id
        answer = action(server, values, call)
        if not nothing:
            self.records.record(server, RECORDED_AS[name], call)
        return answer

    def _lock(self, server: Server, values: Any, call: Call) -> Answer:
        reason = None
        if call.version >= (2, 73) and isinstance(values, dict):
            reason = values.get("locked_reason")
        self._cloud.lifecycle.lock(server, call.who, reason)
        return Answer(status=202)

    def _unlock(self, server: Server, values: Any, call: Call) -> Answer:
        del values
        self._cloud.lifecycle.unlock(server, call.who)
        return Answer(status=202)

    def _stop(self, server: Server, values: Any, call: Call) -> Answer:
        del values
        self._cloud.lifecycle.stop(server, call.who)
        return Answer(status=202)

    def _start(self, server: Server, values: Any, call: Call) -> Answer:
        del values
        self._cloud.lifecycle.start(server, call.who)
        return Answer(status=202)

    def _reboot(self, server: Server, values: Any, call: Call) -> Answer:
        kind = str(values.get("type", "")).upper() if isinstance(values, dict) else ""
        if kind not in ("SOFT", "HARD"):
            raise Refused(400, f"Invalid input for field/attribute reboot. Value: {values}.")
        self._cloud.lifecycle.reboot(server, call.who, hard=kind == "HARD")
        return Answer(status=202)

    def _reset_state(self, server: Server, values: Any, call: Call) -> Answer:
        del call
        state = values.get("state") if isinstance(values, dict) else None
        if state not in ("active", "error"):
            raise Refused(
                400,
                f"Invalid input for field/attribute state. Value: {state}. "
                f"{state!r} is not one of ['active', 'error']",
            )
        self._cloud.lifecycle.reset_state(server, state)
        return Answer(status=202)

    def _evacuate(self, server: Server, values: Any, call: Call) -> Answer:
        if not isinstance(values, dict):
            raise Refused(400, f"Invalid input for field/attribute evacuate. Value: {values}.")
        self._check_evacuate(values, call)
        target = values.get("host")
        forced = str(values.get("force", False)).lower() in TRUE
        if forced and not target:
            raise Refused(400, "Can't force to a non-provided destination")
        self._cloud.evacuations.request(
            server,
            target,
            # before 2.29 a target host was always forced
            forced=bool(target) and (forced or call.version < (2, 29)),
            end_stopped=call.version >= (2, 95),
        )
        return Answer({"adminPass": "sandbox"} if call.version < (2, 14) else None)

    def _check_evacuate(self, values: dict[str, Any], call: Call) -> None:
        known = {"host", "adminPass"}
        if call.version < (2, 14):
            known |= {"onSharedStorage"}
            if "onSharedStorage" not in values:
                message = "'onSharedStorage' is a required property"
                raise Refused(400, f"Invalid input for field/attribute evacuate. {message}")
        if (2, 29) <= call.version < (2, 68):
            known |= {"force"}
        for name in values:
            if name not in known:
                raise Refused(
                    400,
                    f"Invalid input for field/attribute evacuate. Value: {values}. "
                    f"Additional properties are not allowed ({name!r} was unexpected)",
                )

    # -- flavors and limits

    def flavors(self, call: Call) -> Answer:
        shown = [
            {"id": known.id, "name": known.name, "links": links(call, f"flavors/{known.id}")}
            for known in FLAVORS.values()
        ]
        return Answer({"flavors": shown})

    def flavors_detail(self, call: Call) -> Answer:
        return Answer({"flavors": [flavor(known, call) for known in FLAVORS.values()]})

    def flavor(self, call: Call) -> Answer:
        wanted = call.ids["id"]
        if wanted not in FLAVORS:
            raise Refused(404, f"Flavor {wanted} could not be found.")
        return Answer({"flavor": flavor(FLAVORS[wanted], call)})

    def limits(self, call: Call) -> Answer:
        del call
        absolute = {
            "maxTotalCores": -1,
            "maxTotalInstances": -1,
            "maxTotalRAMSize": -1,
            "maxServerMeta": 128,
            "totalInstancesUsed": len(self._state.servers),
        }
        return Answer({"limits": {"rate": [], "absolute": absolute}})


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        return re.compile(text)
    except re.error:
        return re.compile(re.escape(text))
