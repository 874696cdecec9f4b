# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Processes of any version, as they write themselves into the table of services."""

from hacore.db import services
from hacore.db.engine import Database


def engine(
    db: Database,
    version: str,
    host: str = "controller1",
    *,
    pid: int = 1,
    alive_s: float = 60.0,
    binary: str = services.ENGINE,
) -> None:
    """An engine that has just written its heartbeat."""
    registration = services.Registration(f"{host}:{pid}:abc", binary, host, pid, version, None)
    services.record(db, registration, alive_s)
