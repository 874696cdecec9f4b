# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which hosts Nova hears, by looks at its list of services on a clock of the test's own."""

import dataclasses
from collections.abc import Callable

import pytest

from hacore.nova.heartbeats import Culprit, Heartbeats
from hacore.nova.types import Beat
from hacore.states import Hearing

HOSTS = ("compute1", "compute2", "compute3", "compute4")


class Cloud:
    """Services that beat every `interval_s`, each at its own moment, and somebody who looks."""

    def __init__(self, hosts: tuple[str, ...] = HOSTS, interval_s: float = 10.0) -> None:
        self.interval_s = interval_s
        self.now = 1000.0
        self.looks_from = self.now
        self.silent_from: dict[str, float] = {}
        self.hearts = Heartbeats()
        self.changed: dict[str, tuple[float, tuple[object, ...]]] = {}
        self.list_fails = False
        self.unknown: set[str] = set()
        self.workers = 1  #: of each conductor and scheduler: all of them write its heartbeat
        self.forced: set[str] = set()
        names = [("nova-compute", host) for host in hosts]
        names += [("nova-conductor", "control1"), ("nova-scheduler", "control1")]
        self.phases = {name: index * interval_s / len(names) for index, name in enumerate(names)}
        self.hearings: dict[str, list[tuple[float, Hearing]]] = {host: [] for host in hosts}

    def kill(self, *names: str) -> None:
        for name in names:
            self.silent_from[name] = self.now

    def revive(self, *names: str) -> None:
        for name in names:
            del self.silent_from[name]

    def _beat(self, binary: str, host: str) -> Beat:
        name = host if binary == "nova-compute" else binary
        until = min(self.now, self.silent_from.get(name, self.now))
        phase = self.phases[binary, host]
        every_s = self.interval_s / (1 if binary == "nova-compute" else self.workers)
        last = (until - phase) // every_s * every_s + phase
        put_at, written = self.changed.get(host, (0.0, ("enabled", None, host in self.forced)))
        return Beat(
            binary,
            host,
            zone="nova",
            updated_at=str(int(max(last, put_at))),
            up=self.now - last <= 60,
            forced_down=host in self.forced,
            written=written,
            known=host not in self.unknown,
        )

    def look(self) -> None:
        if self.list_fails:
            self.hearts.failed(self.now)
        else:
            self.hearts.look([self._beat(*name) for name in self.phases], self.now)
        for host, seen in self.hearings.items():
            pulse = self.hearts.pulse(host, self.now)
            if pulse is not None and (not seen or seen[-1][1] != pulse.hearing):
                seen.append((self.now, pulse.hearing))

    def run(self, seconds: float, *, waited_for: bool = False) -> None:
        ends_at = self.now + seconds
        while self.now < ends_at:
            self.look()
            self.now += self.hearts.pause_s(waited_for=waited_for)

    def hearing(self, host: str) -> Hearing:
        pulse = self.hearts.pulse(host, self.now)
        assert pulse is not None
        return pulse.hearing

    def all(self) -> set[Hearing]:
        return {self.hearing(host) for host in self.hearings}


@pytest.mark.parametrize("interval_s", [1.0, 2.0, 10.0, 30.0, 60.0])
def test_the_report_interval_is_learned(interval_s: float) -> None:
    cloud = Cloud(interval_s=interval_s)
    cloud.run(12 * interval_s + 60)
    assert cloud.hearts.interval_s == pytest.approx(interval_s, rel=0.25)
    assert cloud.hearts.known(cloud.now)
    assert cloud.all() == {Hearing.HEARD}


