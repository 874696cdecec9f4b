# Licensed under the Apache License, Version 2.0; see LICENSE.
"""kill -9 in a loop: what was accepted ends, nothing is lost, nothing is done twice."""

import random
import time

import pytest

from tests.crash.conftest import ENGINES, Deploy
from tests.crash.sandbox import Sandbox
from tests.crash.story import Story, rounds
from tests.e2e.deployment import Servers, missing_servers
from tests.e2e.reporting import Figures

ROUNDS = rounds(4)


@pytest.mark.timeout(120 + 120 * ROUNDS)
def test_kill_9_in_a_loop(deploy: Deploy, sandbox: Sandbox, figures: Figures) -> None:
    if missing := missing_servers():
        pytest.fail(f"nothing listens at {', '.join(missing)}")
    deployment = deploy(Servers())
    story = Story(deployment, sandbox)
    victims = [*ENGINES * 2, *deployment.apis]

    def kill(chance: random.Random) -> None:
        for _ in range(chance.randint(1, 4)):
            name = chance.choice(victims)
            only_the_worker = chance.random() < 0.3
            time.sleep(chance.uniform(0.0, 2.0))  # the random moment
            if name in deployment.apis:
                deployment.apis[name].daemon.kill()
                deployment.start_api(name)
            elif only_the_worker and deployment.engines[name].kill_children():
                name += "'s worker"
            else:
                deployment.engines[name].kill()
                deployment.start_engine(name)
            story.counts[f"kills of {name}"] += 1

    story.tell(ROUNDS, kill, figures)
    assert not story.counts["POST answered 503"]  # the database was there all the time
