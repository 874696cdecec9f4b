# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The sandbox and a real Nova give the same answers to the same questions.

Every test runs against both, through python-novaclient at microversion 2.90.
Where they differ, the real one is right.  The real one is ministack
(tools/ministack/ministack, or what MINISTACK names); see tests/services.py.
"""

import contextlib
import datetime
import os
import pathlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import requests
from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from novaclient import client as nova_client
from novaclient import exceptions as nova_errors

from tests.sandbox_process import SandboxProcess
from tests.services import skip_unless_required

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOSTS = {"compute1", "compute2", "compute3", "compute4"}
NOBODY = "11111111-1111-4111-8111-111111111111"
HOST, NODE = "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname"
VM_STATE, TASK_STATE = "OS-EXT-STS:vm_state", "OS-EXT-STS:task_state"
POWER_STATE = "OS-EXT-STS:power_state"


class Cloud(Protocol):
    """What a test needs that is not in the Compute API."""

    auth: dict[str, str]

    def kill(self, host: str) -> None: ...
    def revive(self, host: str) -> None: ...
    def boot(self, count: int, host: str) -> list[str]: ...
    def reset(self) -> None:
        """All hosts up and enabled, no servers."""


class Sandbox(SandboxProcess):
    """hacore-sandbox in a process of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, ["--preset", "demo"])
        names = ("auth_url", "username", "password", "project_name")
        self.auth = {name: self.login[name] for name in names}

    def kill(self, host: str) -> None:
        self.control("POST", f"/hosts/{host}/kill")

    def revive(self, host: str) -> None:
        self.control("POST", f"/hosts/{host}/revive")

    def boot(self, count: int, host: str) -> list[str]:
        body = {"count": count, "hosts": [host], "metadata": {"HA_Enabled": "True"}}
        ids: list[str] = self.control("POST", "/servers", body)["ids"]
        return ids

    def reset(self) -> None:
        for host in HOSTS:
            self.revive(host)


class Ministack:
    """A real OpenStack on this machine."""

    def __init__(self) -> None:
        place = os.environ.get("MINISTACK") or ROOT / "tools" / "ministack" / "ministack"
        self._program = str(place)
        exports = re.findall(r"export (OS_\w+)=(\S+)", self._run("rc"))
        env = dict(exports)
        self.auth = {
            "auth_url": env["OS_AUTH_URL"],
            "username": env["OS_USERNAME"],
            "password": env["OS_PASSWORD"],
            "project_name": env["OS_PROJECT_NAME"],
        }
        requests.get(self.auth["auth_url"], timeout=5).raise_for_status()

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [self._program, *words], capture_output=True, text=True, timeout=300, check=True
        )
        return done.stdout

    def kill(self, host: str) -> None:
        self._run("kill-compute", host)

    def revive(self, host: str) -> None:
        self._run("start-compute", host)

    def boot(self, count: int, host: str) -> list[str]:
        return self._run("boot", str(count), "--host", host, "--meta", "HA_Enabled=True").split()

    def reset(self) -> None:
        self._run("reset")

    def close(self) -> None:
        pass


@pytest.fixture(
    scope="module", params=["sandbox", pytest.param("ministack", marks=pytest.mark.e2e)]
)
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    if request.param == "sandbox":
        sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"))
        yield sandbox
        sandbox.close()
        return
    skip_unless_required("ministack")
    yield Ministack()


@pytest.fixture(scope="module")
def session(cloud: Cloud) -> Iterator[keystone_session.Session]:
    http = requests.Session()
    auth = v3.Password(**cloud.auth, user_domain_id="default", project_domain_id="default")
    yield keystone_session.Session(auth=auth, session=http, timeout=60)
    http.close()


@pytest.fixture(scope="module")
def nova(cloud: Cloud, session: keystone_session.Session) -> Any:
    client = nova_client.Client("2.90", session=session, region_name="RegionOne")
    _clean(cloud, client)
    return client


