# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/control: hosts that die, injected faults, counters.  Needs no authentication.

POST   /control/hosts/{name}/kill       {"guests_survive": true}; the power stays on
POST   /control/hosts/{name}/revive
POST   /control/hosts/{name}/power      {"power": "off"}: it is lost, or somebody's finger
POST   /control/hosts/{name}/agents     {"alive": false}: Neutron does not hear its agents
GET    /control/bmcs          GET       /control/bmcs/{name}
PUT    /control/bmcs/{name}             {"mode", "delay_s", "identity", "box"}; see bmc.py
POST   /control/servers                 {"count", "hosts", "metadata", "vm_state", ...}
PUT    /control/servers/{id}            {"vm_state", "task_state", "locked", ...}
POST   /control/servers/{id}/crash
POST   /control/servers/{id}/live-migrate {"host": "compute2", "status": "running"}
PUT    /control/faults                  {"slow", "clock_ahead_s", "unavailable", "cells_down",
                                         "evacuations", "calls"}; see sandbox/README.md
GET    /control/faults        DELETE    /control/faults
GET    /control/requests      DELETE    /control/requests
GET    /control/state         GET       /control/settings
GET    /control/evacuations
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

from hacore_sandbox.bmc import Bmc
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.faults import BadFault
from hacore_sandbox.identity import ACCOUNTS, id_of
from hacore_sandbox.model import LIVE_STATUSES, Refused, Server
from hacore_sandbox.wire import Answer, Call, Json, Response


class Counters:
    """How many calls were answered, by outcome."""

    def __init__(self) -> None:
        self._counts: collections.Counter[tuple[str, str, str, str]] = collections.Counter()

    def add(self, service: str, method: str, route: str, response: Response) -> None:
        outcome = "dropped" if response.drop else str(response.status)
        self._counts[service, method, route, outcome] += 1

    def reset(self) -> None:
        self._counts.clear()

    def describe(self) -> Json:
        rows = [
            {"service": key[0], "method": key[1], "route": key[2], "outcome": key[3], "count": n}
            for key, n in sorted(self._counts.items())
        ]
        return {"total": self._counts.total(), "requests": rows}


