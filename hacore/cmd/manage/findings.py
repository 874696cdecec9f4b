# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore-manage doctor finds: one line for each thing that it checked."""

import dataclasses
import enum


class Result(enum.StrEnum):
    """How a check went."""

    OK = "ok"
    WRONG = "wrong"
    UNCHECKED = "not checked"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, how it went, and a sentence: of what is wrong, how to mend it."""

    check: str
    result: Result
    detail: str


def ok(check: str, detail: str = "") -> Finding:
    """It is as it must be."""
    return Finding(check, Result.OK, detail)


def wrong(check: str, detail: str) -> Finding:
    """It is not as it must be; `detail` says how to mend it."""
    return Finding(check, Result.WRONG, detail)


def unchecked(check: str, detail: str) -> Finding:
    """It could not be checked; `detail` says why."""
    return Finding(check, Result.UNCHECKED, detail)
