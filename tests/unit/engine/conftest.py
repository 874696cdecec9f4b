# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A simulated world for the engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from hacore.db import schema
from hacore.db.engine import Database
from tests.simulation import Simulation
from tests.world import World


@pytest.fixture
def world(conf: cfg.ConfigOpts, tmp_path: Path) -> Iterator[World]:
    """A cloud of four hosts and an empty database; no engine runs yet."""
    clock = Simulation()
    conf.set_override("connection", f"sqlite:///{tmp_path}/hacore.sqlite", group="database")
    db = Database(conf.database, clock=clock)
    schema.sync(db)
    yield World(conf, db, clock)
    clock.close()
    db.dispose()
