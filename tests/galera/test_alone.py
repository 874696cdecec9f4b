# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A node that has lost the others: it takes connections, and answers no statement.

Its API says 503 and never 500, its engine waits, and both go on when the others are back.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.crash.sandbox import Sandbox
from tests.e2e.checks import DEAD
from tests.e2e.clients import notification
from tests.e2e.daemons import wait_for
from tests.e2e.reporting import Figures
from tests.galera.cluster import Cluster
from tests.galera.conftest import DYING, Deploy
from tests.galera.rack import Rack


@pytest.mark.timeout(300)
def test_a_node_without_the_others_is_a_database_that_is_away(
    cluster: Cluster, deploy: Deploy, sandbox: Sandbox, figures: Figures
) -> None:
    node, *others = cluster.nodes
    deployment = deploy([node.url], mysql_wsrep_sync_wait=1)
    rack = Rack(deployment, sandbox, node.url)
    hosts, late = DYING[:4], DYING[4]
    rack.fill([*hosts, late], 5)
    rack.die_together(hosts)
    wait_for("recoveries to be in the middle", rack.under_way, 60, 0.05)

    counts: Counter[int] = Counter()
    url = f"{deployment.url}/v1/notifications"
    headers = {"X-Auth-Token": "admin:admin"}

    def post() -> int:
        body = notification("COMPUTE_HOST", late, DEAD)
        answer = requests.post(url, json=body, headers=headers, timeout=60)
        counts[answer.status_code] += 1
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code

    sandbox.kill(late)
    for other in others:
        other.freeze()
    with ThreadPoolExecutor(4) as pool:  # some are at COMMIT when it finds itself alone
        for answered in [pool.submit(post) for _ in range(4)]:
            answered.result()
    wait_for("the node to be alone", lambda: not node.is_ready(), 60)
    assert post() == 503
    assert requests.get(url, headers=headers, timeout=60).status_code == 503
    (engine,) = deployment.engines.values()
    engine.wait_until_it_says("left until the database is back", 60)
    assert set(counts) <= {202, 409, 503}, counts

    cluster.mend()
    wait_for("the report to be known", lambda: post() == 409, 60)
    rack.wait_until_ended()
    rack.check([*hosts, late])
    figures.add(f"answers while the node was alone, and until it was not: {dict(counts)}")
