# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A rack dies: 40 hosts of 50 instances within a second, in a cloud of 1,000 hosts.

    python -m benchmarks.rack_failure [--engines 1] [--hosts 1000] [--dead 40] [--instances 50]

On the sandbox, with MariaDB and RabbitMQ.  First the floor: a bare script that
fires every evacuate call from 20 threads and only waits.  Then hacore with so
many engines, from the first POST to the last `finished`.
"""

import argparse
import concurrent.futures
import datetime
import itertools
import statistics
import time

import sqlalchemy as sa

from benchmarks.cloud import LARGE, Hacore, Sandbox, hacore, sandbox, usage
from tests.e2e.deployment import MYSQL

FLOOR_THREADS = 20
PATIENCE_S = 1200.0


def measure_floor(cloud: Sandbox, dead: list[str]) -> float:
    """Fire everything, wait; seconds."""
    servers = [uuid for host in dead for uuid in cloud.servers_of(host)]
    cloud.kill(dead)
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(FLOOR_THREADS) as pool:
        list(pool.map(cloud.nova.servers.evacuate, servers))
    while cloud.left_on(dead):
        time.sleep(0.2)
    return time.monotonic() - started


def statements(server: str = MYSQL) -> int:
    """How many statements the database server has carried out."""
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    with engine.connect() as connection:
        row = connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Questions'")).one()
    return int(row[1])


def measure_hacore(cloud: Sandbox, made: Hacore, dead: list[str], instances: int) -> None:
    """Post, wait for the last `finished`; print the figures."""
    cloud.kill(dead)
    cloud.control("DELETE", "/requests")
    cpu_before = [usage(engine)[1] for engine in made.engines]
    statements_before, started = statements(), time.monotonic()
    made.notify_dead(dead)
    most_megabytes = [0.0] * len(made.engines)
    while made.unended() and time.monotonic() - started < PATIENCE_S:
        for number, engine in enumerate(made.engines):
            most_megabytes[number] = max(most_megabytes[number], usage(engine)[0])
        time.sleep(0.5)
    total_s, asked = time.monotonic() - started, statements() - statements_before
    cpu = [
        usage(engine)[1] - before for engine, before in zip(made.engines, cpu_before, strict=True)
    ]
    rows = made.call("GET", "/notifications")["notifications"]
    ended = sorted(datetime.datetime.fromisoformat(row["updated_at"]) for row in rows)
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(ended)]
    median_s = (ended[-1] - statistics.median_low(ended)).total_seconds()
    owners = made.deployment.read("SELECT COUNT(*) AS n FROM notifications GROUP BY owner")
    print(
        f"{len(made.engines)} engine(s): {total_s:.1f} s from the first POST to the last end "
        f"({', '.join(sorted({row['status'] for row in rows}))}); "
        f"first host back after {total_s - sum(gaps):.1f} s, median host "
        f"{total_s - median_s:.1f} s, largest gap between hosts {max(gaps):.1f} s"
    )
    print(
        f"  recoveries by engine {sorted(row['n'] for row in owners)}; memory at most "
        f"{[round(m) for m in most_megabytes]} MB, CPU {[round(c, 1) for c in cpu]} s; "
        f"{asked / instances:.1f} database statements, "
        f"{cloud.requests_to('compute') / instances:.2f} Nova requests per instance, "
        f"{cloud.requests_to('identity')} Keystone requests in all; left on the dead hosts: "
        f"{cloud.left_on(dead)}",
        flush=True,
    )


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--dead", type=int, default=40)
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--no-floor", action="store_true", help="do not measure the floor")
    options = parser.parse_args()
    dead = [f"compute{number}" for number in range(1, options.dead + 1)]
    if not options.no_floor:
        with sandbox(LARGE, options.hosts, options.instances) as cloud:
            print(f"floor: {measure_floor(cloud, dead):.1f} s", flush=True)
    with (
        sandbox(LARGE, options.hosts, options.instances) as cloud,
        hacore(cloud.login, dead, options.engines) as made,
    ):
        measure_hacore(cloud, made, dead, options.dead * options.instances)


if __name__ == "__main__":
    main()
