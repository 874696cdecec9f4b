# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The parts of one API process, put together for hacore-api and for `hacore.cmd.wsgi` alike."""

import dataclasses
import threading
from wsgiref.types import WSGIApplication

from oslo_config import cfg

from hacore import events
from hacore.api.app import make_app
from hacore.clock import Clock
from hacore.db.engine import Database
from hacore.heartbeat import Heartbeat
from hacore.nova import Nova
from hacore.rpc import Waker

#: A client waits for the answer, so calls to Nova are not retried for minutes.
_NOVA_PATIENCE_S = 5


@dataclasses.dataclass(frozen=True)
class Parts:
    """The WSGI application, and what has to be stopped after it."""

    app: WSGIApplication
    db: Database
    waker: Waker
    events: events.Events
    heartbeat: Heartbeat


def compose(conf: cfg.ConfigOpts, clock: Clock) -> Parts:
    """Return the parts; makes connections and threads, so that a server has to fork before."""
    db = Database(conf.database)
    waker = Waker(conf)
    nova = Nova(conf, clock=clock, retry_timeout_s=_NOVA_PATIENCE_S)
    emitter = events.connect(conf, "hacore-api")
    return Parts(
        app=make_app(conf, db, nova, waker.wake, emitter),
        db=db,
        waker=waker,
        events=emitter,
        heartbeat=Heartbeat(db, "hacore-api", conf.host, conf.claim_lease),
    )


def start_heartbeat(parts: Parts, clock: Clock, stopping: threading.Event) -> threading.Thread:
    """Send the first heartbeat, and further ones until `stopping` is set."""
    parts.heartbeat.beat()
    thread = threading.Thread(
        target=parts.heartbeat.keep, args=(clock, stopping), name="api-heartbeat", daemon=True
    )
    thread.start()
    return thread
