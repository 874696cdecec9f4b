# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host is brought back, on a real Nova."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.checks import DEAD, check_all_moved
from tests.e2e.clients import Hacore
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.e2e.ministack import Ministack
from tests.e2e.reporting import Figures

pytestmark = pytest.mark.e2e

Deploy = Callable[..., Deployment]
HacoreAt = Callable[[Deployment], Hacore]
FORCED = {"force_down": "always"}


def returned(hacore: Hacore, host_uuid: str) -> Any:
    """Ask for the return of a host; what has become of it."""
    answer = hacore.operate("POST", f"/hosts/{host_uuid}/return", {})
    assert answer.status_code == 202, answer.text
    path = f"/operations/{answer.json()['operation']['uuid']}"

    def ended() -> Any:
        shown = hacore.operate("GET", path).json()["operation"]
        return shown if shown["status"] in ("finished", "failed") else None

    return wait_for("the return to end", ended, 240)


def recovered(hacore: Hacore) -> Any:
    return hacore.wait_until_ended(hacore.notify("COMPUTE_HOST", "compute1", DEAD))


def test_the_circle(real: Ministack, deploy: Deploy, hacore_at: HacoreAt, figures: Figures) -> None:
    hacore = hacore_at(deploy(host_failure=FORCED))
    segment = hacore.make_segment(real.hosts)
    for number in range(2):
        instances = real.boot(3, "compute1")
        real.kill("compute1")
        ended = recovered(hacore)
        check_all_moved(real, hacore, ended, instances, "compute1")
        assert real.service("compute1").forced_down
        real.run("start-compute", "compute1")

        host = hacore.hosts(segment)["compute1"]
        shown = returned(hacore, host["uuid"])

        assert (shown["status"], shown["message"]) == ("finished", "compute1 is in service again.")
        service = real.service("compute1")
        assert (service.status, service.state, service.forced_down) == ("enabled", "up", False)
        assert not hacore.hosts(segment)["compute1"]["on_maintenance"]
        records = real.evacuations()
        assert {each.status for uuid in instances for each in records[uuid]} == {"completed"}
        figures.add(f"return {number + 1}: {shown['created_at']} to {shown['updated_at']}")


def test_a_host_that_is_started_in_the_middle_of_its_recovery(
    real: Ministack, deploy: Deploy, hacore_at: HacoreAt
) -> None:
    hacore = hacore_at(deploy(host_failure=FORCED))
    segment = hacore.make_segment(real.hosts)
    (uuid,) = real.boot(1, "compute1")
    real.slow_down(20, *(host for host in real.hosts if host != "compute1"))
    real.kill("compute1")
    notification = hacore.notify("COMPUTE_HOST", "compute1", DEAD)

    def status() -> str | None:
        return next((each.status for each in real.evacuations().get(uuid, [])), None)

    wait_for("the evacuation to be under way", lambda: status() == "pre-migrating", 60)
    real.run("start-compute", "compute1")
    wait_for("the destination to write done over completed", lambda: status() == "done", 120)
    assert hacore.wait_until_ended(notification)["status"] == "finished"

    host_uuid = hacore.hosts(segment)["compute1"]["uuid"]
    shown = returned(hacore, host_uuid)

    assert shown["status"] == "failed"
    assert "restart nova-compute on compute1 once more" in shown["message"]
    service = real.service("compute1")
    assert (service.status, service.forced_down) == ("disabled", True)
    real.kill("compute1")
    real.run("start-compute", "compute1")
    assert returned(hacore, host_uuid)["status"] == "finished"
    assert real.service("compute1").status == "enabled"
    assert real.see(uuid)[uuid].vm_state == "active"
