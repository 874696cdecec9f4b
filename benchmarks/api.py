# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How fast one API process takes notifications in and lists them, how large it is, how soon up.

    python -m benchmarks.api [--database mysql|postgresql|sqlite]

A real hacore-api with its own web server, noauth2, and a database of its own; Nova is
the sandbox's.  No engine runs.  Every client is a process with one connection, so
that the load has no GIL in common.  Nothing that is posted is a duplicate.

Exit status 1 if an aim is missed; they are for an otherwise idle machine.
"""

import argparse
import datetime
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from benchmarks import load
from benchmarks.deployment import KINDS, Api, Deployment, database
from hacore.db.models import Host, Notification

HOSTS = [f"compute{number}" for number in range(1, 51)]
CLIENTS = 8
STORED = 100_000
PAGE = 1000
_CHUNK = 5000
_REPEATS = 7

Row = tuple[str, str, str, bool | None]  # what, figure, aim, met


def measure_posts(api: Api, count: int) -> list[Row]:
    """Posts with one client and with several."""
    load.post([(api.url, [load.instance_failure(host) for host in HOSTS])])  # warm
    rows: list[Row] = []
    for clients in (1, CLIENTS):
        work = [
            (
                api.url,
                [
                    load.instance_failure(HOSTS[n % len(HOSTS)])
                    for n in range(first, count, clients)
                ],
            )
            for first in range(clients)
        ]
        cpu_s = api.cpu_s()
        done = load.post(work)
        cpu_s = api.cpu_s() - cpu_s
        if set(done.statuses) != {202}:
            sys.exit(f"not every notification was accepted: {done.statuses}")
        title = f"{count} posts, {clients} client{'s' * (clients > 1)}"
        p50, p99 = (done.percentile_s(percent) * 1000 for percent in (50, 99))
        many = clients == CLIENTS
        rows += [
            (
                title,
                f"{done.per_second:.0f}/s",
                ">= 200/s" * many,
                _if(many, done.per_second >= 200),
            ),
            ("    processor time of each", f"{cpu_s / count * 1000:.2f} ms", "", None),
            ("    latency p50", f"{p50:.1f} ms", "", None),
            ("    latency p99", f"{p99:.1f} ms", "< 60 ms" * many, _if(many, p99 < 60)),
        ]
    return rows


def _if(counts: bool, met: bool) -> bool | None:
    return met if counts else None


def fill(deployment: Deployment) -> None:
    """Store ended notifications until there are `STORED`."""
    with deployment.db.write() as session:
        host = session.scalars(sa.select(Host).limit(1)).one()
        there = session.scalar(sa.select(sa.func.count(Notification.id))) or 0
    oldest = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for first in range(there, STORED, _CHUNK):
        rows = [_row(host, oldest, n) for n in range(first, min(first + _CHUNK, STORED))]
        with deployment.db.write() as session:
            session.execute(sa.insert(Notification), rows)


def _row(host: Host, oldest: datetime.datetime, number: int) -> dict[str, Any]:
    notification = load.instance_failure(host.name)
    created_at = oldest + datetime.timedelta(seconds=number)
    return {
        "uuid": str(uuid.uuid4()),
        "created_at": created_at,
        "updated_at": created_at,
        "type": notification["type"],
        "status": "finished",
        "generated_time": created_at,
        "payload": notification["payload"],
        "source_host_uuid": host.uuid,
        "segment_uuid": host.segment_uuid,
        "message": f"Instance {notification['payload']['instance_uuid']} was restarted.",
        "subject": f"instance:{notification['payload']['instance_uuid']}",
        "attempt": 1,
    }


def measure_pages(api: Api) -> list[Row]:
    """The first page and the last one, as a client finds it: from marker to marker."""
    with requests.Session() as http:
        http.trust_env = False

        def page(marker: str | None) -> tuple[float, list[dict[str, Any]]]:
            started = time.monotonic()
            parameters = {"limit": str(PAGE)} | ({"marker": marker} if marker else {})
            answer = http.get(f"{api.url}/v1/notifications", params=parameters, timeout=60)
            seconds = time.monotonic() - started
            answer.raise_for_status()
            return seconds, answer.json()["notifications"]

        listed, marker = 0, None
        while listed < STORED - PAGE:
            rows = page(marker)[1]
            listed += len(rows)
            marker = rows[-1]["notification_uuid"]
        if len(page(marker)[1]) != PAGE:
            sys.exit("the last page is not full")
        times = [(page(None)[0], page(marker)[0]) for _ in range(_REPEATS)]
    first_s = statistics.median(first for first, _last in times)
    last_s = statistics.median(last for _first, last in times)
    ratio = last_s / first_s
    return [
        (f"first page, {PAGE} of {STORED}", f"{first_s * 1000:.0f} ms", "", None),
        ("last page", f"{last_s * 1000:.0f} ms", "", None),
        ("    last / first", f"{ratio:.2f}", "<= 1.5", ratio <= 1.5),
    ]


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=KINDS, default="mysql")
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--no-pages", action="store_true", help="leave the pages out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, database(options.database, Path(name)) as url:
        deployment = Deployment(Path(name), url, HOSTS)
        try:
            api = deployment.start_api()
            rows = measure_posts(api, options.posts)
            if not options.no_pages:
                fill(deployment)
                rows += measure_pages(api)
            resident_mb = api.resident_mb()
        finally:
            deployment.close()
    rows += [
        ("resident memory of the worker", f"{resident_mb:.0f} MB", "< 120 MB", resident_mb < 120),
        ("start to first answer", f"{api.start_s:.2f} s", "< 2 s", api.start_s < 2),
    ]
    print(f"hacore-api on {options.database}")
    for what, figure, aim, met in rows:
        print(
            f"{what:<32} {figure:>9}  {aim:<9} {'' if met is None else 'ok' if met else 'MISSED'}"
        )
    sys.exit(any(met is False for *_, met in rows))


if __name__ == "__main__":
    main()
