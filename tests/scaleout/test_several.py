# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a rolling restart relies on, of uwsgi and of RabbitMQ."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.e2e.clients import Hacore, now
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment
from tests.scaleout.conftest import ENGINES
from tests.servers import RabbitMQ

_WAITING = {
    "mysql": "SELECT 1 FROM information_schema.innodb_trx t "
    "JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
    "WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()",
    "postgresql": "SELECT 1 FROM pg_stat_activity "
    "WHERE wait_event_type = 'Lock' AND datname = current_database()",
}


def test_uwsgi_answers_what_it_has_begun(deployment: Deployment) -> None:
    api = deployment.apis["api1"].daemon
    client = Hacore(deployment.apis["api1"].url, "admin:admin")
    client.make_segment(["compute1"])
    payload = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
    body = {
        "type": "COMPUTE_HOST",
        "hostname": "compute1",
        "generated_time": now(),
        "payload": payload,
    }
    engine = sa.create_engine(deployment.database_url, poolclass=sa.NullPool)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as lock:  # what the intake needs, so that it is under way
            lock.execute(sa.text("SELECT * FROM hosts FOR UPDATE"))
            post = pool.submit(client.ask, "POST", "/notifications", {"notification": body})
            wait_for(
                "the request to be under way",
                lambda: deployment.read(_WAITING[engine.dialect.name]),
                30,
            )
            os.kill(api.pid, signal.SIGTERM)
            api.wait_until_it_says("graceful shutdown triggered", 30)
        answer = post.result()
    assert answer.status_code == 202, answer.text
    assert api.end() == 0
    client.close()


@pytest.mark.parametrize("deployment", ["mysql"], indirect=True)
def test_queues_are_quorum_queues_and_restarts_leave_none(
    deployment: Deployment, broker: RabbitMQ
) -> None:
    def begin(name: str) -> None:
        engine = deployment.start_engine(name)
        engine.wait_until_it_says("Listening for wake-ups", 60)

    for engine in deployment.engines.values():
        engine.wait_until_it_says("Listening for wake-ups", 60)
    before = broker.queues()
    assert set(before.values()) == {"quorum"}
    for name in ENGINES:
        assert deployment.engines[name].end() == 0
        begin(name)
    # those of wake-ups expire; they have another name at each start
    lasting = {name for name in broker.queues() if "_fanout_" not in name}
    assert lasting == {name for name in before if "_fanout_" not in name}
    assert len(lasting) == 2
