# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Random schedules break no promise; a broken one says how to see it again."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import coverage
import pytest

from tests.schedules import draw_fencing
from tests.schedules.draw import plan
from tests.schedules.run import Bench, Result

#: The rest of the 10,000 is for .ci/long.
SCHEDULES = int(os.environ.get("HACORE_TEST_SCHEDULES", "250"))
_AT_ONCE = 50
#: One in ten has fencing devices; so many of them at once: they take longer.
WITH_DEVICES = SCHEDULES // 10
_DEVICES_AT_ONCE = 25
#: Later ones that broke a promise once.
FOUND = (
    1342,
    1722,
    1989,
    2303,
    2489,
    2634,
    2795,
    3093,
    3152,
    3341,
    4324,
    4673,
    4906,
    4932,
    5072,
    5588,
    5962,
    6137,
    6359,
    7226,
    8483,
    8819,
    9030,
    9486,
    9670,
    100155,
    100483,
    100771,
)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """No coverage: other tests run the same code once, and to measure it takes twice the time."""
    measuring = coverage.Coverage.current()
    if measuring is None:
        yield
        return
    measuring.stop()
    try:
        yield
    finally:
        measuring.start()


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("first", range(1, SCHEDULES - WITH_DEVICES + 1, _AT_ONCE))
def test_no_promise_is_broken(bench: Bench, first: int) -> None:
    results = [bench.run(plan(seed)) for seed in range(first, first + _AT_ONCE)]
    check_kept(results)
    # and they were no idle ones; what is held or paused has fewer evacuations: 42 to 100 in fifty
    assert sum(result.kills for result in results) > 5
    assert sum(result.takeovers for result in results) > 5
    assert sum(result.evacuations for result in results) > 30


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("first", range(0, WITH_DEVICES, _DEVICES_AT_ONCE))
def test_no_promise_is_broken_where_hosts_have_devices(bench: Bench, first: int) -> None:
    seeds = range(draw_fencing.FIRST + first, draw_fencing.FIRST + first + _DEVICES_AT_ONCE)
    results = [bench.run(plan(seed)) for seed in seeds]
    check_kept(results)
    switched_off = ["fencing: a host is switched off" in result.kinds for result in results]
    assert sum(switched_off) > 3


def check_kept(results: list[Result]) -> None:
    broken = [
        f"python -m tests.schedules --seed {result.seed}: {violation}"
        for result in results
        for violation in result.violations
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_does_not_come_back(bench: Bench, seed: int) -> None:
    assert bench.run(plan(seed)).violations == []


def test_a_seed_is_the_same_story_every_time(bench: Bench) -> None:
    stories = [bench.run(plan(64), tell=True).story for _ in range(2)]
    assert stories[0] == stories[1]
    assert len(stories[0]) > 20


def test_several_processes_share_the_work() -> None:
    command = [sys.executable, "-m", "tests.schedules", "--count", "4", "--jobs", "2"]
    ended = subprocess.run(
        command,
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0].split() == ["4", "schedules"]
