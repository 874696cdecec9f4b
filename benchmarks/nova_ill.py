# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Nova itself is ill, and a host is reported as failed: what hacore says of it, and what it does.

    python -m benchmarks.nova_ill [--interval 10 1] [--away 90] [--only NAME ...]

Starts a ministack whose database and broker are its own, and ends it; hacore's are those of the
tests (HACORE_TEST_MYSQL, HACORE_TEST_RABBITMQ).  It is in the folder STATE_DIR and on the ports
MINISTACK_DB_PORT, MINISTACK_MQ_PORT, MINISTACK_PORT_BASE, or on those set below.  Every row runs
at each report interval of Nova: at 10 s a host is down for Nova after 60, at 1 s after 5.  An
engine that has learned the interval runs before anything happens.

bus:      Nova's RabbitMQ is stopped; compute1, which lives, is reported after 5 s, compute2,
    which lives too, after 40;
database: the same with Nova's database, and Keystone's with it;
process:  only the nova-compute of compute1 is stopped, and reported after 5 s.  It is evacuated:
    without a device nothing shows that its guests run;
death:    RabbitMQ is stopped, and compute1 dies in it after 15 s, and is reported after 20;
restart:  RabbitMQ is stopped, compute1 lives and is reported after 5 s, and the only engine is
    killed, and started again, as soon as RabbitMQ is back.

The table has a line every ten seconds, and whenever a word in it changes.  `Nova` is Nova's own
state, `beat` the seconds since somebody who asks Nova every second has seen the heartbeat move;
what hacore says is read from GET /operator/v1/safety: of the reported host its state, and for
how long it has been so (suspect: the age of its heartbeat); of the others how many are heard;
and the illness.  The times of the decisions are those of hacore's own history.

Demanded is: of the hosts that live in bus, database, death and restart hacore takes none for
silent and evacuates no instance, by Nova's own records; what was reported of them ends as
`ignored`; a host that is dead is evacuated, whole; nothing is held more than twice; and what is
held while the server is down names what is ill.  The exit status is 1 otherwise.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from tests.e2e.checks import DEAD
from tests.e2e.clients import Hacore
from tests.e2e.daemons import wait_for
from tests.e2e.deployment import Deployment, missing_servers
from tests.e2e.ministack import ROOT, Ministack

#: Of the ministack, where the environment does not say.
OWN = {
    "STATE_DIR": str(Path(tempfile.gettempdir()) / "ministack-nova-ill"),
    "MINISTACK_DB_PORT": "3316",
    "MINISTACK_MQ_PORT": "5772",
    "MINISTACK_PORT_BASE": "20000",
}
#: Nova's service_down_time, by its report_interval.
DOWN_S = {10: 60, 1: 5}
VICTIM, OTHER = "compute1", "compute2"
#: Instances on the reported host, and on each other one.
INSTANCES, INSTANCES_ELSEWHERE = 3, 1
PATIENCE_S = 900.0
LINE_EVERY_S = 10
#: So that what is reported of a living host ends within minutes; the defaults are 180 and 120 s.
SHORT = {"wait_period_after_service_update": 30, "process_unfinished_notifications_interval": 5}
MOST_HOLDS = 2
_OVER = frozenset({"finished", "failed", "ignored"})


@dataclasses.dataclass(frozen=True)
class Plan:
    """What happens in a row, in seconds from its beginning.

    :ivar server: what is stopped then, by the name that ministack has for it.
    :ivar reports: when a host is reported.
    :ivar killed_s: when the nova-compute of VICTIM ends.
    :ivar restarted: the engine is killed and started when the server is back.
    :ivar culprit: words that what is held must have in it.
    :ivar options: of [DEFAULT].
    """

    title: str
    server: str | None
    reports: dict[str, float]
    killed_s: float | None = None
    restarted: bool = False
    culprit: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


