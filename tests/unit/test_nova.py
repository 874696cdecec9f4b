# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The Nova gateway, against the sandbox."""

from typing import Any

import pytest
import requests
from oslo_config import cfg

from hacore import errors
from hacore.nova import Nova
from hacore.nova.session import call_name
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.rest import Rest
from tests.unit.conftest import MakeNova
from tests.world import SandboxAdapter


def fault(cloud: Cloud, **rule: object) -> None:
    cloud.faults.put({"calls": [rule]}, cloud.now)


@pytest.mark.parametrize(
    ("newest", "lock_has_reason"), [((2, 100), True), ((2, 90), True), ((2, 60), False)]
)
def test_the_microversion_is_agreed_on(
    make_nova: MakeNova, newest: tuple[int, int], lock_has_reason: bool
) -> None:
    nova, cloud, *_ = make_nova(max_microversion=newest)
    assert nova.lock_has_reason is lock_has_reason
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    nova.lock(server.uuid, "because")
    assert nova.instance(server.uuid).lock_reason == ("because" if lock_has_reason else None)


def negotiations(rest: Rest) -> int:
    asked = rest.counters.describe()["requests"]
    return sum(row["count"] for row in asked if row["route"].endswith("/v2.1"))


class Guard:
    """Nothing is in the way."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        raise AssertionError("nothing to wait for")


def test_all_recoveries_share_one_microversion(make_nova: MakeNova) -> None:
    nova, _, rest, _ = make_nova()
    for number in range(5):
        assert nova.bound(Guard(), f"req-{number}").service("compute1") is not None
    assert negotiations(rest) == 1


def test_it_is_negotiated_again_with_another_nova(make_nova: MakeNova) -> None:
    """The recovery fails and is retried; an engine need not be restarted."""
    nova, cloud, rest, _ = make_nova()
    nova.log_in()
    fault(cloud, path="os-services", status=406, times=1)
    with pytest.raises(errors.NovaError, match=r"Failed to read the compute service of compute1"):
        nova.bound(Guard(), "req-1").service("compute1")
    twin = nova.bound(Guard(), "req-2")
    assert twin.service("compute1") is not None
    assert nova.microversion == twin.microversion == "2.90"
    assert negotiations(rest) == 2


def test_a_nova_that_is_too_old_is_named(make_nova: MakeNova) -> None:
    nova, *_ = make_nova(max_microversion=(2, 38))
    with pytest.raises(errors.NovaError, match=r"up to 2\.38; hacore needs 2\.53"):
        nova.log_in()


def test_an_evacuated_instance_is_active_whatever_nova_offers(make_nova: MakeNova) -> None:
    nova, cloud, _, clock = make_nova(max_microversion=(2, 100))
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    cloud.kill("compute1")
    clock.pass_time(10)
    nova.evacuate(server.uuid)
    clock.pass_time(10)
    assert nova.instance(server.uuid).vm_state == "active"


def test_lists_are_read_to_the_end(make_nova: MakeNova) -> None:
    nova, cloud, rest, _ = make_nova(max_limit=10)
    cloud.fill(35, "p", "u", ["compute1"])
    cloud.fill(5, "p", "u", ["compute2"])
    assert len(nova.instances_on("compute1")) == 35
    assert len(nova.uuids_on("compute1")) == 35
    asked = [row for row in rest.counters.describe()["requests"] if "servers" in row["route"]]
    assert sum(row["count"] for row in asked) == 8


def test_hosts_are_service_hosts_not_hypervisors(make_nova: MakeNova) -> None:
    nova, cloud, *_ = make_nova(hypervisor_suffix=".example.org")
    cloud.fill(1, "p", "u", ["compute1"])
    (instance,) = nova.instances_on("compute1")
    assert instance.host == "compute1"
    service = nova.service("compute1")
    assert service is not None
    assert service.host == "compute1"


def test_a_service_nova_does_not_know_is_none(make_nova: MakeNova) -> None:
    nova, *_ = make_nova()
    assert nova.service("nowhere") is None


def test_services_are_disabled_enabled_and_forced_down(make_nova: MakeNova) -> None:
    nova, *_ = make_nova()

    def service() -> tuple[bool, bool, str | None]:
        row = nova.service("compute1")
        assert row is not None
        return row.enabled, row.up, row.disabled_reason

    row = nova.service("compute1")
    assert row is not None
    nova.disable_service(row, "why")
    assert service() == (False, True, "why")
    nova.enable_service(row)
    assert service() == (True, True, None)
    nova.force_down(row)
    assert service() == (True, False, None)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.NovaBadRequest),
        (403, errors.NovaForbidden),
        (404, errors.NovaNotFound),
        (409, errors.NovaConflict),
        (501, errors.NovaError),
    ],
)
def test_refusals_are_told_apart_and_not_repeated(
    make_nova: MakeNova, status: int, error: type[errors.NovaError]
) -> None:
    nova, cloud, rest, _ = make_nova()
    nova.log_in()
    rest.counters.reset()
    fault(cloud, path="/servers/", status=status)
    with pytest.raises(error, match=r"Failed to evacuate instance i-1: .*injected fault") as caught:
        nova.evacuate("i-1")
    assert type(caught.value) is error
    assert rest.counters.describe()["total"] == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_is_repeated_while_nova_is_away_or_busy(make_nova: MakeNova, status: int) -> None:
    nova, cloud, _, clock = make_nova()
    fault(cloud, path="os-services", status=status, times=4)
    assert nova.service("compute1") is not None
    assert 0.5 < clock.monotonic() < 30


def test_retry_after_is_heeded(make_nova: MakeNova) -> None:
    nova, cloud, _, clock = make_nova()
    fault(cloud, path="os-services", status=429, retry_after=20, times=1)
    nova.service("compute1")
    assert clock.monotonic() >= 20


def test_retry_after_is_cut_to_the_time_that_is_left(
    conf: cfg.ConfigOpts, make_nova: MakeNova
) -> None:
    """A client of the API waits for this; a proxy may ask for hours."""
    _, cloud, rest, clock = make_nova()
    nova = Nova(conf, clock=clock, retry_timeout_s=5, http=SandboxAdapter(rest, clock))
    fault(cloud, path="os-services", status=429, retry_after=7200)
    with pytest.raises(errors.TransientNovaError, match=r"tried for 5 s"):
        nova.service("compute1")
    assert 5 <= clock.monotonic() < 16


@pytest.mark.parametrize("rule", [{"status": 503}, {"status": 500}, {"drop": "after"}])
def test_the_outcome_of_an_evacuation_that_broke_off_is_unknown(
    make_nova: MakeNova, rule: dict[str, object]
) -> None:
    nova, cloud, rest, _ = make_nova()
    nova.log_in()
    rest.counters.reset()
    fault(cloud, path="action", **rule)
    with pytest.raises(errors.NovaOutcomeUnknown):
        nova.evacuate("i-1")
    assert rest.counters.describe()["total"] == 1


def test_an_evacuation_that_nova_was_too_busy_for_is_repeated(make_nova: MakeNova) -> None:
    nova, cloud, _, clock = make_nova()
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    cloud.kill("compute1")
    clock.pass_time(10)
    fault(cloud, path="action", status=429, times=2)
    nova.evacuate(server.uuid)
    assert [record.status for record in nova.evacuations_from("compute1")] == ["accepted"]


def test_in_the_end_it_gives_up_and_says_for_how_long_it_tried(make_nova: MakeNova) -> None:
    nova, cloud, _, clock = make_nova()
    cloud.faults.put({"unavailable": {"compute": 1000}}, cloud.now)
    with pytest.raises(errors.TransientNovaError, match=r"tried for 300 s"):
        nova.service("compute1")
    assert 300 <= clock.monotonic() < 320


def test_keystone_away_is_a_delay(make_nova: MakeNova) -> None:
    nova, cloud, *_ = make_nova()
    cloud.faults.put({"unavailable": {"identity": 60}}, cloud.now)
    assert nova.service("compute1") is not None


def test_a_wrong_password_is_said_at_once(conf: cfg.ConfigOpts, make_nova: MakeNova) -> None:
    nova, cloud, rest, clock = make_nova()
    conf.set_override("password", "wrong", group="nova")
    nova = Nova(conf, clock=clock, http=SandboxAdapter(rest, clock))
    with pytest.raises(errors.NovaForbidden, match=r"check the login in \[nova\]"):
        nova.log_in()
    assert clock.monotonic() < 1
    del cloud


def test_the_guard_is_asked_before_every_request(make_nova: MakeNova) -> None:
    nova, cloud, _, clock = make_nova()
    nova.log_in()
    fault(cloud, path="os-services", status=503)

    class Guard:
        asked = 0

        def check(self) -> None:
            self.asked += 1
            if self.asked == 4:
                raise errors.LeaseLost

        def wait(self, seconds: float) -> None:
            clock.pass_time(seconds)

    guard = Guard()
    bound = nova.bound(guard, "req-1")
    with pytest.raises(errors.LeaseLost):
        bound.service("compute1")
    assert bound.refusals > 0
    assert nova.refusals == 0


class Answering(SandboxAdapter):
    """Answers requests for one path with a body that is not Nova's."""

    def __init__(self, *args: Any, path: str, status: int, body: bytes) -> None:
        super().__init__(*args)
        self._path, self._status, self._body = path, status, body

    def send(self, request: Any, **options: Any) -> requests.Response:
        answer = super().send(request, **options)
        if self._path in request.url:
            answer.status_code, answer._content = self._status, self._body
        return answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("os-services", b"<html>Down for maintenance</html>"),
        ("os-services", b'{"services": [{"id": "x"}]}'),
        ("os-services", b"[]"),
        ("/v2.1", b'{"version": {"version": "next"}}'),
    ],
)
def test_whatever_has_not_the_expected_shape_is_one_error(
    conf: cfg.ConfigOpts, make_nova: MakeNova, path: str, body: bytes
) -> None:
    _, _, rest, clock = make_nova()
    nova = Nova(conf, clock=clock, http=Answering(rest, clock, path=path, status=200, body=body))
    with pytest.raises(errors.NovaError, match=r"Failed to .*: unexpected answer from Nova"):
        nova.host_names()


