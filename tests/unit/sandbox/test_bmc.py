# Licensed under the Apache License, Version 2.0; see LICENSE.
"""BMCs, and hosts that lose their power."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from hacore_sandbox.settings import PRESETS
from hacore_sandbox.wire import Response
from tests.unit.sandbox.conftest import Bench


def ask(
    bench: Bench, body: Any = None, *, name: str = "compute1", login: str = "admin:admin"
) -> Response:
    """A call at the door of a BMC."""
    authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
    method = "GET" if body is None else "POST"
    return bench.ask(method, f"/bmc/{name}", body, {"authorization": authorization})


def set_bmc(bench: Bench, name: str = "compute1", **values: Any) -> Response:
    return bench.control("PUT", f"bmcs/{name}", values)


def host(bench: Bench, name: str = "compute1") -> dict[str, Any]:
    """What is so of a host, whatever Nova knows of it."""
    (found,) = [row for row in bench.control("GET", "state").body["hosts"] if row["name"] == name]
    shown: dict[str, Any] = found
    return shown


def test_off_and_on(bench: Bench) -> None:
    (vm,) = bench.servers(1)
    assert ask(bench).body["power"] == "on"
    assert ask(bench, {"power": "off"}).status == 202
    assert ask(bench).body["power"] == "off"
    assert (host(bench)["alive"], host(bench)["power"]) == (False, "off")
    assert not bench.cloud.state.servers[vm].guest_up
    bench.sleep(7)
    assert host(bench)["state"] == "down"
    assert ask(bench, {"power": "on"}).status == 202
    assert ask(bench).body["power"] == "on"
    assert host(bench)["state"] == "down"  # it takes its time to start
    bench.sleep(2.1)
    assert (host(bench)["alive"], host(bench)["state"]) == (True, "up")
    assert (host(bench, "compute2")["alive"], host(bench, "compute2")["power"]) == (True, "on")


def test_an_order_that_changes_nothing(bench: Bench) -> None:
    ask(bench, {"power": "on"})
    assert host(bench)["alive"]
    ask(bench, {"power": "off"})
    ask(bench, {"power": "off"})
    bench.sleep(10)
    assert not host(bench)["alive"]
    orders = bench.control("GET", "bmcs/compute1").body["orders"]
    assert [(order["user"], order["power"]) for order in orders] == [
        ("admin", "on"),
        ("admin", "off"),
        ("admin", "off"),
    ]


def test_cut_off_and_without_power_are_two_things(bench: Bench) -> None:
    """Nova sees the same of both."""
    cut, dark = bench.servers(1, "compute1") + bench.servers(1, "compute2")
    bench.control("POST", "hosts/compute1/kill")
    bench.control("POST", "hosts/compute2/power", {"power": "off"})
    bench.sleep(7)
    assert [host(bench, name)["state"] for name in ("compute1", "compute2")] == ["down", "down"]
    assert [ask(bench, name=name).body["power"] for name in ("compute1", "compute2")] == [
        "on",
        "off",
    ]
    assert bench.cloud.state.servers[cut].guest_up
    assert not bench.cloud.state.servers[dark].guest_up


def test_a_host_that_was_cut_off_is_switched_off(bench: Bench) -> None:
    (vm,) = bench.servers(1)
    bench.kill()
    ask(bench, {"power": "off"})
    assert not bench.cloud.state.servers[vm].guest_up


def test_only_power_starts_a_host_without_power(bench: Bench) -> None:
    """The end of a cut does not."""
    ask(bench, {"power": "off"})
    answer = bench.control("POST", "hosts/compute1/revive")
    assert (answer.status, answer.body["error"]) == (409, "Compute host compute1 has no power.")
    bench.sleep(10)
    assert not host(bench)["alive"]
    assert bench.control("POST", "hosts/compute1/power", {"power": "on"}).status == 204
    bench.sleep(2.1)
    assert host(bench)["alive"]


def test_power_lost_during_the_start(bench: Bench) -> None:
    ask(bench, {"power": "off"})
    ask(bench, {"power": "on"})
    bench.sleep(1)
    ask(bench, {"power": "off"})
    bench.sleep(10)
    assert not host(bench)["alive"]


def test_one_that_takes_its_time(bench: Bench) -> None:
    set_bmc(bench, mode="delay", delay_s=30)
    assert ask(bench, {"power": "off"}).status == 202
    bench.sleep(29)
    assert (ask(bench).body["power"], host(bench)["alive"]) == ("on", True)
    bench.sleep(2)
    assert (ask(bench).body["power"], host(bench)["alive"]) == ("off", False)


def test_one_that_lies(bench: Bench) -> None:
    set_bmc(bench, mode="lies")
    assert ask(bench, {"power": "off"}).status == 202
    bench.sleep(600)
    assert (ask(bench).body["power"], host(bench)["alive"]) == ("on", True)
    assert len(bench.control("GET", "bmcs/compute1").body["orders"]) == 1


@pytest.mark.parametrize("body", [None, {"power": "off"}])
def test_one_that_is_dead(bench: Bench, body: Any) -> None:
    set_bmc(bench, mode="dead")
    answer = ask(bench, body)
    assert answer.drop
    assert answer.delay_s > 60
    assert host(bench)["alive"]
    set_bmc(bench, mode="normal")
    assert ask(bench).body["power"] == "on"


def test_one_of_another_host(bench: Bench) -> None:
    """Somebody has mixed up two cables, or two addresses."""
    own, other = ask(bench).body["identity"], ask(bench, name="compute2").body["identity"]
    assert own != other
    set_bmc(bench, box="compute2")
    assert ask(bench).body["identity"] == other
    ask(bench, {"power": "off"})
    assert (host(bench)["alive"], host(bench, "compute2")["alive"]) == (True, False)
    assert ask(bench).body["power"] == "off"


def test_one_with_another_identity(bench: Bench) -> None:
    before = ask(bench).body["identity"]
    set_bmc(bench, identity="4c4c4544-0051-4810-8050-b1c04f4d0001")
    assert ask(bench).body["identity"] == "4c4c4544-0051-4810-8050-b1c04f4d0001"
    set_bmc(bench, identity=None)
    assert ask(bench).body["identity"] == before


def test_the_identity_of_a_host_is_the_same_in_each_sandbox(
    make_bench: Callable[..., Bench],
) -> None:
    benches = [make_bench(PRESETS["real"], seed) for seed in (1, 2)]
    first, second = [ask(bench).body["identity"] for bench in benches]
    assert first == second


@pytest.mark.parametrize("login", ["admin:wrong", "nobody:admin", "reader:admin", ""])
def test_a_wrong_login(bench: Bench, login: str) -> None:
    assert ask(bench, login=login).status == 401
    assert ask(bench, {"power": "off"}, login=login).status == 401
    assert bench.ask("GET", "/bmc/compute1").status == 401
    assert bench.ask("GET", "/bmc/compute1", headers={"authorization": "Basic ?"}).status == 401
    assert host(bench)["alive"]


def test_one_who_may_only_read(bench: Bench) -> None:
    assert ask(bench, login="reader:reader").body["power"] == "on"
    assert ask(bench, {"power": "off"}, login="reader:reader").status == 403
    assert host(bench)["alive"]


def test_what_does_not_exist(bench: Bench) -> None:
    assert ask(bench, name="compute99").status == 404
    assert ask(bench, {"power": "soft"}).status == 400
    assert bench.control("GET", "bmcs/compute99").status == 404
    assert bench.control("POST", "hosts/compute99/power", {"power": "off"}).status == 404
    assert bench.control("POST", "hosts/compute1/power", {}).status == 400


@pytest.mark.parametrize(
    "values",
    [{"mode": "moody"}, {"delay_s": -1}, {"delay_s": "long"}, {"identity": 5}, {"colour": "red"}],
)
def test_wrong_settings_change_nothing(bench: Bench, values: dict[str, Any]) -> None:
    before = bench.control("GET", "bmcs").body
    assert [bmc["name"] for bmc in before["bmcs"]][:2] == ["compute1", "compute2"]
    assert set_bmc(bench, **values).status == 400
    assert set_bmc(bench, box="compute99").status == 404
    assert bench.control("GET", "bmcs").body == before
