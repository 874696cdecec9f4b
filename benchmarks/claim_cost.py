# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a claim costs while many notifications wait: the same with 20,000 as with 20.

    python -m benchmarks.claim_cost [--database mysql] [--waiting 20000]

Without --database on MariaDB, PostgreSQL and SQLite, one after the other.  Prints the median
milliseconds of each of

    claim      one notification is taken
    poll       nothing can be taken: what each poll of an engine costs
    intake     the API accepts one
    oldest     the age of the oldest due notification, read at each scrape of the metrics

with these waiting: instances of 100 hosts that are new (`new`); the same with the first 1,000 of
hosts that are being recovered (`blocked`), where a poll finds nothing once all are; and in error,
not to be retried yet (`error`).
"""

import argparse
import datetime
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from oslo_config import cfg

from benchmarks.deployment import KINDS, database
from hacore import conf as hacore_conf
from hacore.db import claims, notifications, schema
from hacore.db.engine import Database
from hacore.db.models import Host, Notification, Segment
from hacore.states import NotificationStatus, NotificationType

_HOSTS = 100
_BLOCKED = 1000
_ROUNDS = 7
_LEASE_S = 3600.0


def _fill(db: Database, kind: str, waiting: int) -> None:
    with db.write() as session:
        for model in (Notification, Host, Segment):
            if model is Notification:
                session.execute(sa.text("DELETE FROM recovery_events"))
            session.execute(sa.delete(model))
        now = db.now(session)
        segment = str(uuid.uuid4())
        session.execute(
            sa.insert(Segment),
            [
                {
                    "uuid": segment,
                    "name": "benchmark",
                    "recovery_method": "auto",
                    "service_type": "compute",
                    "created_at": now,
                }
            ],
        )
        hosts = [str(uuid.uuid4()) for _ in range(_HOSTS)]
        session.execute(
            sa.insert(Host),
            [
                {
                    "uuid": host,
                    "name": f"compute{number}",
                    "type": "COMPUTE",
                    "control_attributes": "SSH",
                    "segment_uuid": segment,
                    "created_at": now,
                }
                for number, host in enumerate(hosts)
            ],
        )
        # the first half of the hosts is under recovery where `kind` asks for it
        dead, alive = hosts[: _HOSTS // 2], hosts[_HOSTS // 2 :]
        rows = []
        if kind in ("blocked", "all blocked"):
            rows += [_row(now, segment, host, NotificationType.COMPUTE_HOST) for host in dead]
        blocked = {"blocked": min(_BLOCKED, waiting // 2), "all blocked": waiting}.get(kind, 0)
        for number in range(waiting):
            of = dead if number < blocked else alive
            rows.append(_row(now, segment, of[number % len(of)], NotificationType.VM, kind))
        session.execute(sa.insert(Notification), rows)
    with db.bind.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")
            connection.commit()


def _row(
    now: datetime.datetime, segment: str, host: str, type_: NotificationType, kind: str = ""
) -> dict[str, object]:
    instance = str(uuid.uuid4())
    later = now + datetime.timedelta(hours=1)
    host_failure = type_ is NotificationType.COMPUTE_HOST
    status = NotificationStatus.ERROR if kind == "error" else NotificationStatus.NEW
    return {
        "uuid": str(uuid.uuid4()),
        "created_at": now,
        "type": type_,
        "status": NotificationStatus.RUNNING if host_failure else status,
        "lease_until": later if host_failure else None,
        "retry_at": later if kind == "error" else None,
        "generated_time": now,
        "payload": {"instance_uuid": instance},
        "source_host_uuid": host,
        "segment_uuid": segment,
        "subject": f"host:{host}" if host_failure else f"instance:{instance}",
    }


def _median_ms(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def _accept(db: Database) -> None:
    instance = str(uuid.uuid4())
    report = notifications.Report(
        NotificationType.VM,
        f"compute{_HOSTS - 1}",
        datetime.datetime.now(datetime.UTC),
        {"event": "LIFECYCLE", "instance_uuid": instance, "vir_domain_event": "STOPPED_FAILED"},
    )
    notifications.create(db, report, request_id=None, duplicate_window_s=180)


def measure(kind: str, waiting: int) -> None:
    """Measure one kind of database; print a line for each situation."""
    with tempfile.TemporaryDirectory() as name, database(kind, Path(name)) as url:
        conf = cfg.ConfigOpts()
        hacore_conf.register(conf)
        conf([], project="hacore", default_config_files=[], default_config_dirs=[])
        conf.set_override("connection", url, group="database")
        db = Database(conf.database)
        schema.sync(db)

        def claim() -> claims.Claim | None:
            return claims.claim(db, "benchmark", _LEASE_S, 1e9)

        for situation in ("new", "blocked", "all blocked", "error"):
            for count in (20, waiting):
                _fill(db, situation, count)
                none = situation in ("all blocked", "error")
                assert (claim() is None) is none
                costs = {"poll" if none else "claim": _median_ms(claim)}
                costs["oldest"] = _median_ms(lambda: claims.oldest_due_s(db))
                costs["intake"] = _median_ms(lambda: _accept(db))
                shown = ", ".join(f"{name} {cost:6.2f} ms" for name, cost in costs.items())
                print(f"{kind:<10} {count:>6} waiting, {situation:<11} {shown}", flush=True)
        db.dispose()


def main() -> None:
    """Measure the databases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=KINDS, action="append")
    parser.add_argument("--waiting", type=int, default=20_000)
    options = parser.parse_args()
    for kind in options.database or KINDS:
        measure(kind, options.waiting)


if __name__ == "__main__":
    main()
