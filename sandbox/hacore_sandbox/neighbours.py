# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The little of Neutron and Placement that hacore reads; the catalogue has them where asked for."""

from hacore_sandbox.model import Host, Refused
from hacore_sandbox.state import State
from hacore_sandbox.wire import Answer, Call

_RESOURCES = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
_AGENTS = (("Open vSwitch agent", "neutron-openvswitch-agent"), ("Metadata agent", "metadata"))


class Neighbours:
    """The calls, one method each."""

    def __init__(self, state: State) -> None:
        self._state = state

    def agents(self, call: Call) -> Answer:
        wanted = call.param("host")
        shown = [
            {
                "id": f"{binary}@{host.name}",
                "agent_type": kind,
                "binary": binary,
                "host": host.name,
                "admin_state_up": True,
                "alive": host.service.alive and host.agents_alive,
            }
            for host in self._state.hosts.values()
            for kind, binary in _AGENTS
            if wanted in (None, host.name)
        ]
        return Answer({"agents": shown}, rows=len(shown))

    def traits(self, call: Call) -> Answer:
        barred = self._provider(call).barred
        traits = ["COMPUTE_NODE"] + ["COMPUTE_STATUS_DISABLED"] * barred
        return Answer({"traits": traits, "resource_provider_generation": 1})

    def allocations(self, call: Call) -> Answer:
        host = self._provider(call)
        servers = self._state.servers.values()
        on_it = [server.uuid for server in servers if server.host == host.name]
        shown = {each: {"resources": dict(_RESOURCES)} for each in (*on_it, *host.leftovers)}
        return Answer({"allocations": shown, "resource_provider_generation": 1})

    def _provider(self, call: Call) -> Host:
        wanted = call.ids["id"]
        for host in self._state.hosts.values():
            if host.node_uuid == wanted:
                return host
        raise Refused(404, f"No resource provider with uuid {wanted} found")
