# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The same cloud moved from Masakari 22.0.0 to hacore, by the commands of doc/migrate.md.

Masakari is the one of the package, made anew; it recovers from a failure first, so that
there is history.  Each command of the document is run in its order; `Controller` says what
stands for what on this machine.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import databases
from tests.e2e.checks import DEAD, check_all_moved
from tests.e2e.clients import Hacore, OpenStack, seconds
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import MYSQL, Deployment, Servers, _command
from tests.e2e.ministack import ROOT, Ministack
from tests.e2e.reporting import DEPLOYMENT, Figures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

GUIDE = ROOT / "doc" / "migrate.md"
#: Shorter than Masakari's defaults, which are minutes.
MASAKARI = ("wait_period_after_service_update=8", "notification_delay_max=0")

Shown = dict[str, Any]


def commands(step: str) -> list[str]:
    """The commands of a step of the document."""
    (text,) = re.findall(
        rf"^## {step}$(.*?)(?=^## |\Z)", GUIDE.read_text(), re.DOTALL | re.MULTILINE
    )
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


class Controller(Deployment):
    """What the document calls the controller: hacore on ministack, in folders of the test."""

    def __init__(self, folder: Path, real: Ministack) -> None:
        self._real = real
        self._database = databases.name()
        self.database_url = f"{MYSQL}/{self._database}"
        self._file = folder / "hacore.conf"
        self.folder = folder
        self.port = real.instance_ha_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.apis = {}
        self.engines = {}
        self._servers = Servers()
        self._python = sys.executable
        state = Path(real.run("logs", "masakari-api").strip()).parents[1]
        self._etc = state / "etc" / "masakari"
        source = re.search(
            r"^\[database\]\nconnection = (\S+)$",
            (self._etc / "masakari.conf").read_text(),
            re.MULTILINE,
        )
        assert source
        #: What is written in the document, and what it is here.
        self._names = {
            "mysql+pymysql://hacore:DBPASSWORD@CONTROLLER/hacore": self.database_url,
            "mysql+pymysql://masakari:PASSWORD@CONTROLLER/masakari": source[1],
            "/etc/masakari": str(self._etc),
            "/etc/hacore": str(folder),
            "sudo -u hacore ": "",
            "-o root -g hacore ": "",
        }

    def follow(self, step: str, only: str = "") -> list[str]:
        """Do what a step says; what each command printed, on both outputs.

        :param only: do the commands with this text.
        """
        return [self._do(line) for line in commands(step) if only in line]

    def _do(self, line: str) -> str:
        for name, here in self._names.items():
            line = line.replace(name, here)
        words = line.split()
        if words[0] == "systemctl":
            return self._systemctl(words[1], *words[3:])
        if words[0] == "mysql":
            return self._sql(shlex.split(line)[-1])
        if words[0] == "openstack":
            return str(OpenStack(self._real.admin)(*words[1:]))
        # hacore-manage needs to be told where the configuration is, and may not be on the PATH
        manage = shlex.join(
            [*_command(self._python, "hacore.cmd.manage"), f"--config-file={self._file}"]
        )
        line = re.sub(r"^hacore-manage", lambda _: manage, line)
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _systemctl(self, verb: str, *units: str) -> str:
        for unit in units:
            if unit.startswith("masakari"):
                self._real.run({"disable": "stop-service", "enable": "start-service"}[verb], unit)
            elif verb == "disable":
                api = unit == "hacore-api"
                daemon = self.apis[unit].daemon if api else self.engines["engine"]
                assert daemon.end() == 0
            elif unit == "hacore-api":
                self.start_api()
                self.wait_for_api()
            else:
                self.start_engine().wait_until_it_says("is ready", 60)
        return ""

    def _sql(self, statement: str) -> str:
        # the user is that of the server here, who may do everything
        if not statement.startswith(("CREATE USER", "GRANT")):
            databases.execute(MYSQL, statement.replace("hacore", self._database))
        return ""


@pytest.fixture
def masakari(real: Ministack) -> Iterator[Hacore]:
    """The REST API of a Masakari without a past."""
    real.run("masakari-up", "--fresh", *(word for each in MASAKARI for word in ("--set", each)))
    url = f"http://127.0.0.1:{real.instance_ha_port()}"
    client = Hacore(url, real.session.get_token())
    yield client
    client.close()
    real.run("masakari-down")


@pytest.fixture
def controller(
    masakari: Hacore, real: Ministack, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Controller]:
    folder = tmp_path / "hacore"
    made = Controller(folder, real)
    request.node.stash[DEPLOYMENT] = made
    yield made
    made.close()


