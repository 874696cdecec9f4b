# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The window finds how many evacuations a Nova should have in flight."""

import heapq

import pytest

from hacore.engine.window import INITIAL_LIMIT, Window

MOST = 32


class FakeNova:
    """Works on `workers` evacuations at a time, `work_s` each; the rest queue."""

    def __init__(self, workers: int, work_s: float) -> None:
        self.workers, self.work_s = workers, work_s
        self._free_at = [0.0] * workers

    def evacuate(self, now: float) -> float:
        """Return when it will be done."""
        self._free_at = sorted(self._free_at)[: self.workers]
        self._free_at += [now] * (self.workers - len(self._free_at))
        done = max(now, heapq.heappop(self._free_at)) + self.work_s
        heapq.heappush(self._free_at, done)
        return done


def drive(window: Window, nova: FakeNova, seconds: int, begin: float = 0) -> list[float]:
    """Keep the window full, looking once a second; return its size by second."""
    sizes, flights = [], []
    now = begin
    while now < begin + seconds:
        while (start := window.take(len(flights), MOST, now)) is not None:
            flights.append((start, nova.evacuate(start)))
        now += 1.0
        for flight in [flight for flight in flights if flight[1] <= now]:
            flights.remove(flight)
            window.took(now - flight[0], MOST)
            window.give_back()
        sizes.append(window.size)
    for _ in flights:
        window.give_back()
    return sizes


@pytest.fixture
def window() -> Window:
    made = Window(interval_s=1.0)
    made.enter()
    return made


def test_a_small_nova_is_kept_busy_but_not_flooded(window: Window) -> None:
    sizes = drive(window, FakeNova(workers=1, work_s=0.43), 60)
    assert max(sizes) <= 14  # found out by going a little too far
    assert all(4 <= size <= 9 for size in sizes[20:])


def test_a_large_nova_is_used(window: Window) -> None:
    sizes = drive(window, FakeNova(workers=64, work_s=1.5), 30)
    assert max(sizes[:15]) == MOST
    assert sizes[-1] > MOST * 0.8


def test_a_nova_that_slows_down_is_given_less_and_more_again_afterwards(window: Window) -> None:
    nova = FakeNova(workers=24, work_s=1.5)
    before = drive(window, nova, 30)[-1]
    nova.workers, nova.work_s = 2, 3.0
    slow = drive(window, nova, 90, begin=30)[-1]
    nova.workers, nova.work_s = 24, 1.5
    after = drive(window, nova, 60, begin=300)[-1]
    assert slow < before / 2
    assert after > slow * 2


def test_refusals_halve_it_down_to_one(window: Window) -> None:
    window.overloaded()
    assert window.size == INITIAL_LIMIT / 2
    for _ in range(10):
        window.overloaded()
    assert window.size == 1


def takes(window: Window, mine: int, most: int = MOST) -> bool:
    """Whether a recovery with `mine` in flight may have another."""
    return window.take(mine, most, 0.0) is not None


def test_a_recovery_has_its_share_and_what_others_leave(window: Window) -> None:
    mine = 0
    while takes(window, mine):
        mine += 1
    assert mine == INITIAL_LIMIT
    window.enter()
    assert [takes(window, n) for n in range(4)] == [True, True, True, False]
    for _ in range(mine):
        window.give_back()
    window.leave(0)
    others = 3
    while takes(window, others):
        others += 1
    assert others == INITIAL_LIMIT


def test_no_recovery_has_more_than_the_most(window: Window) -> None:
    assert not takes(window, 2, most=2)


def test_what_is_in_flight_when_a_recovery_ends_is_not_counted_any_more(window: Window) -> None:
    for number in range(6):
        assert takes(window, number)
    window.leave(6)
    window.enter()
    assert takes(window, 0)


def starts(window: Window, count: int, now: float) -> list[float]:
    """Return when `count` recoveries with nothing in flight may start one each."""
    made = [window.take(0, MOST, now) for _ in range(count)]
    return [start for start in made if start is not None]


def test_a_few_start_together_and_others_follow(window: Window) -> None:
    first = starts(window, 6, now=100.0)
    assert first[:3] == [100.0] * 3
    assert 100.0 < first[3] < first[4] < first[5] <= 101.5
    for _ in range(6):
        window.give_back()
    # what has ended together does not start together again
    again = starts(window, 6, now=110.0)
    assert again[:3] == [110.0] * 3
    assert 110.0 < again[3] < again[4] < again[5] <= 111.5


def test_starts_follow_faster_where_evacuations_take_less_time(window: Window) -> None:
    for _ in range(20):
        window.took(0.8, MOST)
    first = starts(window, 6, now=100.0)
    assert 100.0 < first[3] < first[5] < 100.2


def test_no_start_waits_for_long_however_many_there_are(window: Window) -> None:
    for _ in range(39):
        window.enter()
    first = starts(window, 40, now=100.0)
    assert len(first) == 40
    assert max(first) <= 101.5
