# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-sandbox in a process of its own, its control API, and its Nova."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import requests
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from novaclient import client as nova_client

from tests.e2e.daemons import Daemon, wait_for

_CODE = "import sys; from hacore.cmd.sandbox import main; sys.exit(main())"
# An evacuation takes 0.3 to 5.7 s: some are under way still when the lease of a dead
# engine has ended (3 s) and another one takes over, some are done, some not begun.
_SETTINGS = ("control_workers=2", "control_work_s=0.1", "spawn_s=3", "jitter=0.9")
_SETTINGS += ("stop_s=1", "start_s=1")


class Sandbox:
    """A simulated cloud of `hosts` hosts; Nova sees a dead one after a second."""

    def __init__(self, folder: Path, hosts: int) -> None:
        command = [sys.executable, "-P", "-c", _CODE, "serve", "--port", "0"]
        command += ["--preset", "instant", "--hosts", str(hosts)]
        for setting in _SETTINGS:
            command += ["--set", setting]
        self._daemon = Daemon("sandbox", command, folder / "sandbox.log")
        self._daemon.wait_until_it_says("region_name", 30)
        self.url = self._daemon.text().split()[2]
        self._http = requests.Session()
        self._http.trust_env = False
        self.login = {
            "auth_url": f"{self.url}/identity/v3",
            "username": "hacore",
            "password": "hacore",
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }
        session = keystone_session.Session(auth=v3.Password(**self.login), session=self._http)
        self.nova: Any = nova_client.Client("2.90", session=session, region_name="RegionOne")

    def _control(self, method: str, path: str, body: object = None) -> Any:
        answer = self._http.request(method, f"{self.url}/control/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def kill(self, host: str) -> None:
        self._control("POST", f"hosts/{host}/kill")

    def crash(self, uuid: str) -> None:
        self._control("POST", f"servers/{uuid}/crash")

    def boot(self, count: int, host: str) -> list[str]:
        body = {"count": count, "hosts": [host], "metadata": {"HA_Enabled": "True"}}
        uuids: list[str] = self._control("POST", "servers", body)["ids"]
        return uuids

    def servers(self) -> dict[str, Any]:
        return {row["id"]: row for row in self._control("GET", "state")["servers"]}

    def evacuations(self) -> Counter[str]:
        """How many evacuations Nova has recorded of each instance, the failed ones too."""
        listed = self.nova.migrations.list(migration_type="evacuation")
        return Counter(record.instance_uuid for record in listed)

    def repair(self, hosts: list[str]) -> None:
        """These hosts are up and enabled again, and there are no servers any more."""
        for host in hosts:
            self._control("POST", f"hosts/{host}/revive")
            wait_for(f"{host} to be up", lambda host=host: self._service(host).state == "up", 10)
            self.nova.services.enable(self._service(host).id)
        for uuid in self.servers():
            self.nova.servers.delete(uuid)
        wait_for("no servers", lambda: not self.servers(), 20)

    def _service(self, host: str) -> Any:
        (service,) = self.nova.services.list(host=host, binary="nova-compute")
        return service

    def close(self) -> None:
        self._http.close()
        assert self._daemon.end() == 0
