# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Hosts with BMCs, and engines that die at a named point: each round has a host of its own."""

import random
import time
from pathlib import Path
from typing import Any

from hacore.states import LIVE
from tests.crash.sandbox import Sandbox
from tests.e2e.checks import DEAD
from tests.e2e.clients import Hacore
from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.deployment import Deployment

#: Where instances are evacuated to; the last one is what a wrong BMC switches.
SPARE = 4
_END_S = 300.0
_ROOT = Path(__file__).parents[2]
#: Seconds from an order to its effect: an engine can be killed in between.
ORDER_S = 1.5
DEVICES = """\
[bmc]
hosts = compute*
agent = fence_hacore_sandbox
ip = 127.0.0.1
ipport = {port}
plug = {{host}}
username = admin
password = admin
"""


def options(folder: Path, sandbox: Sandbox, default: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What hacore is deployed with; times are as short as they may be."""
    file = folder / "fencing.ini"
    file.touch(mode=0o600)
    file.write_text(DEVICES.format(port=sandbox.url.rpartition(":")[2]))
    return {
        "DEFAULT": {
            **default,
            # an engine that starts on the same machine need not wait for it
            "claim_lease": 15,
            # a host that lives ends its recovery at once
            "max_recovery_attempts": 1,
            "wait_period_after_service_update": 8,
        },
        "fencing": {
            "devices_file": file,
            "deadline": 8,
            "confirm_delay": 0.3,
            "confirm_delay_already_off": 1,
            "least_silence": 2,
            "retry_interval": 1,
        },
        "mass_failure": {"burst_hosts": 0, "max_share": 0},
    }


class Place:
    """hacore and its cloud.

    :param hosts: so many have a round each; the others are spare.
    """

    def __init__(self, deployment: Deployment, sandbox: Sandbox, hosts: int) -> None:
        self.deployment, self.sandbox = deployment, sandbox
        self.client = Hacore(deployment.url, "admin:admin")
        self.names = [f"compute{number}" for number in range(1, hosts + 1)]
        self.wrong_box = f"compute{hosts + SPARE}"
        self._segment = self.client.make_segment(self.names)

    def close(self) -> None:
        self.client.close()

    # ------------------------------------------------------------ engines

    def engine(self, point: str | None = None, after_s: float = 0.0) -> Daemon:
        """Start the engine; it is ready.

        :param point: where it dies.
        """
        env = {"PYTHONPATH": str(_ROOT), "HACORE_CRASH_AFTER": str(after_s)}
        env |= {"HACORE_CRASH_AT": point} if point else {}
        engine = self.deployment.start_engine(env=env, main="tests.crash.engine")
        engine.wait_until_it_says("is ready", 120)
        return engine

    def wait_for_death(self, engine: Daemon, point: str) -> None:
        wait_for(f"the engine to die {point}", lambda: not engine.is_running(), 60, 0.05)
        engine.kill()  # returns when nothing of it is left
        assert f"killed {point}" in engine.text(), engine.text()[-2000:]

    # -------------------------------------------------------------- hosts

    def host(self, name: str) -> Any:
        return self.client.hosts(self._segment)[name]

    def service(self, name: str) -> Any:
        (service,) = self.sandbox.nova.services.list(host=name, binary="nova-compute")
        return service

    def bmc(self, name: str, **values: Any) -> Any:
        """Change it, and show it."""
        if values:
            self.sandbox.control("PUT", f"/bmcs/{name}", values)
        return self.sandbox.control("GET", f"/bmcs/{name}")

    def switch_on(self, name: str) -> None:
        """Switch a host on, and start its nova-compute: Nova hears it from then on."""
        self.sandbox.control("POST", f"/hosts/{name}/power", {"power": "on"})
        self.sandbox.control("POST", f"/hosts/{name}/revive")

    def outstanding(self, host: str) -> int:
        """How many orders to the devices of a host are."""
        (row,) = self.deployment.read(
            "SELECT COUNT(*) AS n FROM fencing_orders JOIN hosts ON hosts.uuid = host_uuid "
            f"WHERE hosts.name = '{host}' AND closed_at IS NULL"
        )
        return int(row["n"])

    # ---------------------------------------------------------- recovery

    def notify(self, host: str) -> str:
        return self.client.notify("COMPUTE_HOST", host, DEAD)

    def ended(self, uuid: str) -> Any:
        """The notification, once it has ended."""

        def ended() -> Any:
            row = self.client.notification(uuid)
            return row if row["status"] not in LIVE else None

        return wait_for("the recovery to end", ended, _END_S, 0.5)

    def check_recovered(self, host: str, notification: Any, instances: list[str]) -> None:
        """Each instance was evacuated once; the host was ordered off once, and stays out."""
        assert notification["status"] == "finished", notification
        servers, evacuations = self.sandbox.servers(), self.sandbox.evacuations()
        for uuid in instances:
            assert servers[uuid]["host"] != host, servers[uuid]
            assert servers[uuid]["vm_state"] == "active", servers[uuid]
            assert not servers[uuid]["locked"], servers[uuid]
            assert evacuations[uuid] == 1
        bmc = self.bmc(host)
        assert (bmc["power"], len(bmc["orders"])) == ("off", 1), bmc
        service = self.service(host)
        assert (service.status, service.forced_down) == ("disabled", True)
        assert self.host(host)["on_maintenance"]
        assert not self.outstanding(host)


def random_moment(chance: random.Random) -> float:
    """Seconds after the start of an agent that orders."""
    return chance.uniform(0.0, ORDER_S + 1.0)


def wait_for_effect() -> None:
    """An order that was accepted is carried out by the end of this."""
    time.sleep(ORDER_S)
