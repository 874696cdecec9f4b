# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One writer behind haproxy goes away in the middle of recoveries, and another node is the writer.

What that costs in seconds is printed, and not judged.
"""

import time
from collections.abc import Callable

import pytest

from tests.crash.sandbox import Sandbox
from tests.e2e.daemons import wait_for
from tests.e2e.reporting import Figures
from tests.galera.cluster import Cluster, Node
from tests.galera.conftest import DYING, Deploy
from tests.galera.haproxy import HAProxy
from tests.galera.rack import Rack

_AWAY: dict[str, Callable[[Node], None]] = {"killed": Node.kill, "cut off": Node.freeze}


@pytest.mark.timeout(420)
@pytest.mark.parametrize("away", _AWAY)
def test_the_writer_goes_away_in_the_middle(
    cluster: Cluster,
    haproxy: HAProxy,
    deploy: Deploy,
    sandbox: Sandbox,
    figures: Figures,
    away: str,
) -> None:
    writer, _, watched = cluster.nodes
    deployment = deploy([haproxy.url] * 3, mysql_wsrep_sync_wait=1)
    rack = Rack(deployment, sandbox, watched.url)
    undisturbed, hosts, late = DYING[:5], DYING[5:9], DYING[9]
    rack.fill([*undisturbed, *hosts, late], 5)

    rack.die_together(undisturbed)
    expected_s = rack.wait_until_ended()

    rack.die_together(hosts)
    wait_for("recoveries to be in the middle", rack.under_way, 60, 0.05)
    _AWAY[away](writer)
    began = time.monotonic()
    rack.die(late, 0)  # it is taken in once there is a writer again
    answered_s = time.monotonic() - began
    took_s = rack.wait_until_ended()

    rack.check([*undisturbed, *hosts, late])
    figures.add(
        f"25 instances of 5 hosts, the writer {away} in the middle: a report is taken in after "
        f"{answered_s:.1f} s, all back in {took_s:.1f} s; undisturbed {expected_s:.1f} s, "
        f"lost {took_s - expected_s:.1f} s; claimed again {rack.claimed_again()} times; "
        f"{dict(sorted(rack.counts.items()))}"
    )
