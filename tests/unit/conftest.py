# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A Nova gateway to a cloud of its own."""

import random
from collections.abc import Callable, Iterator

import pytest
from oslo_config import cfg
from oslo_messaging.conffixture import ConfFixture

from hacore.nova import Nova
from hacore_sandbox.cloud import Cloud
from hacore_sandbox.rest import Rest
from hacore_sandbox.settings import PRESETS, Settings
from tests.simulation import Simulation
from tests.world import SandboxAdapter, log_in

MakeNova = Callable[..., tuple[Nova, Cloud, Rest, Simulation]]


@pytest.fixture
def make_nova(conf: cfg.ConfigOpts) -> MakeNova:
    """Returns a gateway to a new cloud, with the settings that are given."""

    def make(**settings: object) -> tuple[Nova, Cloud, Rest, Simulation]:
        log_in(conf)
        clock = Simulation()
        instant = PRESETS["instant"]
        cloud = Cloud(clock, Settings(**{**vars(instant), **settings}), seed=1)  # type: ignore[arg-type]
        rest = Rest(cloud)
        nova = Nova(conf, clock=clock, rng=random.Random(1), http=SandboxAdapter(rest, clock))
        return nova, cloud, rest, clock

    return make


@pytest.fixture
def bus(conf: cfg.ConfigOpts) -> Iterator[cfg.ConfigOpts]:
    """Options with those of oslo.messaging, on an in-process bus."""
    # oslo.messaging registers some of its options on its own global only
    fixture = ConfFixture(conf, transport_url="fake://")
    fixture.setUp()
    yield conf
    fixture.cleanUp()
