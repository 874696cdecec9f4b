# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Makes the files of this folder with a real Masakari 22.0.0, against the sandbox.

    python -m tests.masakari.make FOLDER_OF_ITS_COMMANDS [RABBITMQ_URL]

It needs an environment with the package (pip install masakari==22.0.0 -c
tools/ministack/constraints-masakari.txt) and a RabbitMQ vhost that nobody uses.
"""

import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
from typing import Any

import requests

from tests.e2e.clients import now
from tests.e2e.daemons import Daemon, wait_for
from tests.masakari import FOLDER
from tests.servers import free_port
from tests.unit import processes

DEAD = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
SAMPLE = "masakari-custom-recovery-methods.conf"


class Masakari:
    """API and engine, on SQLite, believing everybody."""

    def __init__(self, commands: pathlib.Path, folder: pathlib.Path, broker: str) -> None:
        self._commands = commands
        self._folder = folder
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/v1"
        self._options: dict[str, dict[str, object]] = {
            "DEFAULT": {
                "transport_url": broker,
                "auth_strategy": "noauth2",
                "masakari_api_listen": "127.0.0.1",
                "masakari_api_listen_port": port,
                "masakari_api_workers": 1,
                "state_path": folder,
                "notification_delay_max": 0,
                "wait_period_after_service_update": 3,
                "wait_period_after_evacuation": 5,
                "process_unfinished_notifications_interval": 5,
            },
            "database": {"connection": f"sqlite:///{folder}/masakari.sqlite"},
            "taskflow": {"connection": f"sqlite:///{folder}/taskflow.sqlite"},
            "keystone_authtoken": {"auth_type": "password"},
            "wsgi": {"api_paste_config": commands.parent / "etc/masakari/api-paste.ini"},
            "oslo_concurrency": {"lock_path": folder},
        }
        self._daemons: list[Daemon] = []

    def start(self, nova: dict[str, str]) -> None:
        self._options["DEFAULT"] |= {
            "os_privileged_user_name": nova["username"],
            "os_privileged_user_password": nova["password"],
            "os_privileged_user_tenant": nova["project_name"],
            "os_privileged_user_auth_url": nova["auth_url"],
            "os_user_domain_name": "Default",
            "os_project_domain_name": "Default",
            "os_region_name": nova["region_name"],
        }
        file = f"--config-file={processes.write(self._folder / 'masakari.conf', self._options)}"
        subprocess.run([self._commands / "masakari-manage", file, "db", "sync"], check=True)
        for name in ("masakari-api", "masakari-engine"):
            command = [str(self._commands / name), file]
            self._daemons.append(Daemon(name, command, self._folder / f"{name}.log"))
        wait_for("Masakari's API", self._answers, 60)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/segments") == {"segments": []}
        except requests.ConnectionError:
            return False

    def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"X-Auth-Token": "admin:admin", "OpenStack-API-Version": "instance-ha 1.3"}
        answer = requests.request(method, self._url + path, json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def add_segment(self, name: str, method: str, **values: object) -> str:
        row = {"name": name, "recovery_method": method, "service_type": "COMPUTE", **values}
        uuid: str = self.ask("POST", "/segments", {"segment": row})["segment"]["uuid"]
        return uuid

    def add_host(self, segment: str, name: str, **values: object) -> str:
        row = {"name": name, "type": "COMPUTE", "control_attributes": "SSH", **values}
        made = self.ask("POST", f"/segments/{segment}/hosts", {"host": row})
        uuid: str = made["host"]["uuid"]
        return uuid

    def notify(self, kind: str, host: str, payload: dict[str, str]) -> None:
        """Report a failure, and wait until it has ended."""
        report = {"type": kind, "hostname": host, "generated_time": now(), "payload": payload}
        made = self.ask("POST", "/notifications", {"notification": report})["notification"]

        def ended() -> str | None:
            path = f"/notifications/{made['notification_uuid']}"
            status: str = self.ask("GET", path)["notification"]["status"]
            return status if status in ("finished", "ignored", "failed") else None

        print(kind, host, wait_for("the end", ended, 120, 1))

    def stop(self) -> None:
        for daemon in self._daemons:
            daemon.end()


def fail_in_many_ways(masakari: Masakari, url: str) -> None:
    """Segments, hosts, and every way in which a notification ends."""
    control = f"{url}/control"
    rack = masakari.add_segment("rack", "auto", description="the first rack")
    spare = masakari.add_segment("with a spare", "rh_priority")
    gone = masakari.add_segment("given up", "reserved_host")
    names = ("compute1", "compute2", "compute3")
    uuids = {name: masakari.add_host(rack, name) for name in names}
    masakari.add_host(spare, "compute4", reserved=True, control_attributes="IPMI é")
    masakari.ask("DELETE", f"/segments/{gone}")

    (instance, *_) = [
        each["id"]
        for each in requests.get(f"{control}/state", timeout=30).json()["servers"]
        if each["host"] == "compute2"
    ]
    crashed = {"instance_uuid": instance, "event": "LIFECYCLE"}
    masakari.notify("VM", "compute2", {**crashed, "vir_domain_event": "STOPPED_FAILED"})
    masakari.notify("VM", "compute2", {**crashed, "vir_domain_event": "NOTHING"})
    masakari.notify("PROCESS", "compute3", {"process_name": "nova-compute", "event": "STOPPED"})
    masakari.notify("COMPUTE_HOST", "compute2", {**DEAD, "host_status": "UNKNOWN"})

    requests.post(f"{control}/hosts/compute1/kill", json={}, timeout=30).raise_for_status()
    masakari.notify("COMPUTE_HOST", "compute1", DEAD)
    # nobody has killed it: Nova refuses every evacuation, in both attempts
    masakari.notify("COMPUTE_HOST", "compute2", DEAD)
    # a host that is gone, with a history
    maintenance = {"host": {"on_maintenance": False}}
    masakari.ask("PUT", f"/segments/{rack}/hosts/{uuids['compute3']}", maintenance)
    masakari.ask("DELETE", f"/segments/{rack}/hosts/{uuids['compute3']}")


def dump(path: pathlib.Path) -> str:
    """The database as text, without what is of this machine: nothing is."""
    connection = sqlite3.connect(path)
    lines = "\n".join(connection.iterdump())
    connection.close()
    return lines + "\n"


def options(commands: pathlib.Path) -> str:
    """Every option of Masakari's own, with its default, without the comments."""
    command = [commands / "oslo-config-generator", "--namespace", "masakari.conf"]
    sample = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = re.findall(r"^(\[\w+\]|#\w+ = ?.*)$", sample, re.MULTILINE)
    home = str(commands.parent)
    return "\n".join(line for line in lines if home not in line) + "\n"


def lists(commands: pathlib.Path) -> str:
    """The task lists of the package, without the comments."""
    sample = (commands.parent / "etc" / "masakari" / SAMPLE).read_text()
    return "\n".join(re.findall(r"^[^#\n].*", sample, re.MULTILINE)) + "\n"


def main(commands: pathlib.Path, broker: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        masakari = Masakari(commands, folder, broker)
        with processes.sandbox(folder, "--instances", "12") as nova:
            url = nova["auth_url"].removesuffix("/identity/v3")
            try:
                masakari.start(nova)
                fail_in_many_ways(masakari, url)
            finally:
                masakari.stop()
                for log in sorted(folder.glob("*.log")):
                    print(f"== {log.name}\n{log.read_text()[-3000:]}")
        (FOLDER / "masakari.sql").write_text(dump(folder / "masakari.sqlite"))
    (FOLDER / "masakari.conf").write_text(options(commands))
    (FOLDER / "recovery.conf").write_text(lists(commands))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), (sys.argv[2:] or ["rabbit://guest:guest@127.0.0.1/"])[0])
