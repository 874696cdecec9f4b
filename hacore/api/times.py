# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Times on the wire: strict in, and out as UTC without a zone, with microseconds."""

import datetime
import re

from hacore.errors import Invalid

# Extended and basic forms of ISO 8601; a blank may stand for the T.
_DATE = r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
_TIME = (
    r"(?P<hour>\d\d)(?P<colon>:?)(?P<minute>\d\d)((?P=colon)(?P<second>\d\d)(\.(?P<part>\d+))?)?"
)
_ZONE = r"(?P<zone>Z|(?P<sign>[+-])(?P<east>\d\d):?(?P<eastmin>[0-5]\d))"
_FORM = re.compile(f"{_DATE}([T ]{_TIME}{_ZONE}?)?", re.ASCII)

_OLDEST_YEAR = 1000  # what every database holds


def parse(field: str, text: str) -> datetime.datetime:
    """Return the time, aware and in UTC; without a zone it is meant to be UTC.

    Raises Invalid, which names the `field`.
    """
    match = _FORM.fullmatch(text)
    if match is None or (not match["dash"] and match["hour"] is None):
        raise Invalid(
            f"{field}: {text[:40]!r} is not a time of ISO 8601, like 2026-01-31T12:00:00Z."
        )
    try:
        time = datetime.datetime(
            int(match["year"]),
            int(match["month"]),
            int(match["day"]),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            int(match["second"] or 0),
            int((match["part"] or "")[:6].ljust(6, "0")),
            _zone(match),
        ).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as exc:
        raise Invalid(f"{field}: {text[:40]!r} is no time of the calendar.") from exc
    if time.year < _OLDEST_YEAR:
        raise Invalid(f"{field}: {text[:40]!r} is before the year {_OLDEST_YEAR}.")
    return time


def _zone(match: re.Match[str]) -> datetime.tzinfo:
    if match["sign"] is None:
        return datetime.UTC
    east = datetime.timedelta(hours=int(match["east"]), minutes=int(match["eastmin"]))
    return datetime.timezone(-east if match["sign"] == "-" else east)


def show(time: datetime.datetime | None) -> str | None:
    """Return a time as clients of instance-ha v1 know it."""
    return None if time is None else time.replace(tzinfo=None).isoformat(timespec="microseconds")
