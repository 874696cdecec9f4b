# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A simulated cloud that is slow enough to be interrupted, and its Nova."""

import functools
from collections import Counter
from pathlib import Path
from typing import Any

from tests.e2e.daemons import wait_for
from tests.sandbox_process import SandboxProcess

# An evacuation takes 0.3 to 5.7 s: some are under way still when the lease of a dead
# engine has ended (3 s) and another one takes over, some are done, some not begun.
_SETTINGS = ["control_workers=2", "control_work_s=0.1", "spawn_s=3", "jitter=0.9"]
_SETTINGS += ["stop_s=1", "start_s=1"]


class Sandbox(SandboxProcess):
    """A simulated cloud of `hosts` hosts; Nova sees a dead one after a second.

    :param more: settings, such as ``spawn_s=3``.
    """

    def __init__(self, folder: Path, hosts: int, *more: str) -> None:
        settings = [word for setting in (*_SETTINGS, *more) for word in ("--set", setting)]
        super().__init__(folder, ["--preset", "instant", "--hosts", str(hosts), *settings])

    def kill(self, host: str) -> None:
        self.control("POST", f"/hosts/{host}/kill")

    def crash(self, uuid: str) -> None:
        self.control("POST", f"/servers/{uuid}/crash")

    def boot(self, count: int, host: str) -> list[str]:
        body = {"count": count, "hosts": [host], "metadata": {"HA_Enabled": "True"}}
        uuids: list[str] = self.control("POST", "/servers", body)["ids"]
        return uuids

    def servers(self) -> dict[str, Any]:
        return {row["id"]: row for row in self.control("GET", "/state")["servers"]}

    def evacuations(self) -> Counter[str]:
        """How many evacuations Nova has recorded of each instance, the failed ones too."""
        found: Counter[str] = Counter()
        marker = None
        # Nova gives at most 1000 at once
        while page := self.nova.migrations.list(migration_type="evacuation", marker=marker):
            found.update(record.instance_uuid for record in page)
            marker = page[-1].uuid
        return found

    def repair(self, hosts: list[str]) -> None:
        """These hosts are up and enabled again, and there are no servers any more."""
        for host in hosts:
            self.control("POST", f"/hosts/{host}/revive")
            wait_for(f"{host} to be up", functools.partial(self._is_up, host), 60)
            self.nova.services.enable(self._service(host).id)
        for uuid in self.servers():
            self.nova.servers.delete(uuid)
        wait_for("no servers", lambda: not self.servers(), 60)

    def _is_up(self, host: str) -> bool:
        return bool(self._service(host).state == "up")

    def _service(self, host: str) -> Any:
        (service,) = self.nova.services.list(host=host, binary="nova-compute")
        return service
