# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The story as lines: when, who, what; in names instead of uuids.

A line may have a listener, who is told at once: so that an engine can be killed
at the very line.
"""

import logging
import re
from collections.abc import Callable, Sequence

from tests.scenarios.clock import WorldClock

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST_ID = re.compile(r" \(Request-ID: req-[0-9a-f-]+\)")
_TRYING_AGAIN = "; retrying in "
_INDENT = " " * 18


class Log:
    """Collects the lines of one run."""

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        self._lines: list[str] = []
        self._said: dict[str, list[str]] = {}  #: by whom, in the last line
        self._tried: set[tuple[str | None, str]] = set()  #: since the world last changed
        self.names: dict[str, str] = {}  #: by uuid
        self.listener: Callable[[str], None] = lambda _line: None

    def named(self, text: str) -> str:
        """`text` with names for uuids, and without what differs from run to run."""
        text = _REQUEST_ID.sub("", text)
        return _UUID.sub(lambda match: self.names.get(match[0], match[0]), text)

    def line(self, text: str, who: str | None = None, said: Sequence[str] = ()) -> None:
        """Somebody does something: the engine that runs, or the API, unless `who` is given.

        :param said: sentences in it that a warning may repeat.
        """
        who = who or self._clock.group or "api"
        text = self.named(text)
        first, *more = text.splitlines()
        self._said[who] = [self.named(sentence) for sentence in said]
        self._lines.append(f"{self._clock.monotonic():8.1f}  {who:<6}  {first}")
        self._lines += [f"{_INDENT}{line}" for line in more]
        self.listener(text)

    def world(self, text: str) -> None:
        """Something happens to the world."""
        self._tried.clear()
        self.line(text, "world")

    def is_first_try(self, text: str) -> bool:
        """False for what the engine that runs has told before, and tries again since."""
        key = self._clock.group, self.named(text)
        known = key in self._tried
        self._tried.add(key)
        return not known

    def warned(self, level: str, text: str, more: str) -> None:
        """A daemon logs a warning, or worse; not told where it repeats the line before it."""
        text = self.named(text)
        said = self._said.get(self._clock.group or "api", ())
        what, again, _pause = text.partition(_TRYING_AGAIN)
        if again:
            text = f"{what}; retrying"
        if (not again or self.is_first_try(what)) and not any(s in text for s in said):
            self.line(f"{level}: {text}{more}")

    def text(self, ending: list[str]) -> str:
        """The whole log."""
        return "\n".join([*self._lines, "", *ending, ""])


class Handler(logging.Handler):
    """What hacore logs as a warning, or worse, goes into the story."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        more = f"\n{type(error).__name__}: {error}" if error is not None else ""
        self._log.warned(record.levelname, record.getMessage(), more)
