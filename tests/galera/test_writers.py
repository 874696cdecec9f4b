# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Several nodes that take writes side by side: what is decided is decided once.

HACORE_GALERA_PAIRS: how many equal reports come in at the same moment.
"""

import os
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from tests.crash.sandbox import Sandbox
from tests.crash.story import CRASHED
from tests.e2e.clients import Hacore, notification
from tests.e2e.deployment import Deployment
from tests.e2e.reporting import Figures
from tests.galera.cluster import Cluster
from tests.galera.conftest import DYING, Deploy
from tests.galera.rack import Rack

PAIRS = int(os.environ.get("HACORE_GALERA_PAIRS", "20"))


def post_at_once(deployment: Deployment, bodies: list[dict[str, Any]]) -> list[list[Any]]:
    """Post each of `bodies` to all APIs at the same moment, one after the other; the answers."""
    apis = list(deployment.apis.values())
    together = threading.Barrier(len(apis))

    def post(url: str) -> list[requests.Response]:
        client = Hacore(url, "admin:admin")
        answers = []
        for body in bodies:
            together.wait(60)
            answers.append(client.ask("POST", "/notifications", body))
        client.close()
        return answers

    with ThreadPoolExecutor(len(apis)) as pool:
        posted = [pool.submit(post, api.url) for api in apis]
        return [list(answers) for answers in zip(*(each.result() for each in posted), strict=True)]


@pytest.mark.timeout(120 + 2 * PAIRS)
@pytest.mark.parametrize("writers", [2, 3])
def test_of_equal_reports_on_several_nodes_one_is_accepted(
    cluster: Cluster, deploy: Deploy, writers: int, figures: Figures
) -> None:
    deployment = deploy([node.url for node in cluster.nodes[:writers]], engines=False)
    client = Hacore(deployment.url, "admin:admin")
    client.make_segment(DYING)
    client.close()
    bodies = [
        notification("VM", DYING[number % 3], {**CRASHED, "instance_uuid": str(uuid.uuid4())})
        for number in range(PAIRS)
    ]
    counts = Counter(
        tuple(sorted(answer.status_code for answer in answers))
        for answers in post_at_once(deployment, bodies)
    )
    figures.add(f"{PAIRS} equal reports to {writers} nodes: {dict(counts)}")
    assert counts == {(202, *[409] * (writers - 1)): PAIRS}
    expected = {f"instance:{body['notification']['payload']['instance_uuid']}" for body in bodies}
    for node in cluster.nodes:
        stored = subjects(deployment, node.url)
        assert len(stored) == PAIRS
        assert set(stored) == expected


def subjects(deployment: Deployment, server: str) -> list[str]:
    """Of the notifications that a node has, once it has all that was committed before."""
    url = sa.make_url(server).set(database=sa.make_url(deployment.database_url).database)
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        connection.execute(sa.text("SET SESSION wsrep_sync_wait = 1"))
        return list(connection.scalars(sa.text("SELECT subject FROM notifications")))


@pytest.mark.timeout(300)
def test_engines_on_three_nodes_evacuate_each_instance_once(
    cluster: Cluster, deploy: Deploy, sandbox: Sandbox, figures: Figures
) -> None:
    """Every failure is reported to every API, and every engine is told of it."""
    deployment = deploy([node.url for node in cluster.nodes])
    rack = Rack(deployment, sandbox, cluster.nodes[0].url)
    hosts = DYING[:6]
    rack.fill(hosts, 10)
    rack.die_together(hosts)
    took_s = rack.wait_until_ended()
    rack.check(hosts)
    owners = Counter(row["owner"].partition(":")[2] for row in rack.recoveries())
    assert len(owners) > 1  # else it shows nothing of several engines
    figures.add(
        f"60 instances of {len(hosts)} hosts, engines on three nodes held "
        f"{sorted(owners.values())} of the recoveries: all back in {took_s:.1f} s, "
        f"each evacuated once; {dict(sorted(rack.counts.items()))}"
    )
