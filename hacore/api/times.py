# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Times that clients send; hacore.resources writes those of answers."""

import datetime
import re

from hacore.errors import Invalid

# Extended and basic forms of ISO 8601, of which fromisoformat accepts more; a blank may replace T.
_EXTENDED = r"\d{4}-\d\d-\d\d"
_TIME = r"(\d\d:\d\d(:\d\d(\.\d+)?)?|\d{4}(\d\d(\.\d+)?)?)"
_ZONE = r"(Z|[+-]\d\d:?[0-5]\d)"
_FORM = re.compile(rf"{_EXTENDED}|({_EXTENDED}|\d{{8}})[T ]{_TIME}{_ZONE}?", re.ASCII)

_OLDEST_YEAR = 1000  # what every database holds


def parse(field: str, text: str) -> datetime.datetime:
    """Return the time, aware and in UTC, which is also meant where `text` has no zone.

    Raises Invalid, which names the `field`.
    """
    if _FORM.fullmatch(text) is None:
        raise Invalid(f"{field}: {text[:40]!r} is not in ISO 8601, such as 2026-01-31T12:00:00Z.")
    try:
        time = datetime.datetime.fromisoformat(text)
        time = time.replace(tzinfo=time.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as exc:
        raise Invalid(f"{field}: {text[:40]!r} is not a valid date or time.") from exc
    if time.year < _OLDEST_YEAR:
        raise Invalid(f"{field}: {text[:40]!r} is before the year {_OLDEST_YEAR}.")
    return time
