# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The findings of hacore-manage doctor: one for each check."""

import dataclasses
import enum


class Result(enum.StrEnum):
    """The result of a check."""

    OK = "ok"
    WRONG = "wrong"
    UNCHECKED = "not checked"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The name of a check, its result, and a sentence; where it failed, with the remedy."""

    check: str
    result: Result
    detail: str


def ok(check: str, detail: str = "") -> Finding:
    """Return a check that passed."""
    return Finding(check, Result.OK, detail)


def wrong(check: str, detail: str) -> Finding:
    """Return a check that failed; `detail` says why, and what to do."""
    return Finding(check, Result.WRONG, detail)


def unchecked(check: str, detail: str) -> Finding:
    """Return a check that could not be made; `detail` says why."""
    return Finding(check, Result.UNCHECKED, detail)