def shown(openstack: OpenStack) -> Shown:
    """What the client shows, without row ids and the steps of recoveries."""
    segments = openstack("segment", "list")
    found: Shown = {
        "segments": [openstack("segment", "show", each["uuid"]) for each in segments],
        "hosts": [
            openstack("segment", "host", "show", each["uuid"], host["uuid"])
            for each in segments
            for host in openstack("segment", "host", "list", each["uuid"])
        ],
        "notifications": [],
        "vmoves": [],
    }
    for each in openstack("notification", "list"):
        row = openstack("notification", "show", each["notification_uuid"])
        row.pop("recovery_workflow_details")
        found["notifications"].append(row)
        if row["type"] == "COMPUTE_HOST":
            found["vmoves"] += openstack("notification", "vmove", "list", row["notification_uuid"])
    for rows in found.values():
        for row in rows:
            row.pop("id", None)
    return found


def masakari_answers(masakari: Hacore) -> bool:
    try:
        return masakari.ask("GET", "/segments").ok
    except requests.ConnectionError:
        return False


def test_the_cloud_moves_from_masakari(
    real: Ministack,
    openstack: OpenStack,
    masakari: Hacore,
    controller: Controller,
    figures: Figures,
) -> None:
    # a Masakari with a past: a host has failed, an instance, and a process; a host is gone
    segment = openstack("segment", "create", "rack", "auto", "COMPUTE")["uuid"]
    empty = openstack("segment", "create", "spare", "rh_priority", "COMPUTE")["uuid"]
    for host in real.hosts[:3]:
        openstack("segment", "host", "create", host, "COMPUTE", "SSH", segment)
    openstack("segment", "host", "create", real.hosts[3], "COMPUTE", "IPMI", empty)
    instances = real.boot(4, "compute1")
    crashed = {"instance_uuid": instances[0], "event": "LIFECYCLE"}
    payload = {**crashed, "vir_domain_event": "STOPPED_FAILED"}
    process = {"process_name": "nova-compute", "event": "STARTED"}
    for uuid_ in (
        openstack.notify("VM", "compute1", payload),
        openstack.notify("PROCESS", "compute2", process),
    ):
        assert masakari.wait_until_ended(uuid_)["status"] == "finished"
    real.kill("compute1")
    failed = openstack.notify("COMPUTE_HOST", "compute1", DEAD)
    assert masakari.wait_until_ended(failed)["status"] == "finished"
    ours = openstack("segment", "host", "list", empty)[0]["uuid"]
    assert masakari.ask("DELETE", f"/segments/{empty}/hosts/{ours}").status_code == 204
    before = shown(openstack)
    assert [len(rows) for rows in before.values()] == [2, 3, 3, 4]

    controller.follow("1. Beside the running Masakari")
    said = controller.follow("2. Configuration")
    assert "not converted: [wsgi] api_paste_config" in said[0]
    assert "host-auto (host_auto_failure_recovery_tasks)" in said[3]
    assert said[-1].splitlines()[-5:] == [
        "segments: 2 would be imported",
        "hosts: 4 would be imported",
        "notifications: 3 would be imported",
        "vmoves: 4 would be imported",
        "On maintenance: compute1; notifications of these hosts are refused until their "
        "on_maintenance is set to false.",
    ]
    controller.follow("3. Stop Masakari")
    said = controller.follow("4. Import")
    assert "vmoves: 4 imported" in said[0]
    said = controller.follow("5. Start hacore")
    assert "rack" in said[1]

    assert shown(openstack) == before
    controller.follow("2. Configuration", only="/etc/hacore/masakari-connection")
    assert "vmoves: 0 imported, 4 already present" in controller.follow("4. Import")[0]

    # the next failure is hacore's; without those that have been evacuated once already
    for instance in instances:
        real.nova.servers.delete(instance)
    wait_for("the old instances to go", lambda: not real.see(), 60)
    instances = real.boot(5, "compute2")
    real.kill("compute2")
    uuid_ = openstack.notify("COMPUTE_HOST", "compute2", DEAD)
    hacore = Hacore(controller.url, real.session.get_token())
    try:
        ended = hacore.wait_until_ended(uuid_)
        check_all_moved(real, hacore, ended, instances, "compute1", "compute2")
        assert len(hacore.notifications()) == 4
    finally:
        hacore.close()
    controller.follow("The way back")
    wait_for("Masakari to answer", lambda: masakari_answers(masakari), 60)
    assert shown(openstack) == before
    figures.add(f"after the move {ended['message']} {seconds(ended):.1f} s to finished")
