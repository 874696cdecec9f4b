# Licensed under the Apache License, Version 2.0; see LICENSE.
"""masakari-monitors 22.0.0 from its package, unchanged, reports to hacore through Keystone.

The process monitor watches the nova-compute of a host of the cloud: it believes to be on
that host, for it has a namespace of its own for the host's name.  Host and instance events
are sent as those monitors send them, which need Pacemaker and libvirt for the rest.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.checks import DEAD, check_all_moved, check_steps
from tests.e2e.clients import Hacore
from tests.e2e.daemons import Daemon, wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.ministack import Ministack
from tests.e2e.reporting import Figures
from tests.unit import processes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

Deploy = Callable[..., Deployment]
HacoreAt = Callable[[Deployment], Hacore]

HOST = "compute1"
#: Sends one event by the class that all monitors send theirs with.
SENDER = """
import json
import sys

from oslo_log import log
from oslo_utils import timeutils

import masakarimonitors.conf
from masakarimonitors import config
from masakarimonitors.ha import masakari

_, file, kind, host, payload = sys.argv
config.parse_args(["sender", "--config-file", file])
log.setup(masakarimonitors.conf.CONF, "masakarimonitors")
event = {"type": kind, "hostname": host, "payload": json.loads(payload)}
event["generated_time"] = timeutils.utcnow()
masakari.SendNotification().send_notification(2, 1, {"notification": event})
"""


class Monitors:
    """The package in its own environment, with a configuration for this cloud."""

    def __init__(self, real: Ministack, folder: Path) -> None:
        self._bin = Path(real.run("monitors").strip())
        self._folder = folder
        state = Path(real.run("logs", "nova").strip()).parents[1]
        #: While this is there, the process cannot be started.
        self.broken = folder / "broken"
        start = folder / "start"
        # what a command says on standard error is a failure to the monitor
        start.write_text(
            f"#!/bin/sh\n[ ! -e {self.broken} ] || exit 1\n"
            f"{real._program} start-compute {HOST} 2>{folder}/said\n"
        )
        start.chmod(0o755)
        watched = {
            "process_name": f"{state}/nova/{HOST}/nova-compute",
            "start_command": str(start),
            "restart_command": str(start),
            "run_as_root": False,
        }
        for when in ("pre_start", "post_start", "pre_restart", "post_restart"):
            watched[f"{when}_command"] = None
        processes_ = folder / "process_list.yaml"
        processes_.write_text(yaml.safe_dump([watched]))
        self._file = processes.write(
            folder / "masakarimonitors.conf",
            {
                "DEFAULT": {"debug": "true"},
                "api": {**real.login("instanceha"), "region": "RegionOne"},
                "process": {
                    "process_list_path": processes_,
                    "check_interval": 1,
                    "restart_retries": 1,
                    "restart_interval": 1,
                    "api_retry_max": 2,
                    "api_retry_interval": 1,
                },
            },
        )

    def watch_processes(self) -> Daemon:
        """Start masakari-processmonitor, on what it takes for the host."""
        monitor = f"{self._bin}/masakari-processmonitor --config-file {self._file}"
        command = f"hostname {HOST} && exec {monitor}"
        rights = [] if os.geteuid() == 0 else ["--map-root-user"]
        return Daemon(
            "masakari-processmonitor",
            ["unshare", "--uts", *rights, "sh", "-c", command],
            self._folder / "processmonitor.log",
        )

    def send(self, kind: str, host: str, payload: dict[str, str]) -> str:
        """Send an event; what the monitor logged."""
        command = [self._bin / "python", "-W", "ignore", "-c", SENDER]
        done = subprocess.run(
            [*command, self._file, kind, host, json.dumps(payload)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def monitors(real: Ministack, tmp_path: Path) -> Monitors:
    folder = tmp_path / "monitors"
    folder.mkdir()
    return Monitors(real, folder)


@pytest.fixture
def processmonitor(monitors: Monitors, real: Ministack) -> Iterator[Daemon]:
    """It runs, and has started the process itself."""
    real.kill(HOST)
    daemon = monitors.watch_processes()
    try:
        daemon.wait_until_it_says("Start of process with executing command", 60)
        real.run("wait-up", HOST)
        yield daemon
    finally:
        daemon.kill()


def newest(hacore: Hacore, number: int) -> str:
    """Wait for so many notifications; the uuid of the last one."""
    rows: list[Any] = wait_for(
        f"notification {number}",
        lambda: rows if len(rows := hacore.notifications()) >= number else None,
        120,
    )
    assert len(rows) == number
    uuid: str = max(rows, key=lambda row: row["id"])["notification_uuid"]
    return uuid


def test_a_process_dies_and_comes_back(
    real: Ministack,
    deploy: Deploy,
    hacore_at: HacoreAt,
    monitors: Monitors,
    processmonitor: Daemon,
    figures: Figures,
) -> None:
    hacore = hacore_at(deploy())
    segment = hacore.make_segment(real.hosts)

    # the monitor brings it back: nothing to report
    real.kill(HOST)
    processmonitor.wait_until_it_says("Restart of process with executing command", 60)
    real.run("wait-up", HOST)
    assert hacore.notifications() == []
    assert real.service(HOST).status == "enabled"

    # it cannot: hacore takes the host out of service
    monitors.broken.touch()
    real.kill(HOST)
    first = hacore.wait_until_ended(newest(hacore, 1))
    assert first["status"] == "finished", first
    assert first["type"] == "PROCESS"
    assert first["payload"] == {"event": "STOPPED", "process_name": "nova-compute"}
    check_steps(first, "DisableComputeNodeTask", "ConfirmComputeNodeDisabledTask")
    service = real.service(HOST)
    assert (service.status, service.disabled_reason) == (
        "disabled",
        "Masakari detected process failed.",
    )
    host = hacore.hosts(segment)[HOST]
    assert host["on_maintenance"] is True

    # somebody repairs it, and puts the host back into service
    monitors.broken.unlink()
    real.run("start-compute", HOST)
    real.run("wait-up", HOST)
    real.nova.services.enable(service.id)
    back = {"host": {"on_maintenance": False}}
    answer = hacore.ask("PUT", f"/segments/{segment}/hosts/{host['uuid']}", back)
    assert answer.status_code == 200, answer.text
    found = processmonitor.text().count("is found")
    wait_for("the monitor to see it", lambda: processmonitor.text().count("is found") > found, 30)

    # it dies again: that is a new failure, within the time in which duplicates are refused
    monitors.broken.touch()
    real.kill(HOST)
    second = hacore.wait_until_ended(newest(hacore, 2))
    assert second["status"] == "finished", second
    assert real.service(HOST).status == "disabled"
    figures.add(f"both failures of the process: {first['message']} {second['message']}")


def test_an_instance_crashes_and_a_host_dies(
    real: Ministack, deploy: Deploy, hacore_at: HacoreAt, monitors: Monitors, figures: Figures
) -> None:
    hacore = hacore_at(deploy())
    hacore.make_segment(real.hosts)
    instances = real.boot(4, HOST)

    # masakarimonitors/instancemonitor/libvirt_handler/callback.py
    crash = {"event": "LIFECYCLE", "instance_uuid": instances[0]}
    said = monitors.send("VM", HOST, {**crash, "vir_domain_event": "STOPPED_FAILED"})
    assert "Response: " in said
    ended = hacore.wait_until_ended(newest(hacore, 1))
    assert ended["status"] == "finished", ended
    check_steps(ended, "StopInstanceTask", "StartInstanceTask", "ConfirmInstanceActiveTask")

    # masakarimonitors/hostmonitor/host_handler/handle_host.py
    real.kill(HOST)
    assert "Response: " in monitors.send("COMPUTE_HOST", HOST, DEAD)
    # the monitors of other hosts have seen it as well: it is refused, and they let it be
    said = monitors.send("COMPUTE_HOST", HOST, DEAD)
    assert "409" in said
    assert "Retry sending a notification" not in said
    moved = hacore.wait_until_ended(newest(hacore, 2))
    check_all_moved(real, hacore, moved, instances, HOST)

    said = monitors.send("COMPUTE_HOST", "no-such-host", DEAD)
    assert "400" in said
    assert "Retry sending a notification" not in said
    figures.add(f"{ended['message']} {moved['message']}")
