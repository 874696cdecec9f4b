# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The world of one scenario: cloud, database, engines, all of them watched."""

import functools
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.clock import Clock
from hacore.db import schema
from hacore.db.engine import Database
from tests.scenarios.clock import MachineClock, WorldClock
from tests.scenarios.log import Handler, Log
from tests.scenarios.transports import DatabaseDoor, NovaDoor
from tests.schedules.actors import Pool
from tests.world import World

_LOGGER = logging.getLogger("hacore")
# oslo.service's; its launcher registers it
_GRACEFUL_SHUTDOWN_TIMEOUT = cfg.IntOpt("graceful_shutdown_timeout", default=60)


class Stage(World):
    """A `World` that tells what happens in it.

    :param folder: for the database.
    :param options: of hacore, by ``group.name`` or ``name``.
    :param settings: of the cloud, over those of the preset ``instant``.
    """

    def __init__(self, folder: Path, options: dict[str, Any], settings: dict[str, Any]) -> None:
        path = folder / "hacore.sqlite"
        path.write_bytes(_empty_database())
        self.clock: WorldClock = WorldClock()
        self.database_clock = MachineClock(self.clock)
        self.machines: dict[str, MachineClock] = {}
        self.bus_works = True
        conf = _options(folder)
        _override(conf, {"database.connection": f"sqlite:///{path}"})
        db = Database(conf.database, clock=self.database_clock)
        super().__init__(conf, db, self.clock, **settings)
        _override(conf, options)  # now: the world has set a login
        self.log = Log(self.clock)
        self.database = DatabaseDoor(db, str(path), self.clock, self.log)
        self.before_call: Callable[[str], None] = lambda _call: None
        self.doors: dict[str, NovaDoor] = {}  #: by engine
        self.door: NovaDoor | None = None  #: of the call that is about to leave, or has left
        self._handler = Handler(self.log)
        _LOGGER.addHandler(self._handler)
        _LOGGER.propagate = False

    def close(self) -> None:
        """End everything."""
        _LOGGER.removeHandler(self._handler)
        _LOGGER.propagate = True
        self.clock.close()
        self.database.close()
        self.db.dispose()

    # ------------------------------------------------------------ engines

    def clock_of(self, engine: str) -> Clock:
        return self.machines.setdefault(engine, MachineClock(self.clock))

    def http_of(self, engine: str) -> NovaDoor:
        door = self.doors[engine] = NovaDoor(self.rest, self.clock, self.cloud, self.log)

        def before(call: str) -> None:
            self.door = door
            self.before_call(call)

        door.before = before
        return door

    def pool_of(self, engine: str) -> Pool:
        return Pool(self.clock, engine)

    def wake(self) -> None:
        if self.bus_works:
            super().wake()

    def terminate_engine(self, name: str) -> None:
        """SIGTERM: what does not stop in time ends with the process."""
        queue = self._queues.pop(name)
        timeout_s = self.conf.graceful_shutdown_timeout

        def stop() -> None:
            if queue.stop(timeout_s):
                self.log.line("has stopped", name)
            else:
                self.log.line(f"has not stopped within {timeout_s} s, and is killed", name)
                self.clock.kill(name)

        self.clock.spawn(f"{name} stops", stop)


@functools.cache
def _empty_database() -> bytes:
    """A database file with hacore's tables."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hacore.sqlite"
        conf = _options(Path(folder))
        _override(conf, {"database.connection": f"sqlite:///{path}"})
        db = Database(conf.database)
        schema.sync(db)
        db.dispose()
        return path.read_bytes()


def _options(folder: Path) -> cfg.ConfigOpts:
    options = cfg.ConfigOpts()
    hacore_conf.register(options)
    options.register_opt(_GRACEFUL_SHUTDOWN_TIMEOUT)
    options([], project="hacore", default_config_files=[], default_config_dirs=[])
    _override(options, {"state_path": str(folder), "database.sqlite_synchronous": False})
    return options


def _override(options: cfg.ConfigOpts, values: dict[str, Any]) -> None:
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        options.set_override(name, value, group=group or None)
