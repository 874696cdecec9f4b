# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The engine as a service: its parts, when it is ready, how it stops."""

import logging
import threading
from collections.abc import Callable, Collection

import futurist
from oslo_config import cfg

from hacore import events
from hacore.clock import Clock
from hacore.db import hosts, services
from hacore.db.engine import Database
from hacore.engine.context import EngineContext
from hacore.engine.fencing import Fencing
from hacore.engine.flows import Flows
from hacore.engine.operation import Operator
from hacore.engine.probes import Probes
from hacore.engine.queue import Queue
from hacore.engine.recovery import Recoverer
from hacore.engine.review import Review
from hacore.engine.token_refresh import refresh_token
from hacore.engine.watch import Watch
from hacore.fencing import installed
from hacore.heartbeat import Heartbeat
from hacore.nova import Nova
from hacore.rpc import WakeListener, Waker

LOG = logging.getLogger(__name__)

#: Threads for the calls for single instances, for all recoveries together.
_CALL_THREADS = 64


class Engine:
    """One engine.  Makes threads and connections in `start`, never before: daemons fork.

    :param notify: sends a state to systemd (``READY=1`` and so on).
    :param agent_folders: where fence agents may be.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        clock: Clock,
        notify: Callable[[str], None],
        agent_folders: Collection[str] = installed.FOLDERS,
    ) -> None:
        self._conf = conf
        self._clock = clock
        self._notify = notify
        self._agent_folders = agent_folders
        self._queue: Queue | None = None

    def start(self) -> None:
        """Start claiming and recovering."""
        conf = self._conf
        self._db = Database(conf.database)
        self._heartbeat = Heartbeat(self._db, "hacore-engine", conf.host, conf.claim_lease)
        # unlike any other's, also after a restart: a dead engine's claims are not ours
        owner = self._heartbeat.name
        self._heartbeat.beat()
        for name in services.release_claims_of_the_dead(self._db, "hacore-engine"):
            LOG.info("engine %s on this host has died; released its claims", name)
        if unenforced := services.unenforced(self._db):
            LOG.warning("%s", unenforced)
        self._calls = futurist.ThreadPoolExecutor(max_workers=_CALL_THREADS)
        self._recoveries = futurist.ThreadPoolExecutor(max_workers=conf.max_concurrent_recoveries)
        self._events = events.connect(conf, "hacore-engine")
        self._waker = Waker(conf)
        self._stopped = threading.Event()
        nova = Nova(conf, clock=self._clock)
        self._watch = Watch(conf, self._db, nova, self._clock, owner)
        fencing = Fencing(conf, self._clock, folders=self._agent_folders)
        context = EngineContext(
            conf, self._db, nova, self._clock, self._calls, self._watch, fencing
        )
        context.fencing.check(host.name for host in hosts.registered(self._db))
        self._watch.looked = Review(context, self._waker.wake, self._stopped).look
        probes = Probes(context, owner)
        flows = Flows(conf)
        # wakes the other engines: this one claims no more
        recoverer = Recoverer(context, flows, self._events, self._waker.wake)
        operator = Operator(context, flows, self._waker.wake)
        self._queue = Queue(
            conf,
            self._db,
            self._clock,
            owner,
            self._recoveries.submit,
            recoverer.recover,
            operator.operate,
        )
        self._threads = [
            threading.Thread(target=self._queue.run, name="claims", daemon=True),
            threading.Thread(
                target=self._queue.keep_leases,
                args=(self._is_alive,),
                name="leases",
                daemon=True,
            ),
            threading.Thread(
                target=refresh_token,
                args=(nova, self._clock, self._stopped),
                name="token",
                daemon=True,
            ),
            threading.Thread(
                target=self._watch.run, args=(self._stopped,), name="heartbeats", daemon=True
            ),
            threading.Thread(target=probes.run, args=(self._stopped,), name="probes", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._listener = WakeListener(conf, conf.host, self._queue.wake)
        self._listener.start()
        self._notify("READY=1")
        LOG.info("engine %s is ready", owner)

    def _is_alive(self) -> None:
        self._heartbeat.beat()
        self._notify("WATCHDOG=1")

    def stop(self) -> None:
        """Interrupt all recoveries and release their claims: another engine continues."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        self._notify("STOPPING=1")
        LOG.info("engine is stopping: interrupting its recoveries")
        self._stopped.set()
        self._watch.wake()
        ended = queue.stop(self._conf.graceful_shutdown_timeout)
        if not ended:
            LOG.warning(
                "Timed out after %g s waiting for recoveries to stop; other engines take them over "
                "once their leases have expired",
                self._conf.graceful_shutdown_timeout,
            )
        self._listener.stop()
        self._waker.stop()
        self._events.stop()
        for thread in self._threads:
            thread.join(timeout=5)
        self._heartbeat.end()
        self._db.dispose()
        LOG.info("engine has stopped")
