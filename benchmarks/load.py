# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Clients that post notifications, each a process of its own with one connection."""

import collections
import dataclasses
import http.client
import json
import multiprocessing
import time
import urllib.parse
import uuid
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

_PATIENCE_S = 60
_HEADERS = {"Content-Type": "application/json", "OpenStack-API-Version": "instance-ha 1.3"}


@dataclasses.dataclass(frozen=True)
class Load:
    """What came of a number of posts."""

    seconds: float  # from the first post to the last answer
    latencies_s: list[float]
    statuses: dict[int, int]

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.seconds

    def percentile_s(self, percent: float) -> float:
        """The latency that so many percent of the answers did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def instance_failure(host: str, instance_uuid: str | None = None) -> dict[str, Any]:
    """A notification; equal to no other unless the instance is given."""
    return {
        "type": "VM",
        "hostname": host,
        "generated_time": "2026-01-01T00:00:00",
        "payload": {
            "event": "LIFECYCLE",
            "instance_uuid": instance_uuid or str(uuid.uuid4()),
            "vir_domain_event": "STOPPED_FAILED",
        },
    }


def post(work: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> Load:
    """Post all at once: for each client a URL and its notifications, one after the other."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(len(work))
    answers: Any = context.SimpleQueue()
    clients = []
    for url, notifications in work:
        bodies = [json.dumps({"notification": each}).encode() for each in notifications]
        clients.append(context.Process(target=_client, args=(url, bodies, together, answers)))
    for client in clients:
        client.start()
    results = [answers.get() for _ in clients]
    for client in clients:
        client.join(_PATIENCE_S)
    return Load(
        max(end for _start, end, _rows in results) - min(start for start, _end, _rows in results),
        [latency for *_, rows in results for _status, latency in rows],
        dict(collections.Counter(status for *_, rows in results for status, _latency in rows)),
    )


def _client(url: str, bodies: Sequence[bytes], together: Barrier, answers: Any) -> None:
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=_PATIENCE_S
    )
    connection.connect()
    rows = []
    together.wait(_PATIENCE_S)
    start = time.monotonic()
    for body in bodies:
        sent = time.monotonic()
        connection.request("POST", "/v1/notifications", body, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        rows.append((answer.status, time.monotonic() - sent))
    end = time.monotonic()
    connection.close()
    answers.put((start, end, rows))