def _wait(what: str, question: Callable[[], Any], timeout_s: float = 60) -> Any:
    """The first answer that is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s} s for {what}")


def _service(nova: Any, host: str) -> Any:
    return nova.services.list(host=host, binary="nova-compute")[0]


def _clean(cloud: Cloud, nova: Any) -> None:
    """Back to: every host up and enabled, and no server."""
    cloud.reset()
    for host in HOSTS:
        _wait(f"{host} to have cleaned up", lambda host=host: _forced_up(nova, host))
        # enabled once it is up: before, Nova would not tell the scheduler
        _wait(f"{host} up", lambda host=host: _service(nova, host).state == "up")
        if _service(nova, host).status == "disabled":
            nova.services.enable(_service(nova, host).id)
    for server in nova.servers.list(search_opts={"all_tenants": 1}, limit=-1):
        with contextlib.suppress(nova_errors.NotFound):
            server.delete()
    _wait("no servers", lambda: not nova.servers.list(search_opts={"all_tenants": 1}))


def _forced_up(nova: Any, host: str) -> bool:
    service = _service(nova, host)
    if not service.forced_down:
        return True
    try:
        nova.services.force_down(service.id, False)
    except nova_errors.BadRequest:  # its evacuations are not `completed` yet
        return False
    return True


def _settled(nova: Any, server_id: str) -> Any:
    """The server, once no task is under way and no evacuation of it either."""

    def asked() -> Any:
        under_way = [
            m
            for m in nova.migrations.list(instance_uuid=server_id)
            if m.status in ("accepted", "pre-migrating")
        ]
        server = nova.servers.get(server_id)
        return None if under_way or getattr(server, TASK_STATE) else server

    return _wait("the server to settle", asked)


def _refused(status: int, call: Callable[[], object]) -> str:
    """The message of a refusal with this status."""
    with pytest.raises(nova_errors.ClientException) as caught:
        call()
    assert caught.value.code == status
    assert caught.value.request_id.startswith("req-")
    return str(caught.value.message)


# -- nothing has died


def test_services_are_listed(nova: Any) -> None:
    services = nova.services.list()
    assert {s.host for s in services if s.binary == "nova-compute"} == HOSTS
    assert {s.binary for s in services} == {"nova-compute", "nova-scheduler", "nova-conductor"}
    one = _service(nova, "compute1").to_dict()
    assert one.pop("id")
    assert datetime.datetime.fromisoformat(one.pop("updated_at"))
    assert one == {
        "binary": "nova-compute",
        "host": "compute1",
        "zone": "nova",
        "status": "enabled",
        "state": "up",
        "disabled_reason": None,
        "forced_down": False,
    }
    assert nova.services.list(host="nowhere") == []


def test_a_service_is_disabled_with_a_reason_and_enabled(nova: Any) -> None:
    service = _service(nova, "compute2")
    nova.services.disable_log_reason(service.id, "why")
    seen = _service(nova, "compute2")
    assert (seen.status, seen.disabled_reason, seen.state) == ("disabled", "why", "up")
    nova.services.enable(service.id)
    seen = _service(nova, "compute2")
    assert (seen.status, seen.disabled_reason) == ("enabled", None)


def test_a_service_is_forced_down_and_up_again(nova: Any) -> None:
    service = _service(nova, "compute2")
    nova.services.force_down(service.id, True)
    seen = _service(nova, "compute2")
    assert (seen.state, seen.forced_down) == ("down", True)
    nova.services.force_down(service.id, False)
    _wait("compute2 up", lambda: _service(nova, "compute2").state == "up")


def test_updates_of_services_that_are_refused(nova: Any) -> None:
    scheduler = nova.services.list(binary="nova-scheduler")[0]
    assert "not supported" in _refused(400, lambda: nova.services.enable(scheduler.id))
    assert "could not be found" in _refused(404, lambda: nova.services.enable(NOBODY))
    assert "Invalid uuid" in _refused(400, lambda: nova.services.enable("7"))


def test_an_unknown_server(nova: Any) -> None:
    assert _refused(404, lambda: nova.servers.get(NOBODY)).startswith(f"Instance {NOBODY} could")
    for action in (nova.servers.evacuate, nova.servers.stop, nova.servers.lock):
        _refused(404, lambda action=action: action(NOBODY))
    _refused(404, lambda: nova.servers.reset_state(NOBODY, "error"))


def test_evacuate_is_refused_while_the_host_is_up(cloud: Cloud, nova: Any) -> None:
    (server,) = cloud.boot(1, "compute1")
    message = _refused(400, lambda: nova.servers.evacuate(server))
    assert message == "Compute service of compute1 is still in use."
    assert "not found" in _refused(404, lambda: nova.servers.evacuate(server, host="nowhere"))
    same = _refused(400, lambda: nova.servers.evacuate(server, host="compute1"))
    assert same == "The target host can't be the same one."
    seen = nova.servers.get(server)
    assert (getattr(seen, TASK_STATE), seen.status) == (None, "ACTIVE")
    assert nova.migrations.list(instance_uuid=server) == []


def test_a_server_in_full(cloud: Cloud, nova: Any) -> None:
    (server,) = cloud.boot(1, "compute3")
    seen = _settled(nova, server)
    assert (seen.status, getattr(seen, VM_STATE), getattr(seen, POWER_STATE)) == (
        "ACTIVE", "active", 1,
    )  # fmt: skip
    assert (getattr(seen, HOST), getattr(seen, NODE)) == ("compute3", "compute3")
    assert (seen.locked, seen.locked_reason, seen.host_status) == (False, None, "UP")
    assert seen.metadata == {"HA_Enabled": "True"}
    assert not hasattr(seen, "fault")


def test_lock_and_unlock(cloud: Cloud, nova: Any) -> None:
    (server,) = cloud.boot(1, "compute3")
    nova.servers.lock(server, reason="hacore recovery")
    seen = nova.servers.get(server)
    assert (seen.locked, seen.locked_reason) == (True, "hacore recovery")
    nova.servers.unlock(server)
    nova.servers.unlock(server)
    seen = nova.servers.get(server)
    assert (seen.locked, seen.locked_reason) == (False, None)


def test_stop_and_start(cloud: Cloud, nova: Any) -> None:
    (server,) = cloud.boot(1, "compute3")
    assert "vm_state active" in _refused(409, lambda: nova.servers.start(server))
    nova.servers.stop(server)
    seen = _settled(nova, server)
    assert (seen.status, getattr(seen, POWER_STATE)) == ("SHUTOFF", 4)
    assert "vm_state stopped" in _refused(409, lambda: nova.servers.stop(server))
    nova.servers.start(server)
    seen = _settled(nova, server)
    assert (seen.status, getattr(seen, POWER_STATE)) == ("ACTIVE", 1)
    nova.servers.reset_state(server, "error")
    assert nova.servers.get(server).status == "ERROR"
    nova.servers.stop(server)  # an ERROR server may be stopped
    assert _settled(nova, server).status == "SHUTOFF"


def test_a_deleted_server_is_gone(cloud: Cloud, nova: Any) -> None:
    (server,) = cloud.boot(1, "compute3")
    since = nova.servers.get(server).updated
    nova.servers.delete(server)

    def gone() -> bool:
        try:
            nova.servers.get(server)
        except nova_errors.NotFound:
            return True
        return False

    _wait("the server to go", gone)
    opts = {"all_tenants": 1, "changes-since": since}
    changed = {s.id: s.status for s in nova.servers.list(search_opts=opts)}
    assert changed[server] == "DELETED"


def test_pages_and_filters_of_servers(cloud: Cloud, nova: Any) -> None:
    here, there = cloud.boot(3, "compute3"), cloud.boot(2, "compute4")

    def listed(limit: int | None = None, marker: str | None = None, **opts: object) -> list[str]:
        found = nova.servers.list(
            search_opts={"all_tenants": 1, **opts}, limit=limit, marker=marker
        )
        return [server.id for server in found]

    everything = listed(limit=-1)
    assert set(here + there) <= set(everything)
    assert set(listed(host="compute4")) >= set(there)
    assert set(listed(host="compute4")).isdisjoint(here)
    assert listed(host="nowhere") == []
    two = listed(limit=2)
    assert two == everything[:2]
    assert listed(limit=2, marker=two[-1]) == everything[2:4]
    assert listed(limit=-1, marker=everything[-1]) == []
    assert set(listed(status="SHUTOFF")).isdisjoint(here)
    assert set(listed(status="active")) >= set(here)
    future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    assert listed(**{"changes-since": future.isoformat()}) == []
    assert set(listed(**{"changes-since": "2020-01-01T00:00:00Z"})) >= set(everything)
    assert "marker" in _refused(400, lambda: listed(marker=NOBODY))
    assert "Invalid status value" in _refused(400, lambda: listed(status="WELL"))
    _refused(400, lambda: listed(nonsense=1))


def test_instance_actions(cloud: Cloud, nova: Any) -> None:
    (server,) = cloud.boot(1, "compute3")
    _settled(nova, server)
    for act in (
        nova.servers.lock,
        nova.servers.unlock,
        nova.servers.stop,
        nova.servers.start,
        lambda each: nova.servers.reboot(each, "HARD"),
        lambda each: nova.servers.reset_state(each, "active"),
    ):
        act(server)
        assert _settled(nova, server).status in ("ACTIVE", "SHUTOFF")
    known = nova.instance_action.list(server)
    names = [each.action for each in known]
    assert names == ["resetState", "reboot", "start", "stop", "unlock", "lock", "create"]
    assert [each.message for each in known] == [None] * 7
    assert all(each.user_id and each.request_id.startswith("req-") for each in known)
    # by the same clock as the heartbeats; what serves a real Nova may write no Date
    heartbeat = max(each.updated_at for each in nova.services.list(binary="nova-compute"))
    age = _time(heartbeat) - _time(known[0].start_time)
    assert -15 <= age.total_seconds() < 60
    nova.servers.delete(server)
    _refused(404, lambda: nova.instance_action.list(NOBODY))


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_aggregates(nova: Any) -> None:
    aggregate = nova.aggregates.create(f"spare-{time.time_ns()}", None)
    try:
        message = _refused(409, lambda: nova.aggregates.create(aggregate.name, None))
        assert "already exists" in message
        nova.aggregates.add_host(aggregate.id, "compute4")
        message = _refused(409, lambda: nova.aggregates.add_host(aggregate.id, "compute4"))
        assert message == f"Aggregate {aggregate.id} already has host compute4."
        assert aggregate.id in [a.id for a in nova.aggregates.list() if "compute4" in a.hosts]
        _refused(404, lambda: nova.aggregates.add_host(aggregate.id, "nowhere"))
        nova.aggregates.remove_host(aggregate.id, "compute4")
        _refused(404, lambda: nova.aggregates.remove_host(aggregate.id, "compute4"))
    finally:
        nova.aggregates.delete(aggregate.id)
    _refused(404, lambda: nova.aggregates.get(aggregate.id))


def test_hypervisors(nova: Any) -> None:
    hypervisors = nova.hypervisors.list(detailed=True)
    assert {h.service["host"] for h in hypervisors} == HOSTS
    assert {(h.state, h.status) for h in hypervisors} == {("up", "enabled")}


def test_wrong_password_and_wrong_token(cloud: Cloud, session: keystone_session.Session) -> None:
    auth = v3.Password(
        **cloud.auth | {"password": "wrong"}, user_domain_id="default", project_domain_id="default"
    )
    with requests.Session() as http, pytest.raises(keystone_errors.Unauthorized):
        keystone_session.Session(auth=auth, session=http).get_token()
    url = session.get_endpoint(service_type="compute", interface="public")
    with requests.Session() as http:
        answer = http.get(f"{url}/servers", headers={"X-Auth-Token": "unknown"}, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401


def test_microversions(session: keystone_session.Session) -> None:
    url = session.get_endpoint(service_type="compute", interface="public")

    def asked(version: str) -> Any:
        headers = {"OpenStack-API-Version": f"compute {version}"}
        return session.get(f"{url}/servers", headers=headers, raise_exc=False)

    answer = asked("2.53")
    assert answer.status_code == 200
    assert answer.headers["OpenStack-API-Version"] == "compute 2.53"
    assert answer.headers["X-OpenStack-Nova-API-Version"] == "2.53"
    assert asked("2.999").status_code == 406
    assert asked("2.999").json()["computeFault"]["code"] == 406
    assert asked("two").status_code == 400


# -- a host has died


class Dead:
    """compute1 with the servers that were on it, each for one test."""

    def __init__(self, active: list[str], stopped: list[str]) -> None:
        self.active = active
        self.stopped = stopped


@pytest.fixture(scope="class")
def dead(cloud: Cloud, nova: Any) -> Iterator[Dead]:
    _clean(cloud, nova)
    servers = cloud.boot(11, "compute1")
    stopped = servers[9:]
    for server in stopped:
        nova.servers.stop(server)
    for server in servers:
        _settled(nova, server)
    cloud.kill("compute1")
    _wait("compute1 down", lambda: _service(nova, "compute1").state == "down")
    yield Dead(servers[:9], stopped)
    _clean(cloud, nova)


class TestDeadHost:
    """In the order of the file; the last one brings the host back."""

    def test_the_server_is_shown_as_before(self, nova: Any, dead: Dead) -> None:
        seen = nova.servers.get(dead.active[0])
        assert (seen.status, seen.host_status) == ("ACTIVE", "UNKNOWN")
        assert getattr(seen, POWER_STATE) == 1

    def test_evacuate(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        assert nova.servers.evacuate(server) is not None
        seen = nova.servers.get(server)
        assert (seen.status, getattr(seen, TASK_STATE)) == ("REBUILD", "rebuilding")
        assert (getattr(seen, VM_STATE), getattr(seen, HOST)) == ("active", "compute1")
        (migration,) = nova.migrations.list(instance_uuid=server)
        assert migration.status in ("accepted", "pre-migrating")
        assert (migration.source_compute, migration.migration_type) == ("compute1", "evacuation")
        states, tasks = _watch(nova, server)
        assert states in (["accepted", "pre-migrating", "done"], ["pre-migrating", "done"])
        assert set(tasks) <= {
            "rebuilding", "rebuild_block_device_mapping", "rebuild_spawning", None
        }  # fmt: skip
        seen = nova.servers.get(server)
        assert (seen.status, getattr(seen, POWER_STATE), seen.host_status) == ("ACTIVE", 1, "UP")
        assert getattr(seen, HOST) in HOSTS - {"compute1"}
        (migration,) = nova.migrations.list(instance_uuid=server)
        assert migration.dest_compute == getattr(seen, HOST)
        assert (migration.dest_node, migration.source_node) == (getattr(seen, NODE), "compute1")
        assert "still in use" in _refused(400, lambda: nova.servers.evacuate(server))

    def test_evacuate_to_a_named_host(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        nova.servers.evacuate(server, host="compute3")
        (migration,) = nova.migrations.list(instance_uuid=server)
        assert migration.dest_compute == "compute3"
        seen = _settled(nova, server)
        assert (seen.status, getattr(seen, HOST)) == ("ACTIVE", "compute3")

    def test_evacuate_a_locked_server_as_admin(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        nova.servers.lock(server, reason="hacore")
        nova.servers.evacuate(server)
        seen = _settled(nova, server)
        assert (seen.status, seen.locked, seen.locked_reason) == ("ACTIVE", True, "hacore")
        assert getattr(seen, HOST) != "compute1"

    def test_a_stopped_server_stays_stopped(self, nova: Any, dead: Dead) -> None:
        server = dead.stopped.pop()
        nova.servers.evacuate(server)
        assert nova.servers.get(server).status == "REBUILD"
        states, tasks = _watch(nova, server)
        assert states[-1] == "done"
        assert set(tasks) <= {
            "rebuilding", "rebuild_block_device_mapping", "rebuild_spawning", "powering-off", None
        }  # fmt: skip
        seen = nova.servers.get(server)
        assert (seen.status, getattr(seen, POWER_STATE)) == ("SHUTOFF", 4)
        assert getattr(seen, HOST) != "compute1"

    def test_from_2_95_on_it_ends_stopped(
        self, nova: Any, session: keystone_session.Session, dead: Dead
    ) -> None:
        server = dead.active.pop()
        nova_client.Client("2.95", session=session).servers.evacuate(server)
        seen = _settled(nova, server)
        assert (seen.status, getattr(seen, POWER_STATE)) == ("SHUTOFF", 4)

    def test_stop_waits_for_the_host_and_evacuate_does_not(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        nova.servers.stop(server)
        time.sleep(2)
        seen = nova.servers.get(server)
        assert (seen.status, getattr(seen, TASK_STATE)) == ("ACTIVE", "powering-off")
        message = _refused(409, lambda: nova.servers.stop(server))
        assert message.endswith("while it is in task_state powering-off")
        nova.servers.evacuate(server)  # since Zed: a task that is set does not matter
        seen = _settled(nova, server)
        assert (seen.status, getattr(seen, HOST) != "compute1") == ("ACTIVE", True)

    def test_an_error_server_comes_back_active(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        nova.servers.reset_state(server, "error")
        seen = nova.servers.get(server)
        assert (seen.status, getattr(seen, VM_STATE)) == ("ERROR", "error")
        nova.servers.evacuate(server)
        seen = nova.servers.get(server)
        assert (seen.status, getattr(seen, VM_STATE)) == ("REBUILD", "error")
        seen = _settled(nova, server)
        assert (seen.status, getattr(seen, HOST) != "compute1") == ("ACTIVE", True)

    def test_no_valid_host(self, nova: Any, dead: Dead) -> None:
        server = dead.stopped.pop()
        others = [_service(nova, host) for host in sorted(HOSTS - {"compute1"})]
        for service in others:
            nova.services.disable_log_reason(service.id, "test")
        try:
            nova.servers.evacuate(server)
            states, _ = _watch(nova, server)
            assert states[-1] == "error"
            seen = _settled(nova, server)
            assert (seen.status, getattr(seen, HOST)) == ("ERROR", "compute1")
            assert (
                seen.fault["message"]
                == "No valid host was found. There are not enough hosts available."
            )
            assert seen.fault["code"] == 500
        finally:
            for service in others:
                nova.services.enable(service.id)
        nova.servers.evacuate(server, host="compute4")  # the way out: once more
        seen = _settled(nova, server)
        assert (seen.status, getattr(seen, HOST)) == ("ACTIVE", "compute4")
        assert not hasattr(seen, "fault")
        newest, oldest = nova.migrations.list(instance_uuid=server)
        assert (newest.status, oldest.status) == ("done", "error")

    def test_evacuate_to_a_host_that_is_down(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        nova.services.force_down(_service(nova, "compute2").id, True)
        try:
            nova.servers.evacuate(server, host="compute2")
            states, _ = _watch(nova, server)
            assert states[-1] == "error"
            assert _settled(nova, server).status == "ERROR"
        finally:
            nova.services.force_down(_service(nova, "compute2").id, False)

    def test_filters_and_pages_of_migrations(self, nova: Any, dead: Dead) -> None:
        del dead
        listed = nova.migrations.list
        known = listed(source_compute="compute1", migration_type="evacuation")
        assert len(known) >= 9
        assert [m.id for m in known] == sorted((m.id for m in known), reverse=True)
        assert listed(source_compute="compute2", status="done") == []
        done = listed(source_compute="compute1", status="done")
        assert {m.id for m in done} == {m.id for m in known if m.status == "done"}
        by_host = {m.id for m in listed(host="compute3")}
        assert by_host >= {m.id for m in known if m.dest_compute == "compute3"}
        first = listed(source_compute="compute1", limit=3)
        assert [m.id for m in first] == [m.id for m in known[:3]]
        then = listed(source_compute="compute1", limit=3, marker=first[-1].uuid)
        assert [m.id for m in then] == [m.id for m in known[3:6]]
        _refused(400, lambda: listed(marker=NOBODY))
        future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        assert listed(changes_since=future.isoformat()) == []
        since = listed(source_compute="compute1", changes_since="2020-01-01T00:00:00Z")
        assert {m.id for m in since} == {m.id for m in known}

    def test_changes_since_does_not_show_what_never_changed(self, nova: Any, dead: Dead) -> None:
        server = dead.active.pop()
        nova.servers.evacuate(server)
        since = nova.migrations.list(instance_uuid=server, changes_since="2020-01-01T00:00:00Z")
        (now,) = nova.migrations.list(instance_uuid=server)
        # Of one that is `accepted` still, updated_at is NULL; the answers may be apart in time.
        assert {m.status for m in since} <= {"pre-migrating", "done"}
        assert (now.updated_at is None) == (now.status == "accepted")
        _settled(nova, server)

    def test_forcing_up_is_refused_until_the_host_has_been_back(
        self, cloud: Cloud, nova: Any, dead: Dead
    ) -> None:
        server = dead.active.pop()
        nova.servers.stop(server)  # to be found undone when the host is back
        service = _service(nova, "compute1")
        nova.services.force_down(service.id, True)
        message = _refused(400, lambda: nova.services.force_down(service.id, False))
        assert message.startswith("Unable to force up host compute1 as `done` evacuation")
        cloud.revive("compute1")
        known = {"source_compute": "compute1", "migration_type": "evacuation"}
        _wait("no `done`", lambda: not nova.migrations.list(status="done", **known))
        assert nova.migrations.list(status="completed", **known)
        assert _service(nova, "compute1").state == "down"  # forced, though alive
        nova.services.force_down(service.id, False)
        _wait("compute1 up", lambda: _service(nova, "compute1").state == "up")
        seen = _settled(nova, server)
        assert (seen.status, getattr(seen, HOST)) == ("SHUTOFF", "compute1")


class TestTwice:
    """Nova takes a second evacuation of the same server: nobody may send one."""

    def test_two_evacuations_of_one_server_are_both_accepted(self, cloud: Cloud, nova: Any) -> None:
        (server,) = cloud.boot(1, "compute2")
        _settled(nova, server)
        cloud.kill("compute2")
        _wait("compute2 down", lambda: _service(nova, "compute2").state == "down")
        nova.servers.evacuate(server)
        nova.servers.evacuate(server)
        assert len(nova.migrations.list(instance_uuid=server)) == 2
        _wait("the first to end", lambda: _count(nova, server, "done", "failed", "error") > 0)
        # A start completes one migration of each server; the other needs one more start.
        for _ in range(3):
            cloud.revive("compute2")
            _wait("compute2 up", lambda: _service(nova, "compute2").state == "up")
            if not _count(nova, server, "done", "accepted", "pre-migrating"):
                break
            cloud.kill("compute2")
            _wait("compute2 down", lambda: _service(nova, "compute2").state == "down")


def _count(nova: Any, server: str, *states: str) -> int:
    return sum(m.status in states for m in nova.migrations.list(instance_uuid=server))


def _watch(nova: Any, server: str) -> tuple[list[str], list[str | None]]:
    """The states its newest migration and its tasks went through, as far as they were seen."""
    states: list[str] = []
    tasks: list[str | None] = []

    def ended() -> bool:
        task = getattr(nova.servers.get(server), TASK_STATE)
        status = nova.migrations.list(instance_uuid=server)[0].status
        if not states or states[-1] != status:
            states.append(status)
        if not tasks or tasks[-1] != task:
            tasks.append(task)
        return status in ("done", "failed", "error")

    _wait("the evacuation to end", ended)
    return states, tasks