class Control:
    """The calls of the control API, one method each."""

    def __init__(self, cloud: Cloud, counters: Counters) -> None:
        self._cloud = cloud
        self._counters = counters

    def routes(self) -> list[tuple[str, str, Callable[[Call], Answer]]]:
        return [
            ("/control/hosts/{name}/kill", "POST", self.kill),
            ("/control/hosts/{name}/revive", "POST", self.revive),
            ("/control/hosts/{name}/power", "POST", self.power),
            ("/control/hosts/{name}/agents", "POST", self.agents),
            ("/control/bmcs", "GET", self.bmcs),
            ("/control/bmcs/{name}", "GET", self.bmc),
            ("/control/bmcs/{name}", "PUT", self.set_bmc),
            ("/control/servers", "POST", self.create),
            ("/control/servers/{id}", "PUT", self.set_states),
            ("/control/servers/{id}/crash", "POST", self.crash),
            ("/control/servers/{id}/live-migrate", "POST", self.live_migrate),
            ("/control/faults", "GET", self.faults),
            ("/control/faults", "PUT", self.set_faults),
            ("/control/faults", "DELETE", self.clear_faults),
            ("/control/requests", "GET", self.requests),
            ("/control/requests", "DELETE", self.reset_requests),
            ("/control/state", "GET", self.state),
            ("/control/evacuations", "GET", self.evacuations),
            ("/control/settings", "GET", self.settings),
        ]

    # -- hosts and servers

    def kill(self, call: Call) -> Answer:
        body = _body(call, "guests_survive")
        survive = bool(body.get("guests_survive", True))
        self._cloud.kill(call.ids["name"], guests_survive=survive)
        return Answer(status=204)

    def revive(self, call: Call) -> Answer:
        self._cloud.revive(call.ids["name"])
        return Answer(status=204)

    def power(self, call: Call) -> Answer:
        power = _body(call, "power").get("power")
        if power not in ("on", "off"):
            raise Refused(400, "power must be on or off")
        self._cloud.switch(call.ids["name"], power == "on")
        return Answer(status=204)

    def agents(self, call: Call) -> Answer:
        alive = _body(call, "alive").get("alive")
        if not isinstance(alive, bool):
            raise Refused(400, "alive must be true or false")
        self._cloud.state.host(call.ids["name"]).agents_alive = alive
        return Answer(status=204)

    def bmcs(self, call: Call) -> Answer:
        del call
        return Answer({"bmcs": [self._shown_bmc(bmc) for bmc in self._cloud.bmcs.all()]})

    def bmc(self, call: Call) -> Answer:
        return Answer(self._shown_bmc(self._cloud.bmcs.get(call.ids["name"])))

    def set_bmc(self, call: Call) -> Answer:
        values = _body(call, "mode", "delay_s", "identity", "box")
        return Answer(self._shown_bmc(self._cloud.bmcs.change(call.ids["name"], values)))

    def create(self, call: Call) -> Answer:
        body = _body(
            call, "count", "hosts", "name", "metadata", "vm_state", "project", "user", "states"
        )
        count = body.get("count", 1)
        if not isinstance(count, int) or count < 0:
            raise Refused(400, "count must be an integer that is not negative")
        user = str(body.get("user", "demo"))
        if user not in ACCOUNTS:
            raise Refused(400, f"unknown user {user!r}; known: {', '.join(ACCOUNTS)}")
        project = str(body.get("project", ACCOUNTS[user].project))
        metadata = {str(k): str(v) for k, v in (body.get("metadata") or {}).items()}
        made = self._cloud.fill(
            count,
            id_of("project", project),
            id_of("user", user),
            body.get("hosts"),
            name=str(body.get("name", "vm")),
            metadata=metadata,
            vm_state=str(body.get("vm_state", "active")),
        )
        for server in made:
            self._write(server, body.get("states") or {})
        return Answer({"ids": [server.uuid for server in made]}, status=201)

    def set_states(self, call: Call) -> Answer:
        server = self._cloud.state.server(call.ids["id"])
        self._write(server, _body(call))
        return Answer(self._shown(server))

    def _write(self, server: Server, states: dict[str, Any]) -> None:
        known = {"vm_state", "task_state", "power_state", "locked", "locked_reason", "metadata"}
        if unknown := set(states) - known:
            raise Refused(400, f"unknown key {min(unknown)!r}; known: {', '.join(sorted(known))}")
        self._cloud.lifecycle.set_states(server, states)
        if "locked" in states:
            # true means locked by the owner; hacore locks as an admin
            who = "owner" if states["locked"] is True else states["locked"]
            if who not in (None, False, "owner", "admin"):
                raise Refused(400, "locked must be true, false, 'owner' or 'admin'")
            server.locked_by = who or None
            server.locked_reason = states.get("locked_reason") if who else None
        if "metadata" in states:
            server.metadata = {str(k): str(v) for k, v in (states["metadata"] or {}).items()}

    def crash(self, call: Call) -> Answer:
        self._cloud.lifecycle.crash(self._cloud.state.server(call.ids["id"]))
        return Answer(status=204)

    def live_migrate(self, call: Call) -> Answer:
        body, server = _body(call, "host", "status"), self._cloud.state.server(call.ids["id"])
        status = body.get("status", "running")
        if status not in LIVE_STATUSES:
            raise Refused(400, f"status must be one of {', '.join(LIVE_STATUSES)}")
        self._cloud.live_migrate(server, str(body.get("host")), status)
        return Answer(status=204)

    # -- faults, counters, state

    def faults(self, call: Call) -> Answer:
        del call
        return Answer(self._cloud.faults.describe(self._cloud.now))

    def set_faults(self, call: Call) -> Answer:
        body = call.json()
        try:
            for host in body.get("cells_down", ()):
                self._cloud.state.host(host)
            self._cloud.faults.put(body, self._cloud.now)
        except (BadFault, TypeError, ValueError) as exc:
            raise Refused(400, str(exc)) from exc
        return self.faults(call)

    def clear_faults(self, call: Call) -> Answer:
        del call
        self._cloud.faults.clear()
        return Answer(status=204)

    def requests(self, call: Call) -> Answer:
        del call
        return Answer(self._counters.describe())

    def reset_requests(self, call: Call) -> Answer:
        del call
        self._counters.reset()
        return Answer(status=204)

    def settings(self, call: Call) -> Answer:
        del call
        return Answer(dataclasses.asdict(self._cloud.settings))

    def state(self, call: Call) -> Answer:
        """The whole cloud; with ?host= only the servers of that host."""
        state = self._cloud.state
        hosts = [
            {
                "name": host.name,
                "alive": host.service.alive,
                "power": "on" if host.powered else "off",
                "state": "up" if state.is_up(host.service) else "down",
                "status": "disabled" if host.service.disabled else "enabled",
                "disabled_reason": host.service.disabled_reason,
                "forced_down": host.service.forced_down,
                "servers": len(state.on_host[host.name]),
            }
            for host in state.hosts.values()
        ]
        servers = state.servers_from(call.param("host"), None)
        return Answer(
            {
                "now": round(state.now, 3),
                "hosts": hosts,
                "servers": [self._shown(server) for server in servers],
                "migrations": collections.Counter(m.status for m in state.migrations),
                "evacuations_in_flight": self._cloud.evacuations.in_flight,
            }
        )

    def evacuations(self, call: Call) -> Answer:
        """Every evacuate call that was accepted, and when, in seconds of Unix time."""
        del call
        state = self._cloud.state
        rows = [
            {
                "server": migration.server.uuid,
                "source": migration.source_compute,
                "at": state.timeline.at(migration.created).timestamp(),
            }
            for migration in state.migrations
            if migration.migration_type == "evacuation"
        ]
        return Answer({"evacuations": rows})

    def _shown_bmc(self, bmc: Bmc) -> Json:
        timeline = self._cloud.state.timeline
        orders = [
            {"at": timeline.at(order.at).timestamp(), "user": order.user, "power": order.power}
            for order in bmc.orders
        ]
        return {
            "name": bmc.name,
            "box": bmc.box,
            "mode": bmc.mode,
            "delay_s": bmc.delay_s,
            "power": self._cloud.bmcs.power(bmc),
            "identity": self._cloud.bmcs.identity(bmc),
            "orders": orders,
        }

    def _shown(self, server: Server) -> Json:
        return {
            "id": server.uuid,
            "name": server.name,
            "host": server.host,
            "status": server.status,
            "vm_state": server.vm_state,
            "task_state": server.task_state,
            "power_state": server.power_state,
            "guest_up": server.guest_up,
            "locked": server.locked_by is not None,
            "locked_by": server.locked_by,
            "metadata": dict(server.metadata),
        }


def _body(call: Call, *known: str) -> dict[str, Any]:
    """The body, or {} without one; Refused for a key that is not in `known`, if given."""
    if not call.raw_body.strip():
        return {}
    body = call.json()
    if known and (unknown := set(body) - set(known)):
        raise Refused(400, f"unknown key {min(unknown)!r}; known: {', '.join(known)}")
    return body
