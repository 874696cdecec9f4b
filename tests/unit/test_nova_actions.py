# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How long ago an action began, by Nova's own clock, whatever other clocks say."""

from typing import Any

import pytest
from requests import Response

from hacore import errors
from hacore.nova import Action, Nova, responses
from tests.unit.conftest import MakeNova
from tests.world import SandboxAdapter


class Undated(SandboxAdapter):
    """What serves Nova's API writes no Date, as uWSGI does not."""

    def send(self, request: Any, **options: Any) -> Response:
        response = super().send(request, **options)
        response.headers.pop("Date", None)
        return response


def seen(nova: Nova, uuid: str) -> dict[str, Action]:
    return {action.name: action for action in nova.actions(uuid)}


@pytest.mark.parametrize("ahead_s", [0.0, 7200.0, -7200.0])
def test_an_age_is_at_most_two_seconds_too_large(make_nova: MakeNova, ahead_s: float) -> None:
    nova, cloud, _, clock = make_nova(stop_s=0.1)
    cloud.faults.put({"clock_ahead_s": ahead_s}, cloud.now)
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    for tenth in range(10):
        clock.pass_time(10.1)
        cloud.advance()
        cloud.state.actions.record(server, f"reboot-{tenth}", cloud.now)
        clock.pass_time(30)
        age_s = seen(nova, server.uuid)[f"reboot-{tenth}"].age_s
        assert 30 <= age_s <= 33


def test_without_a_date_the_newest_heartbeat_is_nova_s_clock(
    make_nova: MakeNova, conf: Any
) -> None:
    _, cloud, rest, clock = make_nova(report_interval_s=10.0, service_down_s=60.0)
    (server,) = cloud.fill(1, "p", "u", ["compute1"])
    nova = Nova(conf, clock=clock, http=Undated(rest, clock))
    clock.pass_time(139)
    assert 139 <= seen(nova, server.uuid)["create"].age_s <= 155


def test_one_that_is_gone(make_nova: MakeNova) -> None:
    nova, *_ = make_nova()
    with pytest.raises(errors.NovaNotFound):
        nova.actions("11111111-2222-3333-4444-555555555555")


def test_what_went_wrong_in_one_is_said() -> None:
    rows = [
        {"action": "reboot", "message": "Error", "start_time": "2026-01-01T00:00:10.000000"},
        {"action": "start", "message": None, "start_time": "2026-01-01T00:00:00.000000"},
    ]
    known = responses.actions({"instanceActions": rows})
    assert [(name, failed) for name, failed, _ in known] == [("reboot", True), ("start", False)]
