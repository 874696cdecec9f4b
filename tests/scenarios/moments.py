# Licensed under the Apache License, Version 2.0; see LICENSE.
"""One row of steps.yaml, read."""

import dataclasses
import re
from typing import Any

_MOMENT = re.compile(
    r"at (?P<at>[\d.]+)|(?P<later>[\d.]+) s later|(?P<how>when|before) (?P<text>.+)"
)


@dataclasses.dataclass(frozen=True)
class Step:
    """Some actions and their moment: a time, a delay, or a text to come."""

    moment: str
    at: float | None
    later: float | None
    before: bool
    text: str | None
    actions: list[Any]

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Step":
        """Read one row of steps.yaml."""
        ((moment, actions),) = row.items()
        match = _MOMENT.fullmatch(moment)
        if match is None:
            raise ValueError(f"steps.yaml: {moment!r} is no moment")
        return cls(
            moment=moment,
            at=float(match["at"]) if match["at"] else None,
            later=float(match["later"]) if match["later"] else None,
            before=match["how"] == "before",
            text=match["text"],
            actions=actions if isinstance(actions, list) else [actions],
        )
