# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The metrics endpoint of real daemons: where it is, who answers, what stops it."""

import datetime
import math
import pathlib
import socket
import sys
import time
from collections.abc import Iterator

import pytest
import requests
import sqlalchemy as sa
from oslo_config import cfg
from prometheus_client.mmap_dict import MmapedDict

from hacore import metrics, monitoring
from hacore.db import claims, holds, pauses, watch
from hacore.db.engine import Database
from hacore.db.models import Pause
from hacore.errors import ConfigError
from hacore.monitoring import Monitoring
from hacore.states import Gate, Rule
from tests import factories
from tests.e2e.daemons import Daemon, wait_for
from tests.scrapes import Scrape
from tests.servers import free_port
from tests.unit import processes
from tests.unit.processes import Configuration


@pytest.fixture(scope="module")
def nova(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("sandbox")
    with processes.sandbox(folder, "--instances", "8") as login:
        yield login


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def configuration(tmp_path: pathlib.Path, nova: dict[str, str], port: int) -> Configuration:
    return {
        "DEFAULT": {"auth_strategy": "noauth2", "transport_url": "fake://"},
        "api": {"port": port},
        "metrics": {"enabled": True, "api_port": free_port()},
        "database": {"connection": f"sqlite:///{tmp_path}/hacore.sqlite"},
        "nova": nova,
    }


class Client:
    """The REST API of a hacore that believes everybody."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1"
        self._http = requests.Session()
        self._http.trust_env = False

    def get(self, path: str) -> requests.Response:
        return self._http.get(self._url + path, timeout=10)

    def post(self, path: str, body: object) -> requests.Response:
        answer = self._http.post(self._url + path, json=body, timeout=10)
        assert answer.ok, answer.text
        return answer

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    made = Client(port)
    yield made
    made.close()


def report_compute1(client: Client) -> str:
    """Register compute1 and report its failure; returns the notification."""
    segment = {"name": "rack", "recovery_method": "auto", "service_type": "COMPUTE"}
    uuid = client.post("/segments", {"segment": segment}).json()["segment"]["uuid"]
    host = {"name": "compute1", "type": "COMPUTE", "control_attributes": "SSH"}
    client.post(f"/segments/{uuid}/hosts", {"host": host})
    report = {
        "type": "COMPUTE_HOST",
        "hostname": "compute1",
        "generated_time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "payload": {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"},
    }
    made = client.post("/notifications", {"notification": report}).json()
    return str(made["notification"]["notification_uuid"])


def test_a_recovery_by_hacore_standalone(
    tmp_path: pathlib.Path, configuration: Configuration, client: Client, nova: dict[str, str]
) -> None:
    file = processes.write(tmp_path / "hacore.conf", configuration)
    command = [processes.command("hacore-standalone"), f"--config-file={file}"]
    home = tmp_path / "home"
    home.mkdir()
    daemon = Daemon("hacore-standalone", command, tmp_path / "hacore.log", {"HOME": str(home)})
    try:
        daemon.wait_until_it_says("API listens on", 60)
        sandbox = nova["auth_url"].removesuffix("/identity/v3")
        requests.post(f"{sandbox}/control/hosts/compute1/kill", json={}, timeout=10)
        path = f"/notifications/{report_compute1(client)}"

        def ended() -> bool:
            return client.get(path).json()["notification"]["status"] == "finished"

        wait_for("the recovery to end", ended, 60)
        scrape = Scrape(int(str(configuration["metrics"]["api_port"])))
    finally:
        status = daemon.end()
    assert status == 0, daemon.text()
    host = {"type": "COMPUTE_HOST"}
    assert scrape.value("hacore_notifications_total", status="new", **host) == 1
    assert scrape.value("hacore_notifications_total", status="finished", **host) == 1
    assert scrape.value("hacore_moves_total", verdict="succeeded") == 2
    assert scrape.has("hacore_moves_total", verdict="failed")  # 0, so that alerts see an increase
    evacuations = {"call": "POST servers/{id}/action evacuate", "status": "200"}
    assert scrape.value("hacore_nova_request_seconds_count", **evacuations) == 2
    assert scrape.value("hacore_queue_oldest_due_age_seconds") == 0
    posted = {"method": "POST", "route": "/v1/notifications", "status": "202"}
    assert scrape.value("hacore_api_requests_total", **posted) == 1
    assert scrape.value("process_resident_memory_bytes") > 0
    # novaclient would keep what it reads; stevedore's cache is there unless Python lies below /tmp
    assert {each.name for each in home.iterdir()} <= {".cache"}


def test_any_process_answers_for_all_of_gunicorn(
    tmp_path: pathlib.Path, configuration: Configuration, port: int
) -> None:
    processes.make_tables(f"sqlite:///{tmp_path}/hacore.sqlite")
    file = processes.write(tmp_path / "hacore.conf", configuration)
    folder = tmp_path / "metrics"
    folder.mkdir()
    environment = {
        "HACORE_CONFIG_FILES": str(file),
        "HACORE_CONCURRENCY": "threading",  # gunicorn's threads are no green ones
        metrics.MULTIPROCESS: str(folder),
    }
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--threads", "2"]
    command += ["--no-control-socket", "--bind", f"127.0.0.1:{port}"]
    command += ["hacore.cmd.wsgi:application"]
    daemon = Daemon("gunicorn", command, tmp_path / "gunicorn.log", environment)
    served = int(str(configuration["metrics"]["api_port"]))
    labels = {"method": "GET", "route": "/v1/segments", "status": "200"}
    try:
        wait_for(
            "two processes", lambda: daemon.text().count("Metrics endpoint listens on") == 2, 60
        )
        for _ in range(200):
            client = Client(port)  # a connection of its own: the kernel chooses who answers
            assert client.get("/segments").ok
            client.close()
        counts = {Scrape(served).value("hacore_api_requests_total", **labels) for _ in range(20)}
        age = Scrape(served).value("hacore_queue_oldest_due_age_seconds")
    finally:
        status = daemon.end()
    assert status == 0, daemon.text()
    files = [MmapedDict.read_all_values_from_file(path) for path in folder.glob("counter_*")]
    shares = [value for file in files for key, value, *_ in file if "/v1/segments" in key]
    assert len(shares) == 2, "one process got all requests: this shows nothing"
    assert counts == {200.0}
    assert age == 0


def test_gunicorn_without_a_folder_is_refused(tmp_path: pathlib.Path, conf: cfg.ConfigOpts) -> None:
    conf.set_override("enabled", True, group="metrics")
    with pytest.raises(ConfigError) as refused:
        Monitoring(conf, "api_port", one_of_many=True)
    assert str(refused.value) == (
        "[metrics] enabled behind gunicorn or uwsgi needs PROMETHEUS_MULTIPROC_DIR in the "
        "environment, the name of an empty folder: each process writes its counters there, "
        "and whichever one Prometheus scrapes answers for all."
    )


def test_a_folder_that_is_none_is_refused(
    tmp_path: pathlib.Path, conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.MULTIPROCESS, f"{tmp_path}/nowhere")
    conf.set_override("enabled", True, group="metrics")
    with pytest.raises(ConfigError) as refused:
        Monitoring(conf, "api_port", one_of_many=True)
    assert str(refused.value) == (
        f"PROMETHEUS_MULTIPROC_DIR is '{tmp_path}/nowhere', which is not a folder that hacore can "
        "write to; create it, empty, before hacore starts."
    )


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "8.8.8.8", "2001:4860:4860::8888"])
def test_an_address_for_everybody_is_refused(conf: cfg.ConfigOpts, address: str) -> None:
    conf.set_override("enabled", True, group="metrics")
    conf.set_override("listen", address, group="metrics")
    with pytest.raises(ConfigError) as refused:
        Monitoring(conf, "engine_port")
    assert str(refused.value) == (
        f"[metrics] listen = {address} lets anybody who can reach this machine read the "
        "metrics: set it to 127.0.0.1, or to this machine's address in a private network."
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_named(conf: cfg.ConfigOpts, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as other:
        port = other.getsockname()[1]
        conf.set_override("enabled", True, group="metrics")
        conf.set_override("listen", address, group="metrics")
        conf.set_override("engine_port", port, group="metrics")
        with pytest.raises(ConfigError) as refused:
            Monitoring(conf, "engine_port")
        # and where somebody took it after the check
        with pytest.raises(ConfigError) as late:
            metrics.Endpoint(address, port, dict).start()
    assert str(refused.value) == (
        f"Cannot serve metrics on {address} port {port}: Address already in use; change "
        "[metrics] listen or engine_port, or stop the process using that port."
    )
    assert str(late.value) == (
        f"Cannot serve metrics on {address} port {port}: Address already in use; change "
        "[metrics] listen or the port, or stop the process using that port."
    )


def test_a_daemon_says_it_in_one_sentence(
    tmp_path: pathlib.Path, configuration: Configuration
) -> None:
    processes.make_tables(f"sqlite:///{tmp_path}/hacore.sqlite")
    changes: Configuration = {"metrics": {"listen": "0.0.0.0"}}
    file = processes.write(tmp_path / "hacore.conf", processes.changed(configuration, changes))
    ended = processes.run(tmp_path, ["hacore-engine", f"--config-file={file}"])
    assert ended.error == (
        "hacore-engine: [metrics] listen = 0.0.0.0 lets anybody who can reach this machine read "
        "the metrics: set it to 127.0.0.1, or to this machine's address in a private network.\n"
    )
    assert ended.status == 1


def test_it_is_off_by_default(conf: cfg.ConfigOpts, port: int) -> None:
    conf.set_override("api_port", port, group="metrics")
    monitoring = Monitoring(conf, "api_port")
    monitoring.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    monitoring.stop()


def test_a_database_that_is_away_is_no_age(
    tmp_path: pathlib.Path, conf: cfg.ConfigOpts, port: int
) -> None:
    """The rest is told all the same."""
    conf.set_override("enabled", True, group="metrics")
    conf.set_override("api_port", port, group="metrics")
    conf.set_override("connection", f"sqlite:////{tmp_path}/no/folder", group="database")
    conf.set_override("max_retries", 0, group="database")
    monitoring = Monitoring(conf, "api_port")
    monitoring.start()
    try:
        scrape = Scrape(port)
    finally:
        monitoring.stop()
    assert "\nhacore_queue_oldest_due_age_seconds NaN\n" in scrape.text
    assert "\nhacore_moves_total{" in scrape.text


def test_what_is_held_and_whether_nova_is_watched(db: Database) -> None:
    """Read from the database at each scrape: the same on each daemon."""
    found = monitoring.readings(db)
    assert found[metrics.HELD] == {str(rule): 0 for rule in Rule}
    assert found[metrics.HOSTS] == {}
    assert [found[name][""] for name in (metrics.NOVA_ILL, metrics.NOVA_WATCHED)] == [0, 0]
    assert found[metrics.PAUSED] == {"": 0}
    factories.notification(db, factories.host(db))
    claim = claims.claim(db, "controller1:1:abc", 60, 86400)
    assert claim is not None
    holds.hold(db, claim, Gate.LIMITS, Rule.MAJORITY, "too many", {})
    heard = [watch.Seen(f"compute{number}", "nova", "heard", 1.0, "b") for number in (1, 2)]
    silent = watch.Seen("compute3", "nova", "silent", 1.0, "b")
    seen = watch.Look([*heard, silent], 10.0, 5.0, None, 0.0, listed=True)
    assert watch.write(db, "controller1:1:abc", 20, seen)
    pauses.pause(db, pauses.ALL, "carol", "because", 3600)
    found = monitoring.readings(db)
    assert found[metrics.HELD] == {str(rule): int(rule is Rule.MAJORITY) for rule in Rule}
    assert found[metrics.HOSTS] == {"heard": 2, "silent": 1}
    assert [found[name][""] for name in (metrics.NOVA_ILL, metrics.NOVA_WATCHED)] == [0, 1]
    assert found[metrics.PAUSED] == {"": 0}  # that one ends by itself
    ill = watch.Look([], 10.0, 5.0, "the message bus", 30.0, listed=False)
    assert watch.write(db, "controller1:1:abc", 20, ill)
    pauses.pause(db, pauses.ALL, "carol", "because", None)
    with db.write() as session:
        since = db.now(session) - datetime.timedelta(hours=2)
        session.execute(sa.update(Pause).values(created_at=since))
    found = monitoring.readings(db)
    assert [found[name][""] for name in (metrics.NOVA_ILL, metrics.NOVA_WATCHED)] == [1, 1]
    assert found[metrics.PAUSED][""] == pytest.approx(7200, abs=60)


def test_a_database_that_is_unavailable_is_no_zero(conf: cfg.ConfigOpts, tmp_path: object) -> None:
    url = f"sqlite:////{tmp_path}/no/folder"
    conf.set_override("connection", url, group="database")
    conf.set_override("max_retries", 0, group="database")
    found = monitoring.readings(Database(conf.database))
    assert found.keys() == metrics.FROM_DATABASE.keys()
    assert all(math.isnan(value) for each in found.values() for value in each.values())
