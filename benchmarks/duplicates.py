# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Whether two API processes accept each of many notifications that come in twice exactly once.

    python -m benchmarks.duplicates [--database mysql] [--posts 2000]

Two real hacore-api processes on one database, eight clients, four at each.  Half of the
posts are duplicates: every notification is posted twice, once to each process at about
the same moment.  Without --database on MariaDB, PostgreSQL and SQLite, one after the other.

Exit status 1 if a notification was accepted never or twice, or an answer is neither 202 nor 409.
"""

import argparse
import sys
import tempfile
import uuid
from pathlib import Path

import sqlalchemy as sa

from benchmarks import load
from benchmarks.api import CLIENTS, HOSTS
from benchmarks.deployment import KINDS, Deployment, database
from hacore.db.models import Notification


def run(kind: str, posts: int) -> bool:
    """Post to one kind of database; print the counts; whether they are right."""
    failures = [
        load.instance_failure(HOSTS[number % len(HOSTS)], str(uuid.uuid4()))
        for number in range(posts // 2)
    ]
    with tempfile.TemporaryDirectory() as name, database(kind, Path(name)) as url:
        deployment = Deployment(Path(name), url, HOSTS)
        try:
            apis = [deployment.start_api(), deployment.start_api()]
            # clients 0 and 1 post the same ones, 2 and 3, and so on: one of them to each process
            done = load.post(
                [
                    (apis[client % 2].url, failures[client // 2 :: CLIENTS // 2])
                    for client in range(CLIENTS)
                ]
            )
            with deployment.db.read() as session:
                stored = session.scalars(sa.select(Notification.subject)).all()
        finally:
            deployment.close()
    accepted, refused = done.statuses.get(202, 0), done.statuses.get(409, 0)
    expected = {f"instance:{failure['payload']['instance_uuid']}" for failure in failures}
    right = (
        accepted == refused == len(stored) == len(failures)
        and accepted + refused == len(done.latencies_s)
        and set(stored) == expected
    )
    print(
        f"{kind:<10} {len(done.latencies_s)} posts of {len(failures)} notifications: {accepted} "
        f"accepted, {refused} refused as duplicates, {len(stored)} stored "
        f"({len(set(stored))} different); {done.per_second:.0f} posts/s: "
        f"{'ok' if right else 'WRONG ' + str(done.statuses)}",
        flush=True,
    )
    return right


def main() -> None:
    """Run on the databases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=KINDS, action="append")
    parser.add_argument("--posts", type=int, default=2000)
    options = parser.parse_args()
    results = [run(kind, options.posts) for kind in options.database or KINDS]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
