# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Times that clients send; hacore.resources writes those of answers."""

import datetime

from oslo_utils import timeutils

from hacore.errors import Invalid

_OLDEST_YEAR = 1000  # what every database holds


def parse(field: str, text: str) -> datetime.datetime:
    """Return the time, aware and in UTC, which is also meant where `text` has no zone.

    Every form that Masakari takes: it reads times with the same function.

    Raises Invalid, which names the `field`.
    """
    try:
        time = timeutils.parse_isotime(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as exc:
        raise Invalid(
            f"{field}: {text[:40]!r} is not a valid time in ISO 8601, such as 2026-01-31T12:00:00Z."
        ) from exc
    if time.year < _OLDEST_YEAR:
        raise Invalid(f"{field}: {text[:40]!r} is before the year {_OLDEST_YEAR}.")
    return time
