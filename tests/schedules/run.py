# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Lets the plan of a seed happen, with hacore's own code in the sandbox's world."""

import atexit
import collections
import contextlib
import dataclasses
import gc
import logging
import random
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable

from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.db import approvals, holds, interventions, proofs, schema
from hacore.db.holds import Held
from hacore.engine.flows import Flows
from hacore.engine.queue import Queue
from hacore.errors import Conflict, DatabaseUnavailable
from hacore.states import ENDED, Rule
from hacore_sandbox.model import Server
from tests import factories
from tests.schedules import verdict
from tests.schedules.actors import Actors
from tests.schedules.checks import Checks
from tests.schedules.device_checks import DeviceChecks
from tests.schedules.engines import WatchedWorld
from tests.schedules.fault_injection import OPERATOR, FaultInjection
from tests.schedules.fencing import WatchedAgents
from tests.schedules.plans import TOLD, Ambush, Crash, EnginePlan, Plan
from tests.schedules.transports import WATCHED, Doors, WatchedDatabase

_GRACEFUL_S = 60
#: Seconds that the world goes on after the last notification has ended.
_AFTERWARDS_S = 20.0
#: Between two looks of an operator at what is held.
_LOOKS_S = 90.0
#: How often they confirm that a host is off where a device says on again and again.
_CONFIRMS = 5
_RUNS_PER_COLLECTION = 10
#: What an operator reads where more hosts are missing than were shown.
_MISSING = re.compile(r"^The facts have changed: (\d+)(?: of \d+)? hosts are missing")


@dataclasses.dataclass
class Result:
    """What became of one schedule."""

    seed: int
    violations: list[str]
    simulated_s: float
    wall_s: float
    kinds: list[str]  #: of what went wrong
    kills: int
    takeovers: int
    notifications: int
    evacuations: int
    story: list[str]


class Bench:
    """What the schedules of one process share: options, flows, and an emptied database."""

    def __init__(self) -> None:
        self.conf = cfg.ConfigOpts()
        hacore_conf.register(self.conf)
        self.conf([], project="hacore", default_config_files=[], default_config_dirs=[])
        scratch = tempfile.mkdtemp(prefix="hacore-schedules-")
        atexit.register(shutil.rmtree, scratch)
        self.conf.set_override("state_path", scratch)
        self.conf.set_override("connection", "sqlite://", group="database")
        # in memory: another connection, after an hour, would be another database
        self.conf.set_override("connection_recycle_time", -1, group="database")
        self.db = WatchedDatabase(self.conf.database)
        schema.sync(self.db)
        self.db.watch()
        self.flows = Flows(self.conf)
        self._runs = 0
        # what is there by now stays, and the rest is collected between two runs
        gc.collect()
        gc.freeze()
        # it prints a traceback of what a retry raises, and raises it
        logging.getLogger("taskflow").addHandler(logging.NullHandler())

    def run(self, plan: Plan, *, tell: bool = False) -> Result:
        """Let a plan happen.

        :param tell: write the story down, which takes time.
        """
        self._runs += 1
        if self._runs % _RUNS_PER_COLLECTION == 0:
            gc.collect()
        for group, options in plan.options.items():
            for name, value in options.items():
                self.conf.set_override(name, value, None if group == "DEFAULT" else group)
        return _Run(self, plan, tell=tell).run()


class _Broken(logging.Handler):
    """Takes an exception that nobody expected for a violation."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and "exception" in record.msg:
            error = record.exc_info[1]
            self._told(f"{record.getMessage()}: {type(error).__name__}: {error}")


class _Story(logging.Handler):
    """Every line of hacore's log, by simulated second and engine."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.levelname.lower(), record.getMessage())