@pytest.mark.parametrize("hosts", [1, 4, 500])
@pytest.mark.parametrize("answer_s", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("interval_s", [10.0, 30.0])
def test_it_is_learned_also_from_a_slow_list(
    interval_s: float, answer_s: float, hosts: int
) -> None:
    """As after an outage of the message bus, all hosts beat at the same moment."""
    cloud = Cloud(tuple(f"compute{number}" for number in range(hosts)), interval_s)
    cloud.phases = dict.fromkeys(cloud.phases, 0.0)
    learned = []
    while cloud.now < 1000 + 20 * interval_s:
        cloud.look()
        if cloud.hearts.known(cloud.now):
            learned.append(cloud.hearts.interval_s)
        cloud.now += cloud.hearts.pause_s(waited_for=False) + answer_s
    assert len(learned) > 20
    assert min(learned) > 0.75 * interval_s
    assert max(learned) < 1.25 * interval_s


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("interval_s", [1.0, 10.0])
def test_an_outage_is_no_step(interval_s: float, count: int) -> None:
    cloud = Cloud(HOSTS[:count], interval_s)
    cloud.run(30 * interval_s + 60)
    for _ in range(2):
        cloud.kill(*HOSTS[:count])
        cloud.run(600)
        cloud.revive(*HOSTS[:count])
        cloud.run(4 * interval_s)
        assert cloud.hearts.interval_s == pytest.approx(interval_s, rel=0.25)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_interval_is_learned(count: int) -> None:
    cloud = Cloud(HOSTS[:count])
    cloud.run(300)
    for interval_s in (60.0, 10.0):
        cloud.interval_s = interval_s
        cloud.run(1200)
        assert cloud.hearts.interval_s == pytest.approx(interval_s, rel=0.25)
        assert cloud.all() == {Hearing.HEARD}


@pytest.mark.parametrize("interval_s", [10.0, 30.0])
def test_the_workers_of_a_conductor_do_not_count_for_the_interval(interval_s: float) -> None:
    cloud = Cloud(interval_s=interval_s)
    cloud.workers = 8
    cloud.run(20 * interval_s + 60)
    assert cloud.hearts.interval_s == pytest.approx(interval_s, rel=0.25)
    assert cloud.all() == {Hearing.HEARD}


def test_the_report_interval_of_a_large_cloud_is_learned() -> None:
    cloud = Cloud(tuple(f"compute{number}" for number in range(1, 1001)))
    cloud.run(40)
    assert cloud.hearts.interval_s == pytest.approx(10, rel=0.25)
    assert cloud.hearts.known(cloud.now)


def test_nothing_is_guessed_before_it_is_known() -> None:
    cloud = Cloud()
    cloud.kill("compute1")
    cloud.look()
    assert cloud.all() == {Hearing.UNKNOWN}
    cloud.run(25)
    assert cloud.hearing("compute1") is Hearing.UNKNOWN
    assert cloud.hearing("compute2") is Hearing.HEARD
    cloud.run(20)
    assert cloud.hearing("compute1") is Hearing.SILENT


def test_slow_hosts_are_not_silent_before_the_interval_is_known() -> None:
    cloud = Cloud(interval_s=60.0)
    cloud.run(600)
    assert {hearing for seen in cloud.hearings.values() for _, hearing in seen} == {
        Hearing.UNKNOWN,
        Hearing.HEARD,
    }


def test_a_host_becomes_suspect_then_silent() -> None:
    cloud = Cloud()
    cloud.run(120)
    died_at = cloud.now
    cloud.kill("compute2")
    cloud.run(60, waited_for=True)
    (_, suspect), (silent_at, silent) = cloud.hearings["compute2"][-2:]
    assert (suspect, silent) == (Hearing.SUSPECT, Hearing.SILENT)
    assert 22 <= silent_at - died_at <= 34
    assert cloud.hearing("compute1") is Hearing.HEARD


def test_two_moves_end_a_silence_and_one_does_not() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute2")
    cloud.run(60)
    cloud.silent_from["compute2"] = cloud.now  # a broker's old heartbeat
    cloud.run(90)
    seen = [hearing for _, hearing in cloud.hearings["compute2"]]
    assert seen[-3:] == [Hearing.HEARD, Hearing.SUSPECT, Hearing.SILENT]
    assert seen.count(Hearing.HEARD) == 1
    cloud.revive("compute2")
    cloud.run(40)
    assert cloud.hearing("compute2") is Hearing.HEARD


def test_a_change_by_somebody_is_no_heartbeat() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute2")
    cloud.run(15)
    cloud.changed["compute2"] = (cloud.now, ("disabled", "down", False))
    cloud.run(30)
    assert cloud.hearing("compute2") is Hearing.SILENT
    for reason in ("a", "b", "c", "d"):
        cloud.changed["compute2"] = (cloud.now, ("disabled", reason, False))
        cloud.run(10)
    assert cloud.hearing("compute2") is Hearing.SILENT


@pytest.mark.parametrize(
    ("dead", "culprit"),
    [
        (HOSTS, Culprit.BUS),
        ((*HOSTS, "nova-conductor"), Culprit.CONDUCTORS),
        ((*HOSTS, "nova-conductor", "nova-scheduler"), Culprit.UNKNOWN),
    ],
)
def test_when_none_is_heard_it_is_nova(dead: tuple[str, ...], culprit: Culprit) -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill(*dead)
    cloud.run(90)
    illness = cloud.hearts.illness(cloud.now)
    assert illness is not None
    assert illness.culprit is culprit
    assert Hearing.SILENT not in cloud.all()


def test_who_was_silent_before_nova_fell_ill_stays_so() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute1")
    cloud.run(60)
    cloud.kill("compute2", "compute3", "compute4")
    cloud.run(90)
    assert cloud.hearts.illness(cloud.now) is not None
    assert cloud.hearing("compute1") is Hearing.SILENT
    assert cloud.hearing("compute2") is not Hearing.SILENT


@pytest.mark.parametrize("interval_s", [1.0, 10.0, 30.0])
@pytest.mark.parametrize("before", [0.0, 1.0, 1.9, 3.0])
def test_who_became_silent_just_before_nova_fell_ill_is_not_silent(
    before: float, interval_s: float
) -> None:
    """Of a bus that fails, one host may feel it a few heartbeats earlier than the others."""
    cloud = Cloud(interval_s=interval_s)
    cloud.run(20 * interval_s + 60)
    cloud.kill("compute1")
    cloud.run(before * interval_s, waited_for=True)
    cloud.kill(*HOSTS[1:])
    cloud.run(9 * interval_s, waited_for=True)
    assert cloud.hearts.illness(cloud.now) is not None
    assert cloud.all() == {Hearing.SUSPECT}
    cloud.revive(*HOSTS[1:])
    cloud.run(25, waited_for=True)
    cloud.revive("compute1")
    cloud.run(2 * interval_s, waited_for=True)
    assert cloud.all() == {Hearing.HEARD}


@pytest.mark.parametrize("interval_s", [1.0, 10.0])
def test_ages_begin_again_when_nova_is_well(interval_s: float) -> None:
    """The last of four hosts came 51 s after the first; one is really dead."""
    cloud = Cloud(interval_s=interval_s)
    cloud.run(120)
    cloud.kill(*HOSTS)
    cloud.run(90)
    cloud.revive("compute2")
    cloud.run(51, waited_for=True)
    cloud.revive("compute3", "compute4")
    well_from = cloud.now
    cloud.run(30, waited_for=True)
    assert Hearing.SILENT not in cloud.all()
    assert cloud.hearts.illness(cloud.now) is None
    assert cloud.hearts.settling_s(cloud.now) > 0
    cloud.run(60, waited_for=True)
    assert cloud.hearing("compute1") is Hearing.SILENT
    assert {cloud.hearing(host) for host in HOSTS[1:]} == {Hearing.HEARD}
    assert cloud.hearings["compute1"][-1][0] - well_from <= 90 + 3.4 * interval_s


@pytest.mark.parametrize("interval_s", [1.0, 10.0])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_who_starts_to_look_after_an_illness_waits_for_the_last_host(
    first: int, interval_s: float
) -> None:
    """With RabbitMQ an engine was started, too; so many hosts are back before it looks."""
    cloud = Cloud(interval_s=interval_s)
    cloud.run(120)
    cloud.kill(*HOSTS)
    cloud.run(90)
    cloud.revive(*HOSTS[:first])
    cloud.now += 2 * interval_s
    cloud.hearts = Heartbeats(learned_s=interval_s)
    for host in HOSTS[first:-1]:
        cloud.run(20, waited_for=True)
        cloud.revive(host)
    cloud.run(20, waited_for=True)
    assert Hearing.SILENT not in cloud.all()
    cloud.run(90 + 4 * interval_s, waited_for=True)
    assert cloud.hearing(HOSTS[-1]) is Hearing.SILENT
    assert {cloud.hearing(host) for host in HOSTS[:-1]} == {Hearing.HEARD}


def test_who_was_not_heard_since_is_not_heard() -> None:
    """Where ages begin again, that alone says nothing of a host that died meanwhile."""
    cloud = Cloud()
    cloud.run(120)
    cloud.kill(*HOSTS)
    cloud.run(60)
    cloud.revive(*HOSTS[1:])
    _check_not_heard(cloud, "compute1")
    cloud.kill("compute2")
    cloud.now += 300  # nobody looks, and the last heartbeat came unseen
    _check_not_heard(cloud, "compute2")
    cloud.unknown.add("compute3")
    cloud.kill("compute3")
    cloud.run(60)
    cloud.unknown.clear()
    _check_not_heard(cloud, "compute3")


def _check_not_heard(cloud: Cloud, dead: str) -> None:
    cloud.hearings[dead].clear()
    cloud.run(180)
    assert [hearing for _, hearing in cloud.hearings[dead]][-3:] == [
        Hearing.UNKNOWN,
        Hearing.SUSPECT,
        Hearing.SILENT,
    ]


def test_a_list_that_fails_is_nova() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.list_fails = True
    cloud.run(5)
    assert cloud.hearts.illness(cloud.now) is None
    cloud.run(40)
    illness = cloud.hearts.illness(cloud.now)
    assert illness is not None
    assert illness.culprit is Culprit.LIST
    cloud.list_fails = False
    cloud.run(70)
    assert cloud.all() == {Hearing.HEARD}


def test_conductors_that_are_heard_first_do_not_accuse_the_bus() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill(*HOSTS)
    cloud.run(6)
    cloud.list_fails = True
    cloud.run(60)
    cloud.list_fails = False
    cloud.run(12)  # the conductors write again, the hosts do not yet
    illness = cloud.hearts.illness(cloud.now)
    assert illness is not None
    assert illness.culprit is Culprit.LIST
    cloud.run(30)  # that takes too long: it is more than the database
    illness = cloud.hearts.illness(cloud.now)
    assert illness is not None
    assert illness.culprit is Culprit.BUS


def test_a_process_that_was_frozen_knows_nothing_of_that_time() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.now += 300
    cloud.look()
    assert Hearing.SILENT not in cloud.all()
    cloud.kill("compute1")
    cloud.run(60)
    assert cloud.hearing("compute1") is Hearing.SILENT


def test_a_host_that_returned_while_nobody_looked_is_not_silent() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute1", "compute2")
    cloud.run(60)
    cloud.revive("compute1")
    cloud.now += 300
    cloud.look()
    assert cloud.hearing("compute1") is not Hearing.SILENT
    assert cloud.hearing("compute2") is Hearing.SILENT
    cloud.run(30)
    assert cloud.hearing("compute1") is Hearing.HEARD


def test_a_service_that_is_forced_down_is_heard_by_its_heartbeat() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.forced.add("compute1")
    cloud.run(60)
    assert cloud.hearing("compute1") is Hearing.HEARD
    cloud.kill("compute1")
    cloud.run(60)
    assert cloud.hearing("compute1") is Hearing.SILENT
    assert cloud.hearts.illness(cloud.now) is None


def test_a_cell_that_does_not_answer_is_neither() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.unknown.add("compute1")
    cloud.run(120)
    assert cloud.hearing("compute1") is Hearing.UNKNOWN
    cloud.unknown.clear()
    cloud.look()
    assert cloud.hearing("compute1") is not Hearing.SILENT


def test_two_services_of_one_name_are_unknown() -> None:
    cloud = Cloud()
    cloud.run(120)
    rows = [Beat("nova-compute", "compute1", known=True, updated_at=str(n)) for n in range(2)]
    cloud.hearts.look(rows, cloud.now)
    assert cloud.hearing("compute1") is Hearing.UNKNOWN
    assert cloud.hearts.pulse("compute2", cloud.now) is None


@pytest.mark.parametrize("offset_s", [-7200, 7200])
def test_the_clocks_of_others_do_not_count(offset_s: int) -> None:
    """Nova's times jump by two hours, as after a change of its clock."""
    cloud = Cloud()
    cloud.run(120)
    plain: Callable[[str, str], Beat] = cloud._beat

    def shifted(binary: str, host: str) -> Beat:
        row = plain(binary, host)
        return dataclasses.replace(row, updated_at=str(int(row.updated_at or 0) + offset_s))

    cloud._beat = shifted  # type: ignore[method-assign]
    cloud.kill("compute1")
    cloud.run(60)
    assert cloud.hearing("compute1") is Hearing.SILENT
    assert {cloud.hearing(host) for host in HOSTS[1:]} == {Hearing.HEARD}


def test_a_host_that_moved_while_nobody_looked_may_live() -> None:
    """A PUT of somebody may hide the one heartbeat that was seen since."""

    def moved_unseen() -> bool:
        pulse = cloud.hearts.pulse("compute1", cloud.now)
        assert pulse is not None
        return pulse.moved_unseen

    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute1")
    cloud.run(60)
    cloud.revive("compute1")
    cloud.now += 300
    cloud.look()
    cloud.kill("compute1")
    cloud.run(20)
    assert cloud.hearing("compute2") is Hearing.HEARD
    assert (cloud.hearing("compute1"), moved_unseen()) == (Hearing.SUSPECT, True)
    cloud.run(20)
    assert (cloud.hearing("compute1"), moved_unseen()) == (Hearing.SILENT, False)


@pytest.mark.parametrize("after_s", [90, 94, 98])
def test_one_heartbeat_does_not_say_what_moved_unseen_was(after_s: float) -> None:
    """A host that came back while nobody looked: its first heartbeat since may be an old one."""
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute1")
    cloud.run(60)
    moment = cloud.now
    cloud.revive("compute1")
    cloud.now += after_s
    seen = []
    for _ in range(15):
        cloud.look()
        pulse = cloud.hearts.pulse("compute1", cloud.now)
        assert pulse is not None
        seen.append((cloud.hearts.heard_since("compute1", moment), pulse.moved_unseen))
        cloud.now += 2
    assert seen[0] == (False, True)
    assert seen[-1] == (True, False)
    assert (False, False) not in seen  # as if it had not been heard


def test_the_heartbeats_of_a_living_host_may_hide_behind_puts() -> None:
    """One in each look, as where a reserved host is enabled and disabled by turns."""
    cloud = Cloud()
    cloud.run(120)
    for number in range(12):
        cloud.changed["compute1"] = (cloud.now, ("enabled", str(number), False))
        cloud.run(5)
        assert cloud.hearing("compute1") in (Hearing.HEARD, Hearing.SUSPECT)


@pytest.mark.parametrize("after_s", [1, 8, 14, 20, 30])
def test_one_put_hardly_delays_silence(after_s: float) -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute1")
    died_at = cloud.now
    cloud.run(after_s)
    cloud.changed["compute1"] = (cloud.now, ("disabled", "Masakari detected host failed.", False))
    while cloud.hearing("compute1") is not Hearing.SILENT:
        cloud.run(2, waited_for=True)
    assert cloud.now - died_at <= (36 if after_s != 20 else 40)


def test_heard_since_takes_two_heartbeats() -> None:
    """One may be an old one that was seen late."""
    cloud = Cloud()
    cloud.run(120)
    moment = cloud.now
    assert not cloud.hearts.heard_since("compute1", moment)
    cloud.run(14)
    assert not cloud.hearts.heard_since("compute1", moment)
    cloud.run(11)
    assert cloud.hearts.heard_since("compute1", moment)
    cloud.kill("compute1")
    moment = cloud.now
    cloud.run(60)
    assert not cloud.hearts.heard_since("compute1", moment)
    assert not cloud.hearts.heard_since("nobody", moment)


def test_a_host_that_returned_while_its_cell_was_down_is_not_silent() -> None:
    cloud = Cloud()
    cloud.run(120)
    cloud.kill("compute1", "compute2")
    cloud.run(60)
    cloud.unknown = {"compute1", "compute2"}
    cloud.run(60)
    cloud.revive("compute1")
    cloud.run(30)
    cloud.unknown = set()
    cloud.look()
    assert cloud.hearing("compute1") is not Hearing.SILENT
    assert cloud.hearing("compute2") is Hearing.SILENT
    cloud.run(30)
    assert cloud.hearing("compute1") is Hearing.HEARD
