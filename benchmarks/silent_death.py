# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What it costs that a machine dies without a word: an engine's, an API's, the database server's.

    python -m benchmarks.silent_death [--database mysql]

The machine is behind a TCP proxy that, from one moment on, passes nothing and closes nothing.

* engine: it dies in the transaction of a claim; seconds until another one has the claim.
* API: it dies in the middle of taking in a report; eight posts for that host at another API,
  each repeated while it is answered 503: the slowest answer, seconds until all are answered
  with 202 or 409, and the slowest GET at that API meanwhile.
* server: it falls silent under an API with connections in its pool, and its address moves to
  another machine at once: seconds until a GET is answered with 200 again.

Without --database on MariaDB and PostgreSQL.  Exit status 1 if one of them costs a default
lease (60 s) or more.
"""

import argparse
import concurrent.futures
import itertools
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests
import sqlalchemy as sa
from oslo_config import cfg

from benchmarks import load
from benchmarks.deployment import Api, Deployment, database
from hacore import conf as hacore_conf
from hacore.db import claims
from hacore.db.engine import Database
from hacore.db.models import Host, Notification
from hacore.errors import DatabaseUnavailable
from tests.db.proxy import Proxy

KINDS = ("mysql", "postgresql")
HOST = "compute1"
POSTS = 8
LEASE_S = 60.0


def _behind(proxy: Proxy, url: str) -> str:
    return sa.make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


def _database(url: str) -> Database:
    options = cfg.ConfigOpts()
    hacore_conf.register(options)
    options([], project="hacore", default_config_files=[], default_config_dirs=[])
    options.set_override("connection", url, group="database")
    return Database(options.database)


def _dies_holding(proxy: Proxy, dying: Database, model: type[Host] | type[Notification]) -> None:
    """Lock the rows, and lose power; returns when it has."""
    lost = threading.Event()

    def transaction() -> None:
        try:
            with dying.write() as session:
                session.scalars(sa.select(model).with_for_update()).all()
                proxy.cut()
                lost.set()
                threading.Event().wait(LEASE_S)  # a dead machine rolls nothing back
        except DatabaseUnavailable:
            return

    threading.Thread(target=transaction, daemon=True).start()
    lost.wait()


def engine_dies(deployment: Deployment, proxy: Proxy, url: str) -> float:
    """Seconds until another engine has what it was about to claim."""
    _dies_holding(proxy, _database(_behind(proxy, url)), Notification)
    began = time.monotonic()
    while claims.claim(deployment.db, "another", LEASE_S, LEASE_S) is None:
        time.sleep(0.05)
    return time.monotonic() - began


def api_dies(api: Api, proxy: Proxy, url: str) -> tuple[float, float, float]:
    """Slowest answer to a post, seconds until all are taken or refused, slowest GET."""
    _dies_holding(proxy, _database(_behind(proxy, url)), Host)
    began = time.monotonic()
    ended = threading.Event()

    def post(number: int) -> float:
        slowest_s = 0.0
        failure = load.instance_failure(HOST, f"00000000-0000-4000-8000-00000000000{number}")
        while True:
            asked = time.monotonic()
            answer = requests.post(
                f"{api.url}/v1/notifications", json={"notification": failure}, timeout=LEASE_S
            )
            slowest_s = max(slowest_s, time.monotonic() - asked)
            if answer.status_code in (202, 409):
                return slowest_s
            if answer.status_code != 503:
                raise RuntimeError(f"answered {answer.status_code}: {answer.text}")
            time.sleep(float(answer.headers["Retry-After"]))

    def get() -> float:
        slowest_s = 0.0
        while not ended.is_set():
            asked = time.monotonic()
            requests.get(f"{api.url}/v1/segments", timeout=LEASE_S).raise_for_status()
            slowest_s = max(slowest_s, time.monotonic() - asked)
        return slowest_s

    with concurrent.futures.ThreadPoolExecutor(POSTS + 1) as pool:
        reader = pool.submit(get)
        posts = [pool.submit(post, number) for number in range(POSTS)]
        slowest_s = max(each.result() for each in posts)
        taken_s = time.monotonic() - began
        ended.set()
        return slowest_s, taken_s, reader.result()


def server_dies(api: Api, proxy: Proxy) -> float:
    """Seconds until a GET at `api`, whose database is behind `proxy`, is answered again."""
    with concurrent.futures.ThreadPoolExecutor(POSTS) as pool:  # fills its pool of connections
        list(pool.map(lambda _: requests.get(f"{api.url}/v1/segments", timeout=5), range(50)))
    proxy.cut()
    proxy.mend()  # for new connections, as at the machine that has the address now
    began = time.monotonic()
    for _ in itertools.count():
        answer = requests.get(f"{api.url}/v1/segments", timeout=LEASE_S)
        if answer.status_code == 200:
            return time.monotonic() - began
        time.sleep(0.2)
    raise AssertionError


def run(kind: str) -> bool:
    """Kill each on one kind of database; print what it cost; whether it is less than a lease."""
    with tempfile.TemporaryDirectory() as name, database(kind, Path(name)) as url:
        address = sa.make_url(url)
        server = (str(address.host), int(address.port or 0))
        deployment = Deployment(Path(name), url, [HOST])
        with Proxy(server) as of_engine, Proxy(server) as of_api, Proxy(server) as of_server:
            try:
                api = deployment.start_api()
                posts = api_dies(api, of_api, url)
                engine_s = engine_dies(deployment, of_engine, url)
                afar = deployment.start_api(_behind(of_server, url))
                server_s = server_dies(afar, of_server)
            finally:
                deployment.close()
    print(
        f"{kind:<10} engine: another has the claim after {engine_s:.1f} s | API: {POSTS} posts "
        f"answered within {posts[0]:.1f} s each, all taken in after {posts[1]:.1f} s, slowest GET "
        f"{posts[2]:.1f} s | server: a GET is answered again after {server_s:.1f} s",
        flush=True,
    )
    return max(engine_s, *posts, server_s) < LEASE_S


def main() -> None:
    """Run on the databases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=KINDS, action="append")
    options = parser.parse_args()
    results = [run(kind) for kind in options.database or KINDS]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