def test_a_redirected_action_is_not_followed(conf: cfg.ConfigOpts, make_nova: MakeNova) -> None:
    _, _, rest, clock = make_nova()
    elsewhere = Answering(rest, clock, path="action", status=302, body=b"")
    with pytest.raises(errors.NovaError, match=r"instance i-1: Nova redirected .* \(HTTP 302\)"):
        Nova(conf, clock=clock, http=elsewhere).evacuate("i-1")


@pytest.mark.parametrize(
    ("method", "url", "body", "name"),
    [
        ("GET", "http://nova/v2.1/servers/detail?all_tenants=1", None, "GET servers/detail"),
        ("GET", "http://nova/compute/v2.1/servers/0a1b", None, "GET servers/{id}"),
        ("PUT", "http://nova:8774/v2.1/os-services/7", b"{}", "PUT os-services/{id}"),
        (
            "POST",
            "http://nova/v2.1/os-aggregates/3/action",
            b'{"add_host": {"host": "x"}}',
            "POST os-aggregates/{id}/action add_host",
        ),
        ("POST", "http://keystone/v3/auth/tokens", b"{}", "POST auth/tokens"),
        ("GET", "http://nova/v2.1/", None, "GET versions"),
        (
            "GET",
            "http://nova/v2.1/servers/0a1b/os-instance-actions",
            None,
            "GET servers/{id}/os-instance-actions",
        ),
    ],
)
def test_the_name_of_a_call_has_no_ids(
    method: str, url: str, body: bytes | None, name: str
) -> None:
    assert call_name(method, url, body) == name
