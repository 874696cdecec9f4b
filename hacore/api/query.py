# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The query parameters of a list: filters, order, page."""

import datetime
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from hacore.api import times
from hacore.db.paging import Page, Sort
from hacore.errors import Invalid

#: Masakari accepts these in a query, in any case, and fewer in a body (hacore.api.schemas).
TRUE = ("true", "yes", "on", "1", "t", "y")
FALSE = ("false", "no", "off", "0", "f", "n")
_MOST_DIGITS = 12


class Query:
    """The parameters of one request; unknown parameters are ignored.

    If one is given more than once, the last one counts, except for the sort keys.
    """

    def __init__(self, query_string: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in urllib.parse.parse_qsl(query_string, keep_blank_values=True):
            if "\0" in value:
                raise Invalid(f"{name[:40]!r}: NUL characters are not allowed.")
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """Return a parameter as it was sent; None if it is missing."""
        return self._values.get(name, [None])[-1]

    def boolean(self, name: str) -> bool | None:
        """Return a boolean parameter."""
        value = self.text(name)
        if value is None:
            return None
        word = value.strip().lower()
        if word in TRUE or word in FALSE:
            return word in TRUE
        raise Invalid(f"{name}: {value[:40]!r} is not a boolean.")

    def time(self, name: str) -> datetime.datetime | None:
        """Return a parameter that is a time."""
        value = self.text(name)
        return None if value is None else times.parse(name, value)

    def equal(self, *names: str) -> dict[str, Any]:
        """Return those parameters of `names` that are given."""
        return {name: value for name in names if (value := self.text(name)) is not None}

    def word(self, name: str, known: Iterable[str]) -> str | None:
        """Return a parameter that must be one of the words."""
        found = self.words(name, known)
        return found[-1] if found else None

    def words(self, name: str, known: Iterable[str]) -> list[str]:
        """Return all values of a repeatable parameter, each of which must be one of the words."""
        found = self._values.get(name, [])
        known = list(known)
        for value in found:
            if value not in known:
                raise Invalid(f"{name}: {value[:40]!r} must be one of {', '.join(known)}.")
        return found

    def number(self, name: str) -> int | None:
        """Return a parameter that is an integer of 0 or more."""
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            raise Invalid(f"{name}: {value[:40]!r} is not an integer of 0 or more.")
        # int() refuses thousands of digits
        digits = value.lstrip("0")
        return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS

    def page(self, sort_keys: Mapping[str, str], most: int) -> Page:
        """Return the requested page, of at most `most` rows.

        :param sort_keys: the names in JSON, with the attributes of the row.
        """
        return Page(self.limit(most), self.text("marker"), tuple(self._order(sort_keys)))

    def limit(self, most: int) -> int:
        """Return how many rows are requested, at most `most`."""
        wanted = self.number("limit")
        return most if wanted is None else min(wanted, most)

    def _order(self, sort_keys: Mapping[str, str]) -> list[Sort]:
        keys = self._values.get("sort_key", ["created_at"])
        directions = self._values.get("sort_dir", [])
        for key in keys:
            if key not in sort_keys:
                raise Invalid(
                    f"sort_key: {key[:40]!r} is not a sort key; use {', '.join(sort_keys)}."
                )
        for direction in directions:
            if direction not in ("asc", "desc"):
                raise Invalid(f"sort_dir: {direction[:40]!r} must be asc or desc.")
        if len(directions) > len(keys):
            raise Invalid("sort_dir: given more often than sort_key.")
        fallback = directions[0] if directions else "desc"
        directions = directions + [fallback] * (len(keys) - len(directions))
        return [
            Sort(sort_keys[key], direction == "desc")
            for key, direction in zip(keys, directions, strict=True)
        ]