_BUS = "the message bus"
PLANS = {
    "bus": Plan(
        "RabbitMQ stopped, two living hosts reported",
        "rabbitmq",
        {VICTIM: 5, OTHER: 40},
        culprit=_BUS,
        options=SHORT,
    ),
    "database": Plan(
        "the database stopped, two living hosts reported",
        "mysql",
        {VICTIM: 5, OTHER: 40},
        culprit="API or its database",
        options=SHORT,
    ),
    "process": Plan("one nova-compute stopped, its host reported", None, {VICTIM: 5}, killed_s=0),
    "death": Plan(
        "RabbitMQ stopped, one host dies in it",
        "rabbitmq",
        {VICTIM: 20},
        killed_s=15,
        culprit=_BUS,
    ),
    "restart": Plan(
        "RabbitMQ stopped, a living host reported, engine restarted when it is back",
        "rabbitmq",
        {VICTIM: 5},
        restarted=True,
        culprit=_BUS,
        options=SHORT,
    ),
}


# ---------------------------------------------------------------------- cloud


@contextlib.contextmanager
def cloud(interval_s: int) -> Iterator[Ministack]:
    """A ministack with servers of its own, until the block ends."""
    for name, value in OWN.items():
        os.environ.setdefault(name, value)
    os.environ["MINISTACK_REPORT_INTERVAL"] = str(interval_s)
    os.environ["MINISTACK_SERVICE_DOWN_TIME"] = str(DOWN_S[interval_s])
    program = os.environ.get("MINISTACK") or str(ROOT / "tools/ministack/ministack")
    subprocess.run([program, "down"], check=True)  # what an earlier run has left
    try:
        subprocess.run([program, "up"], check=True)
        real = Ministack()
        yield real
        real.close()
    finally:
        subprocess.run([program, "down"], check=True)


