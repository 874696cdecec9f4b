# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The heartbeat of this process: keeps its row in the table of services up to date."""

import importlib.metadata
import logging
import os
import threading
import uuid

from hacore import processes
from hacore.clock import Clock
from hacore.db import services
from hacore.db.engine import Database
from hacore.errors import DatabaseUnavailable

LOG = logging.getLogger(__name__)

#: Heartbeats per `alive_s`: two may fail before a process counts as dead.
_BEATS = 3


class Heartbeat:
    """Heartbeats of one process.  Neither `beat` nor `end` raises: no work depends on them.

    :param binary: what runs here, such as ``hacore-engine``.
    :param host: name of this machine.
    :param alive_s: seconds without a heartbeat after which the process counts as dead.
    """

    def __init__(self, db: Database, binary: str, host: str, alive_s: float) -> None:
        self._db = db
        self._alive_s = alive_s
        pid = os.getpid()
        self._process = services.Registration(
            name=f"{host}:{pid}:{uuid.uuid4().hex[:8]}",
            binary=binary,
            host=host,
            pid=pid,
            version=importlib.metadata.version("hacore"),
            identity=processes.this_process(),
        )
        self._failing = self._ended = False

    @property
    def name(self) -> str:
        """Unlike that of any other process, also after a restart."""
        return self._process.name

    def keep(self, clock: Clock, stopping: threading.Event) -> None:
        """Beat until `stopping` is set; the body of a thread."""
        while not clock.wait(stopping, self._alive_s / _BEATS):
            self.beat()

    def beat(self) -> None:
        """Write one heartbeat."""
        if self._ended:
            return
        try:
            services.record(self._db, self._process, self._alive_s)
            self._failing = False
        except DatabaseUnavailable as exc:
            if not self._failing:
                LOG.warning("Failed to update the service heartbeat: %s", exc)
            self._failing = True
        except Exception:  # leases are renewed by the thread that calls this: it must not end
            LOG.exception("Unexpected exception while updating the service heartbeat")

    def end(self) -> None:
        """Remove the row; `beat` does nothing from now on."""
        self._ended = True
        try:
            services.remove(self._db, self.name)
        except DatabaseUnavailable as exc:
            LOG.warning("Failed to remove this process from the list of services: %s", exc)
