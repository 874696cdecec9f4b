# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``python -m tests.schedules.breakages``: does each deliberate breakage still get caught?

Each one is made in a copy of the tree.  It counts as caught when a schedule, or the test that
is named for it, fails.  The table in README.md shows what this prints.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Schedules from the first one on that are tried where the given seed catches nothing.
_TRIED = 400
_SCENARIO = "tests/scenarios/test_scenarios.py::test_the_story_is_the_expected_one"
_PARTS = ("hacore", "sandbox", "tests", "etc", "setup.cfg", "pyproject.toml")


@dataclasses.dataclass(frozen=True)
class Breakage:
    """One deliberate breakage.

    :param edits: what is replaced by what; each stands once in hacore/.
    :param seed: of a schedule that catches it; 0: the test does.
    :param test: a test that catches it, where schedules do not or only after thousands.
    """

    name: str
    edits: tuple[tuple[str, str], ...]
    seed: int = 0
    test: str = ""


BREAKAGES = (
    Breakage(
        "a write under a claim asks neither owner nor claim number nor status",
        (
            (
                "            Notification.uuid == claim.uuid,\n"
                "            Notification.owner == claim.owner,\n"
                "            Notification.claim_number == claim.number,\n"
                "            Notification.status == NotificationStatus.RUNNING,\n",
                "            Notification.uuid == claim.uuid,\n",
            ),
        ),
        21,
    ),
    Breakage(
        "the lock is not recorded before it is put on",
        (
            (
                "self._nova.lock(move.instance_uuid, self._lock_reason, lambda: self._begin(move))",
                "self._nova.lock(move.instance_uuid, self._lock_reason)\n"
                "                self._begin(move)",
            ),
        ),
        2,
    ),
    Breakage(
        "`migration_before` is always 0",
        (
            ("migration_before=newest.get(instance.uuid, 0)", "migration_before=0"),
            ("max(move.migration_before, newest.id if newest else 0)", "0"),
        ),
        test=f"{_SCENARIO}[host-fails-again]",
    ),
    Breakage(
        "evacuate is called again when its outcome is unknown",
        (("            repeatable=False,\n", ""),),
        21,
    ),
    Breakage(
        "a move that timed out is called again without a read of its record",
        (
            (
                "        if record is None:\n            return True\n        # one that",
                "        if record is None or move.status == MoveStatus.FAILED:\n"
                "            return True\n        # one that",
            ),
        ),
        132,
    ),
    Breakage(
        "what is given up is not cleaned up",
        (("if finished else clean_up(context)", "if finished else []"),),
        3,
    ),
    Breakage(
        "claims ignore the leases of others",
        (
            (
                "sa.or_(Notification.lease_until.is_(None), Notification.lease_until < now)",
                "sa.true()",
            ),
        ),
        1,
    ),
    Breakage("two claims of one subject", ((".where(due, ~same_subject)", ".where(due)"),), 2),
    Breakage(
        "a request does not ask the lease",
        (
            (
                "        if guard is not None:\n            guard.check()\n        asked, status",
                "        asked, status",
            ),
        ),
        4,
    ),
    Breakage(
        "the beginning of an evacuate call is not recorded",
        (("self._target, lambda: self._about_to_call(move))", "self._target)"),),
        test="tests/unit/engine/test_lease_when_sending.py"
        "::test_an_engine_waits_for_what_the_one_before_has_sent[kill_engine]",
    ),
    Breakage(
        "the beginning of a lock call is not recorded",
        (
            (
                "        row.message = None\n        row.updated_at = now\n",
                "        row.message = None\n",
            ),
        ),
        100,
    ),
    Breakage(
        "an ongoing move whose last call is young is called at once",
        (("            elif age_s < LATE_S:\n", "            elif age_s < 0:\n"),),
        100,
    ),
    Breakage(
        "what is given up does not wait for late calls",
        (
            (
                "    context.outwait(min(calls_s, default=LATE_S))\n",
                "    min(calls_s, default=LATE_S)\n",
            ),
        ),
        1810,
    ),
    Breakage(
        "a stop that was taken over is not waited for before the start",
        (("            self.context.outwait_earlier_claims()\n", "            pass\n"),),
        1332,
    ),
    Breakage(
        "the stop of an instance that is to end in ERROR is not recorded",
        (
            (
                "self._nova.stop(uuid, lambda: self._about_to_stop(move))",
                "self._nova.stop(uuid)",
            ),
        ),
        2296,
    ),
    Breakage(
        "an instance is left to the host recovery though this one has stopped it",
        (
            (
                "if moved_by and not _was_stopped_since(context, instance_uuid):",
                "if moved_by:",
            ),
        ),
        3108,
    ),
    Breakage(
        "the engine does not check its own lease's end",
        (("        if self._clock.monotonic() > self._until:\n", "        if self._until < 0:\n"),),
        16,
    ),
    Breakage(
        "an evacuated instance is unlocked while a lock may be on its way",
        (("_Flight(row, None, now, late_until=now + late_s)", "_Flight(row, None, now)"),),
        test=f"{_SCENARIO}[lock-arrives-late-and-an-operator-evacuates]",
    ),
    Breakage(
        "a lock without an answer is not waited for when the next try is refused",
        (
            (
                "                if not again or now >= deadline:\n"
                "                    self._wait_until(late_until)\n",
                "                if not again or now >= deadline:\n",
            ),
        ),
        test=f"{_SCENARIO}[lock-answer-lost-and-then-refused]",
    ),
    Breakage(
        "a move is a success by its record alone, wherever the instance is",
        (
            (
                "            if flight.move.instance_uuid not in remaining:\n",
                "            if True:\n",
            ),
        ),
        test=f"{_SCENARIO}[source-host-returns]",
    ),
    Breakage(
        "a list that ignores its filter is believed",
        (("            if row.host != host:\n", "            if False:\n"),),
        59,
    ),
    Breakage(
        "a 404 to evacuate means that the instance is gone",
        (("            return self._not_found(move, exc)\n", "            return GONE\n"),),
        34,
    ),
    Breakage(
        "a page of HTML is believed to be the answer",
        (
            ("    if body is None and response.content.strip():\n", "    if False:\n"),
            ("    if code != status:\n", "    if False:\n"),
        ),
        405,
    ),
    Breakage(
        "an instance that Nova cannot evacuate is called without end",
        (("        if calls < _MOST_UNANSWERED:\n", "        if True:\n"),),
        36,
    ),
    Breakage(
        "an instance without an answer goes before those that had no turn yet",
        (
            (
                "            self._waiting.append(move)\n        else:",
                "            self._waiting.appendleft(move)\n        else:",
            ),
        ),
        36,
    ),
    Breakage(
        "the state of an instance that was reset and not evacuated is left",
        (("                if move.state_reset:\n", "                if False:\n"),),
        533,
    ),
    Breakage(
        "an instance is evacuated though its live migration was running",
        (("            if running is not None:\n", "            if False:\n"),),
        12,
    ),
    Breakage(
        "a reserved host that was not used stays enabled",
        (("in (_disable, _leave_aggregates):", "in (_leave_aggregates,):"),),
        98,
    ),
    Breakage(
        "a reserved host that was not used stays in the aggregates",
        (("in (_disable, _leave_aggregates):", "in (_disable,):"),),
        3,
    ),
    Breakage(
        "a report that leads to nothing puts the host on maintenance",
        (
            (
                '        self._run("process", context,',
                "        recoveries.begin_maintenance(self._db, claim)\n"
                '        self._run("process", context,',
            ),
        ),
        12,
    ),
    Breakage(
        "late calls are not waited for (`hacore.nova.LATE_S`)",
        (("LATE_S = 15.0\n", "LATE_S = 0.0\n"),),
        test=f"{_SCENARIO}[evacuate-never-arrived]",
    ),
    Breakage(
        "a restart since the alarm came in is not looked for",
        (
            ("        self._check_restarted_by_us()\n", ""),
            ("        self._check_restarted_in_nova()\n", ""),
        ),
        0,
        f"{_SCENARIO}[older-alarm-after-the-restart]",
    ),
    Breakage(
        "an alarm counts for whichever host",
        (("        self._check_host(instance)\n", ""),),
        0,
        f"{_SCENARIO}[alarm-of-the-old-copy]",
    ),
)


