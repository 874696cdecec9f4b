# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The real cloud: ministack for what happens to hosts, and novaclient for what Nova says.

It is tools/ministack/ministack, or what MINISTACK names.
"""

import dataclasses
import os
import re
import subprocess
import urllib.parse
from collections.abc import Collection
from pathlib import Path
from typing import Any

import requests
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from novaclient import client as nova_client

from tests.e2e.daemons import wait_for

ROOT = Path(__file__).resolve().parents[2]
#: Statuses of a migration that came to nothing.
_FAILED = frozenset({"failed", "error"})


@dataclasses.dataclass(frozen=True)
class Seen:
    """An instance, as Nova shows it."""

    host: str
    vm_state: str
    task_state: str | None
    power_state: int
    locked: bool


class Ministack:
    """Raises when it does not answer."""

    def __init__(self) -> None:
        self._program = os.environ.get("MINISTACK") or str(ROOT / "tools/ministack/ministack")
        self.admin = self.environment("admin")
        requests.get(self.admin["OS_AUTH_URL"], timeout=5).raise_for_status()
        self._http = requests.Session()
        self.session = keystone_session.Session(
            auth=v3.Password(**self.login("admin")), session=self._http, timeout=60
        )
        self.nova: Any = nova_client.Client("2.90", session=self.session, region_name="RegionOne")
        self.hosts = sorted(each.host for each in self.nova.services.list(binary="nova-compute"))

    def close(self) -> None:
        self._http.close()

    def run(self, *words: str) -> str:
        """A verb of ministack."""
        done = subprocess.run(
            [self._program, *words], capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"ministack {' '.join(words)}: {done.stderr}"
        return done.stdout

    def environment(self, user: str) -> dict[str, str]:
        """OS_* of a user."""
        return dict(re.findall(r"export (OS_\w+)=(\S+)", self.run("rc", "--user", user)))

    def login(self, user: str) -> dict[str, Any]:
        """The same, by the names that keystoneauth gives the options."""
        env = self.environment(user)
        names = "AUTH_URL USERNAME PASSWORD PROJECT_NAME USER_DOMAIN_ID PROJECT_DOMAIN_ID"
        return {name.lower(): env[f"OS_{name}"] for name in names.split()}

    def instance_ha_port(self) -> int:
        """Where the catalogue says that the instance-ha API is."""
        url = self.session.get_endpoint(service_type="instance-ha", interface="public")
        port = urllib.parse.urlsplit(url).port
        assert port, url
        return int(port)

    # -------------------------------------------------------------- hosts

    def reset(self) -> None:
        """Every host up and enabled, no fault, no instance."""
        self.run("reset")

    def kill(self, *hosts: str) -> None:
        self.run("kill-compute", *hosts)

    def slow_down(self, delay_s: float, *hosts: str) -> None:
        """Let every spawn on these hosts take so much longer."""
        for host in hosts:
            self.run("fault", host, f"spawn_delay={delay_s}")

    def let_spawns_fail(self, *hosts: str) -> None:
        """Nothing can be built or evacuated to these hosts."""
        for host in hosts:
            self.run("fault", host, "spawn_fail=true")

    def keep_in_reserve(self, *hosts: str) -> None:
        """Disable them, as operators do with reserved hosts: Nova puts nothing there."""
        for host in hosts:
            self.nova.services.disable(self.service(host).id)

    def service(self, host: str) -> Any:
        (service,) = self.nova.services.list(host=host, binary="nova-compute")
        return service

    # ---------------------------------------------------------- instances

    def boot_resized(self, host: str) -> str:
        """A running instance whose resize to `host` waits to be confirmed; its uuid."""
        source, *others = (each for each in self.hosts if each != host)
        (uuid,) = self.boot(1, source)
        for other in others:  # Nova chooses where to
            self.nova.services.disable(self.service(other).id)
        flavor = self.nova.servers.get(uuid).flavor["original_name"]
        larger = next(each for each in self.nova.flavors.list() if each.name != flavor)
        self.nova.servers.resize(uuid, larger)
        self.wait_for_state(uuid, "resized")
        for other in others:
            self.nova.services.enable(self.service(other).id)
        return uuid

    def boot(self, count: int, host: str, *, ha: bool = True) -> list[str]:
        """Running instances on `host`; their uuids."""
        meta = ("--meta", "HA_Enabled=True") if ha else ()
        return self.run("boot", str(count), "--host", host, *meta).split()

    def see(self, *uuids: str) -> dict[str, Seen]:
        """What Nova says of them, by uuid; of all there are if none is named."""
        servers = self.nova.servers.list(search_opts={"all_tenants": 1}, limit=-1)
        return {
            server.id: Seen(
                host=getattr(server, "OS-EXT-SRV-ATTR:host"),
                vm_state=getattr(server, "OS-EXT-STS:vm_state"),
                task_state=getattr(server, "OS-EXT-STS:task_state"),
                power_state=getattr(server, "OS-EXT-STS:power_state"),
                locked=server.locked,
            )
            for server in servers
            if not uuids or server.id in uuids
        }

    def wait_for_state(self, uuid: str, vm_state: str) -> None:
        def reached() -> bool:
            seen = self.see(uuid)[uuid]
            return seen.vm_state == vm_state and seen.task_state is None

        wait_for(f"instance {uuid} to be {vm_state}", reached, 60)

    def evacuations(self) -> dict[str, list[Any]]:
        """Nova's own records, the failed ones too, by instance."""
        found: dict[str, list[Any]] = {}
        for record in self.nova.migrations.list(migration_type="evacuation"):
            found.setdefault(record.instance_uuid, []).append(record)
        return found

    def evacuated_times(self, instances: Collection[str]) -> dict[str, int]:
        """How often each, but for those that came to nothing and are to be done again."""
        records = self.evacuations()
        return {
            uuid: sum(record.status not in _FAILED for record in records.get(uuid, ()))
            for uuid in instances
        }
