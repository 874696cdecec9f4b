# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The Nova gateway, against the sandbox."""

import pytest
from oslo_config import cfg

from hacore import errors
from hacore.nova import Nova
from hacore_sandbox.cloud import Cloud
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
    with pytest.raises(error, match=r"Could not evacuate instance i-1: .*injected fault") as caught:
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
