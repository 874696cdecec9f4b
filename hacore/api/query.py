# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The query parameters of a list: filters, order, page."""

import datetime
import urllib.parse
from collections.abc import Mapping
from typing import Any

from hacore.api import times
from hacore.db.paging import Page, Sort
from hacore.errors import Invalid

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


class Query:
    """The parameters of one request; unknown ones are nobody's business.

    Of one that is given more than once the last counts, except for the sort keys.
    """

    def __init__(self, query_string: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in urllib.parse.parse_qsl(query_string, keep_blank_values=True):
            if "\0" in value:
                raise Invalid(f"{name[:40]!r}: the value has a NUL character.")
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """Return a parameter as it is written; None if it is not there."""
        return self._values.get(name, [None])[-1]

    def boolean(self, name: str) -> bool | None:
        """Return a parameter that says yes or no."""
        value = self.text(name)
        if value is None:
            return None
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise Invalid(f"{name}: {value[:40]!r} is neither true nor false.")

    def time(self, name: str) -> datetime.datetime | None:
        """Return a parameter that is a time."""
        value = self.text(name)
        return None if value is None else times.parse(name, value)

    def equal(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Return those filters of `names` (parameter: attribute) that are given."""
        return {
            attribute: value
            for name, attribute in names.items()
            if (value := self.text(name)) is not None
        }

    def page(self, sort_keys: Mapping[str, str], most: int) -> Page:
        """Return the page wanted, at most `most` rows.

        `sort_keys`: the names one may sort by, and the attributes they stand for.
        """
        return Page(self._limit(most), self.text("marker"), tuple(self._order(sort_keys)))

    def _limit(self, most: int) -> int:
        value = self.text("limit")
        if value is None:
            return most
        if not (value.isascii() and value.isdigit()):
            raise Invalid(f"limit: {value[:40]!r} is not a whole number from 0 on.")
        # int() refuses thousands of digits
        return min(int(value.lstrip("0")[:12] or "0"), most)

    def _order(self, sort_keys: Mapping[str, str]) -> list[Sort]:
        keys = self._values.get("sort_key", ["created_at"])
        directions = self._values.get("sort_dir", [])
        for key in keys:
            if key not in sort_keys:
                raise Invalid(
                    f"sort_key: {key[:40]!r} is unknown; known are {', '.join(sort_keys)}."
                )
        for direction in directions:
            if direction not in ("asc", "desc"):
                raise Invalid(f"sort_dir: {direction[:40]!r} is neither asc nor desc.")
        if len(directions) > len(keys):
            raise Invalid("sort_dir: it is given more often than sort_key.")
        fallback = directions[0] if directions else "desc"
        directions = directions + [fallback] * (len(keys) - len(directions))
        return [
            Sort(sort_keys[key], direction == "desc")
            for key, direction in zip(keys, directions, strict=True)
        ]
