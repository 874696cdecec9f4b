# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The world of a schedule: its engines go through watched doors, and wait in simulated time."""

import contextlib
import datetime
import functools
import random
import threading
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg

from hacore import events, processes
from hacore.db import services
from hacore.db.models import Service
from hacore.engine.context import EngineContext
from hacore.engine.flows import Flows
from hacore.engine.listing_cache import ListingCache
from hacore.engine.operation import Operator
from hacore.engine.queue import Queue
from hacore.engine.recovery import Recoverer
from hacore.engine.review import Review
from hacore.engine.watch import Watch
from hacore.errors import DatabaseUnavailable
from hacore.nova import Nova, make_session
from tests.devices import Devices, SimulatedAgents
from tests.schedules.actors import Actors, Lock, Pool
from tests.schedules.plans import INTERVAL_S, FencingPlan, Plan
from tests.schedules.transports import Doors, WatchedDatabase, Wire
from tests.world import Looks, World

_BINARY = "hacore-engine"


class WatchedWorld(World):
    """The world of the tests, with engines whose doors are watched."""

    report_interval_s = INTERVAL_S

    def __init__(
        self, conf: cfg.ConfigOpts, db: WatchedDatabase, flows: Flows, clock: Actors, plan: Plan
    ) -> None:
        super().__init__(conf, db, clock, hosts=len(plan.hosts), **plan.cloud)
        self.watched = db
        self._flows = flows
        self._wakes = plan.wakes
        self._me = processes.this_process() if plan.sees_dead else None
        conf.set_override("devices_file", "", group="fencing")

    def have_devices(self, plan: FencingPlan, agents: SimulatedAgents) -> None:
        """Give hosts the devices of a plan."""
        classes = {
            device.name: {"hosts": " ".join(device.hosts), "level": device.level}
            for device in plan.devices
        }
        self.devices = Devices(self.conf, self.cloud, classes, agents)

    def start(self, engine: str, doors: Doors) -> None:
        """Start one life of an engine."""
        clock = doors.clock
        self._takes_over_from_the_dead(engine)
        session = make_session(self.conf, clock, http=Wire(self.rest, doors))
        session.session.trust_env = False  # else each request reads the environment and ~/.netrc
        session.auth._lock = Lock(clock)  # keystoneauth's, held while a token is fetched
        nova = Nova(self.conf, clock=clock, rng=random.Random(engine), session=session)
        watch = Watch(self.conf, self.db, nova, clock, engine)
        fencing = self.devices and self.devices.fencing(clock)
        context = EngineContext(
            self.conf, self.db, nova, clock, Pool(clock, engine), watch, fencing
        )
        watch.looked = Review(context, self.wake, threading.Event()).look
        # locks are held while a host is listed, and hosts are counted: who waits for one waits in
        # simulated time
        context.listings = ListingCache(
            clock, self.conf.verify_interval, functools.partial(Lock, clock)
        )
        context.census.alone = Lock(clock)
        wake = self.wake if self._wakes else lambda: None
        recoverer = Recoverer(context, self._flows, events.Events(), wake)
        operator = Operator(context, self._flows, wake)

        def submit(body: Any, claim: Any, lease: Any) -> None:
            looks.wake()
            clock.spawn_for((claim.uuid, claim.number), engine, body, claim, lease)

        queue = Queue(
            self.conf, self.db, clock, engine, submit, recoverer.recover, operator.operate
        )
        looks = Looks(clock, watch, queue, self.db, lambda: self._queues.get(engine) is queue)
        clock.spawn(engine, queue.run)
        clock.spawn(engine, queue.keep_leases, lambda: None)
        self._queues[engine] = queue
        clock.spawn(engine, looks.run)

    def _takes_over_from_the_dead(self, engine: str) -> None:
        """As `Engine.start` does; every life has a row, and is this very process until it dies."""
        if self._me is None:
            return
        with contextlib.suppress(DatabaseUnavailable):  # then the leases are waited for
            services.release_claims_of_the_dead(self.db, _BINARY)
        now = self.clock.now()
        self.watched.behind_the_doors(
            sa.insert(Service).values(
                name=engine,
                binary=_BINARY,
                host="controller",
                pid=self._me.pid,
                version="0",
                created_at=now,
                alive_until=now + datetime.timedelta(days=1),
                boot_id=self._me.boot_id,
                pid_namespace=self._me.pid_namespace,
                pid_started=self._me.started,
            )
        )

    def died(self, engine: str) -> None:
        """Its process is gone, and another one of the same machine can tell."""
        if self._me is not None:
            self.watched.behind_the_doors(
                sa.update(Service)
                .where(Service.name == engine)
                .values(pid_started=self._me.started - 1)
            )

    def is_running(self, engine: str) -> bool:
        """Whether nothing has told it to end."""
        return engine in self._queues

    def end(self, engine: str) -> Queue:
        """A life of an engine ends; nobody wakes it any more."""
        return self._queues.pop(engine)
