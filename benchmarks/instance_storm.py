# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A storm: 500 instances of 10 hosts crash within 10 s, and a host dies in the middle.

    python -m benchmarks.instance_storm [--instances 500] [--hosts 10] [--seconds 10]

On the sandbox (one conductor), with MariaDB and RabbitMQ and one engine.  The dead
host is another one, with as many instances as each.
"""

import argparse
import concurrent.futures
import datetime
import statistics
import time

from benchmarks.cloud import SMALL, Hacore, Sandbox, hacore, sandbox, usage

DEAD = "compute20"
PATIENCE_S = 900.0
_CRASHED = {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}


def crash(cloud: Sandbox, made: Hacore, host: str, server: str) -> None:
    """The guest dies, and the monitor says so."""
    cloud.control("POST", f"/servers/{server}/crash")
    made.notify("VM", host, {**_CRASHED, "instance_uuid": server})


def storm(cloud: Sandbox, made: Hacore, victims: list[tuple[str, str]], seconds: float) -> str:
    """All of them, evenly over so many seconds; the uuid of the host's notification."""
    begun, dead = time.monotonic(), ""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        calls = []
        for number, (host, server) in enumerate(victims):
            time.sleep(max(0.0, begun + seconds * number / len(victims) - time.monotonic()))
            if number == len(victims) // 2:
                dead = made.notify("COMPUTE_HOST", DEAD)
            calls.append(pool.submit(crash, cloud, made, host, server))
        for call in calls:
            call.result()
    print(f"{len(victims)} instances crashed and were reported in {time.monotonic() - begun:.1f} s")
    return dead


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    hosts = [f"compute{number}" for number in range(1, options.hosts + 1)]
    with (
        sandbox(SMALL, 20, options.instances // options.hosts) as cloud,
        hacore(cloud.login, [*hosts, DEAD]) as made,
    ):
        victims = [(host, server) for host in hosts for server in cloud.servers_of(host)]
        victims.sort(key=lambda victim: victim[1])  # of one host after the other's
        cloud.kill([DEAD])
        on_dead = cloud.left_on([DEAD])
        cloud.control("DELETE", "/requests")
        cpu_s, started = usage(made.engines[0])[1], time.monotonic()
        dead = storm(cloud, made, victims, options.seconds)
        while made.unended() and time.monotonic() - started < PATIENCE_S:
            time.sleep(0.25)
        total_s = time.monotonic() - started
        cpu_s = usage(made.engines[0])[1] - cpu_s
        rows = made.deployment.read(
            "SELECT uuid, type, status, created_at, updated_at FROM notifications"
        )
        nova = cloud.requests_to("compute")
        begun = made.deployment.read(
            "SELECT MIN(e.created_at) AS at FROM recovery_events e WHERE e.notification_uuid = "
            f"'{dead}' AND e.step IS NOT NULL"
        )
    took = {row["uuid"]: (row["updated_at"] - row["created_at"]).total_seconds() for row in rows}
    statuses = {kind: sorted({row["status"] for row in rows if row["type"] == kind})
                for kind in ("VM", "COMPUTE_HOST")}  # fmt: skip
    (host_row,) = [row for row in rows if row["uuid"] == dead]
    first_step: datetime.timedelta = begun[0]["at"] - host_row["created_at"]
    of_instances = [took[row["uuid"]] for row in rows if row["type"] == "VM"]
    print(
        f"last one ended after {total_s:.1f} s; statuses {statuses}; an instance's recovery took "
        f"{statistics.median(of_instances):.1f} s (median), {max(of_instances):.1f} s at most"
    )
    print(
        f"Nova requests per crashed instance: {nova / len(victims):.2f} (the dead host's included);"
        f" engine CPU {cpu_s:.1f} s"
    )
    print(
        f"host failure in the middle: first step after {first_step.total_seconds():.2f} s, "
        f"{on_dead} instances evacuated after {took[dead]:.1f} s"
    )


if __name__ == "__main__":
    main()