class Eyes:
    """Somebody who asks Nova for its compute services every second.

    :ivar states: of each host; empty: the list could not be read.
    """

    def __init__(self, real: Ministack) -> None:
        self.states: dict[str, str] = {}
        self._url = f"{real.nova.client.get_endpoint()}/os-services?binary=nova-compute"
        self._headers = {
            "X-Auth-Token": str(real.session.get_token()),
            "OpenStack-API-Version": "compute 2.90",
        }
        self._rows: dict[str, Any] = {}
        self._moves: dict[str, list[float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(1):
            try:
                answer = requests.get(self._url, headers=self._headers, timeout=5)
                rows = answer.json()["services"] if answer.status_code == 200 else []
            except (requests.RequestException, ValueError):
                rows = []
            now = time.monotonic()
            for row in rows:
                self._see(row, now)
            self.states = {row["host"]: row["state"] for row in rows}

    def _see(self, row: dict[str, Any], now: float) -> None:
        before, self._rows[row["host"]] = self._rows.get(row["host"]), row
        written = ("status", "disabled_reason", "forced_down")
        if before is None or any(before[name] != row[name] for name in written):
            return  # somebody's PUT
        if before["updated_at"] != row["updated_at"]:
            self._moves.setdefault(row["host"], []).append(now)

    def beat_s(self, host: str) -> float | None:
        """Seconds since its heartbeat moved."""
        moves = self._moves.get(host)
        return time.monotonic() - moves[-1] if moves else None

    def first_move(self, host: str, after: float) -> float | None:
        """When it moved first after `after`."""
        return next((at for at in self._moves.get(host, ()) if at > after), None)

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()


# ---------------------------------------------------------------------- hacore


@contextlib.contextmanager
def deployed(real: Ministack, plan: Plan, interval_s: int) -> Iterator[tuple[Deployment, Hacore]]:
    """hacore, with an engine that has learned how often Nova's services beat.

    Without Keystone: that has its database where Nova has.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        deployment = Deployment(
            Path(folder),
            real.login("instanceha"),
            {
                "DEFAULT": {"auth_strategy": "noauth2", "verify_interval": 1.0, **plan.options},
                "nova": {"report_interval": None},
            },
        )
        stack.callback(deployment.close)
        deployment.start_api()
        deployment.start_engine()
        deployment.wait_for_api()
        hacore = Hacore(deployment.url, None)
        stack.callback(hacore.close)
        hacore.make_segment(real.hosts)

        def knows() -> bool:
            seen = safety(deployment)
            beats = seen["heartbeats"]
            if not beats["current"] or beats["hosts"] < len(real.hosts) or seen["hosts_not_heard"]:
                return False
            # it begins with ten, and comes near by halves
            return beats["interval_s"] is not None and beats["interval_s"] < 2 * interval_s

        wait_for("the engine to hear all hosts, and to learn the interval", knows, 300, 1)
        yield deployment, hacore


def safety(deployment: Deployment) -> Any:
    """What GET /operator/v1/safety answers."""
    answer = requests.get(f"{deployment.url}/operator/v1/safety", timeout=30)
    answer.raise_for_status()
    return answer.json()["safety"]


# ------------------------------------------------------------------------ rows


class Row:
    """One row at one interval: what happens, and what was seen of it.

    :ivar broken: what was demanded, and is not so.
    """

    def __init__(
        self,
        real: Ministack,
        plan: Plan,
        deployment: Deployment,
        hacore: Hacore,
        eyes: Eyes,
        away_s: float,
    ) -> None:
        self.real, self.plan, self.eyes, self.away_s = real, plan, eyes, away_s
        self.deployment, self.hacore = deployment, hacore
        self.began, self.began_at = time.monotonic(), time.time()
        self.broken: list[str] = []
        self.server_is = "up"
        self.back_s: float | None = None  #: the server is back
        self.killed = False
        self.uuids: dict[str, str] = {}
        self.unheard: dict[str, dict[str, float]] = {}  #: when a host was first so, by state
        self.down_s: dict[str, float] = {}  #: when Nova showed it as down
        self._line: tuple[object, ...] = ()
        self._shown_s = -float(LINE_EVERY_S)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def run(self) -> None:
        """Let it all happen, and show it."""
        print(f"{'s':>6}  server  {VICTIM} is  Nova  beat  hacore       others heard  illness")
        script = self._script()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            begun: list[concurrent.futures.Future[None]] = []
            while script or any(not each.done() for each in begun) or not self._is_over():
                if self.seconds() > PATIENCE_S:
                    self.broken.append(f"not ended after {PATIENCE_S:g} s")
                    break
                while script and script[0][0] <= self.seconds():
                    begun.append(pool.submit(script.pop(0)[1]))
                self._see()
                time.sleep(1 - self.seconds() % 1)
        for each in begun:
            each.result()

    def _script(self) -> list[tuple[float, Callable[[], None]]]:
        plan = self.plan
        script: list[tuple[float, Callable[[], None]]] = []
        if plan.server:
            script += [(0.0, self._stop_server), (self.away_s, self._start_server)]
        if plan.killed_s is not None:
            script.append((plan.killed_s, self._kill))
        for host, at_s in plan.reports.items():
            script.append((at_s, lambda host=host: self._report(host)))  # type: ignore[misc]
        return sorted(script, key=lambda each: each[0])

    def _stop_server(self) -> None:
        self.server_is = "down"
        self.real.run("stop-service", str(self.plan.server))

    def _start_server(self) -> None:
        self.real.run("start-service", str(self.plan.server))
        self.server_is, self.back_s = "up", self.seconds()
        if self.plan.restarted:
            self.deployment.engines["engine"].kill()
            self.deployment.start_engine()

    def _kill(self) -> None:
        self.killed = True
        self.real.kill(VICTIM)

    def _report(self, host: str) -> None:
        client = Hacore(self.deployment.url, None)
        self.uuids[host] = client.notify("COMPUTE_HOST", host, DEAD)
        client.close()

    def _is_over(self) -> bool:
        uuids = list(self.uuids.values())
        return len(uuids) == len(self.plan.reports) and all(
            self.hacore.notification(uuid)["status"] in _OVER for uuid in uuids
        )

    def _see(self) -> None:
        """Look once at everything; a line if that is due."""
        now_s = self.seconds()
        seen, states = safety(self.deployment), self.eyes.states
        unheard = {row["host"]: row for row in seen["hosts_not_heard"]}
        for host, row in unheard.items():
            self.unheard.setdefault(host, {}).setdefault(row["state"], now_s)
        for host, state in states.items():
            if state == "down":
                self.down_s.setdefault(host, now_s)
        others = [host for host in self.real.hosts if host != VICTIM]
        heard = sum(host not in unheard for host in others)
        beats, mine = seen["heartbeats"], unheard.get(VICTIM)
        illness = str(beats["illness"] or "-").partition(":")[0]
        illness += "" if beats["current"] else " (nobody looks)"
        line = (
            self.server_is,
            "dead" if self.killed else "alive",
            states.get(VICTIM, "-"),
            mine and mine["state"],
            heard,
            illness,
        )
        if line == self._line and now_s - self._shown_s < LINE_EVERY_S:
            return
        self._line, self._shown_s = line, now_s
        beat_s = self.eyes.beat_s(VICTIM)
        state = f"{mine['state']} {_age_s(mine['since']):.0f} s" if mine else "heard"
        print(
            f"{now_s:>6.0f}  {line[0]:<6}  {line[1]:<11}  {line[2]:<4}  "
            f"{'-' if beat_s is None else f'{beat_s:.0f}':>4}  {state:<11}  "
            f"{f'{heard} of {len(others)}':<12}  {illness}",
            flush=True,
        )

    # ------------------------------------------------------------ afterwards

    def dead(self) -> set[str]:
        """Hosts that may be evacuated."""
        return {VICTIM} if self.plan.killed_s is not None else set()

    def conclude(self, instances: dict[str, list[str]]) -> None:
        """Show what hacore decided and when, and see whether that is as demanded."""
        for host, uuid in self.uuids.items():
            self._tell(host, uuid)
        self._show_return()
        for host in self.real.hosts:
            if host in self.dead():
                self._check_dead(host, instances[host])
            else:
                self._check_living(host, instances[host])

    def _tell(self, host: str, uuid: str) -> None:
        row = self.hacore.notification(uuid)
        print(f"  {host}: {row['status']}: {row['message']}")
        entries = self.deployment.read(
            "SELECT created_at, gate, answer, message FROM recovery_events WHERE "
            f"notification_uuid = '{uuid}' AND (gate IS NOT NULL OR step IS NULL) ORDER BY id"
        )
        for entry in entries:
            asked = f"{entry['gate']} {entry['answer']}: " if entry["gate"] else ""
            print(f"  {self._at_s(entry['created_at']):>6.1f}  {asked}{entry['message']}")
        holds = [
            (self._at_s(entry["created_at"]), entry["message"])
            for entry in entries
            if entry["answer"] == "hold"
        ]
        if len(holds) > MOST_HOLDS:
            self.broken.append(f"{host} was held {len(holds)} times")
        culprit, ill_s = self.plan.culprit, self.back_s or 0.0
        named = [text for at_s, text in holds if at_s < ill_s]
        if host not in self.dead() and row["status"] != "ignored":
            self.broken.append(f"what was reported of {host} ended {row['status']}")
        if culprit and any(culprit not in text for text in named):
            self.broken.append(f"{host} was held, and {culprit!r} is not in why")
        if culprit and host == OTHER and not named:
            self.broken.append(f"{host} was reported in the illness, and not held")

    def _at_s(self, moment: datetime.datetime) -> float:
        return moment.replace(tzinfo=datetime.UTC).timestamp() - self.began_at

    def _show_return(self) -> None:
        if self.back_s is None:
            return
        moves = {
            host: at - self.began - self.back_s
            for host in self.real.hosts
            if (at := self.eyes.first_move(host, self.began + self.back_s)) is not None
        }
        said = ", ".join(f"{host} {at_s:.0f}" for host, at_s in sorted(moves.items()))
        print(f"  server back after {self.back_s:.1f} s; first heartbeat so many s later: {said}")

    def _check_living(self, host: str, instances: list[str]) -> None:
        if "silent" in self.unheard.get(host, {}):
            self.broken.append(f"{host} lives, and was silent after {self.unheard[host]['silent']}")
        seen, times = self.real.see(*instances), self.real.evacuated_times(instances)
        if any(times.values()) or any(each.host != host for each in seen.values()):
            self.broken.append(f"{host} lives, and was evacuated: {times}")

    def _check_dead(self, host: str, instances: list[str]) -> None:
        uuid = self.uuids[host]
        (first,) = self.deployment.read(
            f"SELECT MIN(called_at) AS at FROM vmoves WHERE notification_uuid = '{uuid}'"
        )
        row = self.hacore.notification(uuid)
        ended_s = self._at_s(datetime.datetime.fromisoformat(row["updated_at"]))
        since = self.back_s or self.plan.killed_s or 0.0
        what = "return of the server" if self.back_s else "end of its nova-compute"
        figures = {
            "silent": self.unheard.get(host, {}).get("silent"),
            "down for Nova": self.down_s.get(host),
            "first evacuate call": first["at"] and self._at_s(first["at"]),
            "finished": ended_s,
        }
        said = ", ".join(
            f"{name} {at_s - since:.1f}" for name, at_s in figures.items() if at_s is not None
        )
        print(f"  {host}: seconds from the {what}: {said}")
        times = self.real.evacuated_times(instances)
        if row["status"] != "finished" or set(times.values()) != {1}:
            self.broken.append(f"{host} is dead, and ended {row['status']}, evacuated {times}")


def _age_s(text: str) -> float:
    since = datetime.datetime.fromisoformat(text)
    return (datetime.datetime.now(datetime.UTC) - since).total_seconds()


def measure(real: Ministack, name: str, interval_s: int, away_s: float) -> list[str]:
    """Let a row happen; what is not as demanded."""
    plan = PLANS[name]
    real.reset()
    instances = {
        host: real.boot(INSTANCES if host == VICTIM else INSTANCES_ELSEWHERE, host)
        for host in real.hosts
    }
    eyes = Eyes(real)
    with contextlib.closing(eyes), deployed(real, plan, interval_s) as (deployment, hacore):
        learned_s = safety(deployment)["heartbeats"]["interval_s"]
        print(f"\n{name} at {interval_s} s (learned: {learned_s:.1f} s): {plan.title}")
        row = Row(real, plan, deployment, hacore, eyes, away_s)
        row.run()
        row.conclude(instances)
    for each in row.broken:
        print(f"  NOT AS DEMANDED: {each}")
    print(f"  {'NOT as demanded' if row.broken else 'as demanded'}", flush=True)
    return row.broken


def main() -> None:
    """Go through the rows at each interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interval", nargs="+", type=int, choices=DOWN_S, default=list(DOWN_S))
    parser.add_argument("--away", type=float, default=90.0, help="seconds that a server is stopped")
    parser.add_argument("--only", nargs="+", choices=PLANS, default=list(PLANS), metavar="NAME")
    options = parser.parse_args()
    if missing := missing_servers():
        sys.exit(f"nothing listens at {', '.join(missing)}")
    broken = []
    for interval_s in options.interval:
        with cloud(interval_s) as real:
            broken += [
                f"{name} at {interval_s} s"
                for name in options.only
                if measure(real, name, interval_s, options.away)
            ]
    if broken:
        sys.exit(f"not as demanded: {', '.join(broken)}")


if __name__ == "__main__":
    main()