class _Run:
    """One schedule."""

    def __init__(self, bench: Bench, plan: Plan, *, tell: bool) -> None:
        self._plan = plan
        self._tells = tell
        self._story: list[str] = []
        self._kills = 0
        self._healed_at = plan.healed_at
        self._without_power: set[str] = set()  #: nobody can tell that these are dead
        self._lives = {engine.name: 0 for engine in plan.engines}
        chance = random.Random(f"run-{plan.seed}")
        self._clock = clock = Actors(chance)
        bench.db.empty(clock)
        self._db = bench.db
        self._world = WatchedWorld(bench.conf, bench.db, bench.flows, clock, plan)
        self._cloud = self._world.cloud
        self._servers: dict[str, Server] = {}
        self._confirmed: collections.Counter[str] = collections.Counter()
        self._populate()
        self._checks = Checks(clock, self._cloud, WATCHED)
        self._checks.owned_locks = frozenset(
            self._servers[instance.name].uuid for instance in plan.instances if instance.lock
        )
        self._checks.max_share = plan.options["mass_failure"]["max_share"]
        devices = DeviceChecks(self._checks, plan.fencing, plan.options["fencing"])
        self._checks.devices = devices
        self._doors = Doors(clock, self._checks, chance)
        agents = WatchedAgents(self._cloud, self._doors, devices)
        if plan.fencing is not None:
            self._world.have_devices(plan.fencing, agents)
        bench.db.open(self._doors)
        self._doors.lie_in_wait(plan.ambushes, self._world.is_running, self._strike)
        self._events = FaultInjection(
            plan, clock, self._world, self._doors, self._servers, agents, self._tell
        )

    def _populate(self) -> None:
        segments = [factories.segment(self._db, **values) for values in self._plan.segments]
        aggregate = self._cloud.state.add_aggregate("all", None)
        for host in self._plan.hosts:
            self._world.hosts[host.name] = factories.host(
                self._db,
                host.name,
                segment_uuid=segments[host.segment].uuid,
                reserved=host.reserved,
            )
            self._cloud.state.host(host.name).capacity = host.capacity
            self._world.service(host.name).disabled = host.disabled
            if not host.reserved:
                aggregate.hosts.append(host.name)
        for instance in self._plan.instances:
            lock = {"locked": instance.lock, "locked_reason": "theirs"} if instance.lock else {}
            metadata = {"HA_Enabled": "True"} if instance.ha else {}
            (uuid,) = self._world.boot(
                1,
                instance.host,
                name=instance.name,
                metadata=metadata,
                states=instance.states | lock,
            )
            server = self._cloud.state.servers[uuid]
            server.name = instance.name
            self._servers[instance.name] = server

    # ---------------------------------------------------------------- run

    def run(self) -> Result:
        """Let it happen, and judge it."""
        begun = time.perf_counter()
        logger = logging.getLogger("hacore")
        handlers: list[logging.Handler] = [_Broken(self._checks.broken)]
        if self._tells:
            handlers.append(_Story(self._tell))
        level, logger.propagate = logger.level, False
        logger.setLevel(logging.INFO if self._tells else logging.ERROR)
        if not self._tells:
            logging.disable(logging.WARNING)  # formatting costs more than the recovery
        for handler in handlers:
            logger.addHandler(handler)
        gc.disable()
        try:
            self._live()
        finally:
            gc.enable()
            for handler in handlers:
                logger.removeHandler(handler)
            logging.disable(logging.NOTSET)
            logger.propagate = True
            logger.setLevel(level)
            self._clock.close()
        state = self._cloud.state
        self._events.note_what_struck()
        return Result(
            seed=self._plan.seed,
            violations=[self._named(text) for text in self._checks.violations],
            simulated_s=self._clock.monotonic(),
            wall_s=time.perf_counter() - begun,
            kinds=sorted(self._events.kinds),
            kills=self._kills,
            takeovers=self._checks.takeovers,
            notifications=len(self._checks.rows["notifications"]),
            evacuations=len(state.migrations),
            story=[self._named(line) for line in self._story],
        )

    def _live(self) -> None:
        for engine in self._plan.engines:
            self._clock.at(engine.starts_at, lambda engine=engine: self._start(engine))
        self._clock.spawn(OPERATOR, self._decide)
        for happening in self._plan.happenings:
            self._clock.at(happening.at, lambda happening=happening: self._events.happen(happening))
        while not self._is_over():
            self._healed_at = max(self._healed_at, self._doors.felt_until)
            if self._clock.monotonic() > self._healed_at + self._plan.bound_s:
                verdict.not_ended(self._checks, self._plan.bound_s)
                return
            self._clock._step()
        ended_at = self._clock.monotonic()
        self._clock.at(ended_at + _AFTERWARDS_S, lambda: None)
        self._clock.run(lambda: self._clock.monotonic() >= ended_at + _AFTERWARDS_S)
        if not self._checks.violations:
            verdict.at_the_end(self._checks, self._plan, self._cloud, self._servers)

    def _is_over(self) -> bool:
        if self._checks.violations:
            return True
        if self._events.to_come or self._clock.monotonic() < self._healed_at:
            return False
        rows = self._checks.rows["notifications"].values()
        return all(row["status"] in ENDED for row in rows)

    def _decide(self) -> None:
        """An operator looks now and then, and approves what has been held for a while."""
        never = threading.Event()
        while True:
            self._clock.wait(never, _LOOKS_S)
            with contextlib.suppress(DatabaseUnavailable):
                for held in holds.all_of(self._db):
                    # devices are asked again and again: it is not held all the time
                    if (held.total_s if self._plan.fencing else held.for_s) > _LOOKS_S:
                        self._approve(held)

    def _approve(self, held: Held, missing: int | None = None) -> None:
        try:
            is_dead = not self._cloud.state.host(held.host).service.alive
            if held.rule == Rule.PROOF and is_dead and self._confirmed[held.uuid] < _CONFIRMS:
                self._confirmed[held.uuid] += 1
                if self._plan.fencing is not None:  # they pull its plugs
                    self._cloud.switch(held.host, False)
                proofs.confirm_off(self._db, held.host_uuid, held.host, "an operator", "it is off")
                self._events.kinds.add("held and confirmed off")
                self._tell("world", f"an operator confirms that {held.host} is off")
                return
            if held.rule == Rule.PROOF:
                why = "a device says that it is on, whatever is done" if is_dead else "it lives"
                interventions.abandon(self._db, held.uuid, "an operator", why)
                self._events.kinds.add("held and abandoned")
                return
            approvals.approve(self._db, held.uuid, None, "an operator", "it is right", missing)
            self._events.kinds.add(f"held and approved: {held.rule}")
            self._tell("world", f"an operator approves {held.uuid} ({held.rule})")
        except Conflict as exc:
            more = _MISSING.search(str(exc))
            if more and missing is None:  # they look again, as that says
                self._approve(held, int(more[1]))
        except DatabaseUnavailable:  # they try again
            pass

    # ------------------------------------------------------------ engines

    def _start(self, engine: EnginePlan) -> None:
        life = self._lives[engine.name]
        self._lives[engine.name] += 1
        name = f"{engine.name}{life + 1}"
        self._tell("world", f"engine {name} starts")
        if life < len(engine.crashes):
            self._doors.expect(
                name, engine.crashes[life], lambda crash: self._crash(engine, name, crash)
            )
        self._world.start(name, self._doors)

    def _strike(self, name: str, ambush: Ambush, kind: str) -> None:
        """An engine has done what an ambush was laid for."""
        self._tell("world", f"engine {name}: {ambush}")
        self._events.kinds.add(TOLD[ambush.kind])
        if kind:
            if ambush.kind == "power" or ambush.of.endswith(" commit"):
                self._without_power.add(name)  # what says otherwise would be in its transaction
            (engine,) = (plan for plan in self._plan.engines if name.startswith(plan.name))
            self._crash(engine, name, Crash(kind, 0, ambush.pause_s))

    def _crash(self, engine: EnginePlan, name: str, crash: Crash) -> None:
        """The engine is at the door where this is to happen."""
        self._tell("world", f"engine {name}: {crash.kind} at its door {crash.door}")
        self._events.kinds.add(crash.kind)
        again_at = self._clock.monotonic() + crash.pause_s
        self._healed_at = max(self._healed_at, again_at + 1)
        if crash.kind == "freeze":
            self._clock.freeze(name, crash.pause_s)
            self._clock.pass_time(0)
            return
        self._doors.crashes.pop(name, None)
        self._clock.at(again_at, lambda: self._start(engine))
        queue = self._world.end(name)
        if crash.kind == "kill":
            self._kills += 1
            self._clock.kill(name)
            if name not in self._without_power:
                self._world.died(name)
        else:
            self._clock.spawn(name, self._stop, name, queue)

    def _stop(self, name: str, queue: Queue) -> None:
        queue.stop(_GRACEFUL_S)
        self._clock.kill(name)  # the process ends, whatever its threads do
        self._world.died(name)

    # -------------------------------------------------------------- story

    def _tell(self, who: str, text: str) -> None:
        if self._tells:
            actor = self._clock.current
            where = actor.group if actor is not None else "-"
            self._story.append(f"{self._clock.monotonic():9.2f} {who:<8}{where:<10}{text}")

    def _named(self, text: str) -> str:
        """The same with short names for uuids, which differ from run to run."""
        names = {server.uuid: name for name, server in self._servers.items()}
        rows = self._checks.rows
        names |= {uuid: f"N{n}" for n, uuid in enumerate(rows["notifications"], 1)}
        names |= {uuid: row["name"] for uuid, row in rows["hosts"].items()}
        for uuid, name in names.items():
            text = text.replace(uuid, name)
        return text