def main() -> int:
    """Return 1 if a breakage was not caught."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.schedules.breakages", description=__doc__
    )
    parser.add_argument("--only", default="", help="those whose name has this in it")
    only = parser.parse_args().only
    missed = 0
    for breakage in BREAKAGES:
        if only in breakage.name:
            caught = _caught(breakage)
            missed += caught is None
            print(f"{breakage.name}: {caught or 'NOT CAUGHT'}", flush=True)
    return 1 if missed else 0


def _caught(breakage: Breakage) -> str | None:
    """Return what caught it, or None."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for part in _PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        for old, new in breakage.edits:
            _edit(copy / "hacore", old, new)
        if breakage.test:
            ended = _run(copy, ["-m", "pytest", "-q", breakage.test])
            # 1: tests failed; another status is no verdict
            return breakage.test if ended.returncode == 1 else None
        schedules = ["-m", "tests.schedules"]
        for some in (
            ["--first", str(breakage.seed), "--count", "1"],
            ["--count", str(_TRIED), "--jobs", "2", "--fail-fast"],
        ):
            found = re.search(r"^seed (\d+): (.*)$", _run(copy, schedules + some).stdout, re.M)
            if found:
                return f"seed {found[1]}: {found[2]}"
    return None


def _edit(folder: pathlib.Path, old: str, new: str) -> None:
    """Replace text that stands once below `folder`."""
    files = [path for path in folder.rglob("*.py") if old in path.read_text()]
    count = sum(path.read_text().count(old) for path in files)
    if count != 1:
        sys.exit(f"This stands {count} times below hacore/, not once; correct the breakage: {old}")
    files[0].write_text(files[0].read_text().replace(old, new))


def _run(copy: pathlib.Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(copy), str(copy / "sandbox")])
    return subprocess.run(
        [sys.executable, *command],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
