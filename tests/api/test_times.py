# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Times that clients send: what Masakari takes, which reads them with oslo.utils, is taken."""

import pytest
from oslo_utils import timeutils

from hacore.api import times
from hacore.errors import Invalid

_TAKEN = {
    "2026-01-02T03:04:05Z": "2026-01-02T03:04:05",
    "2026-01-02 03:04:05.25": "2026-01-02T03:04:05.250000",
    "2026-01-02T03:04:05,25Z": "2026-01-02T03:04:05.250000",
    "2026-01-02T03": "2026-01-02T03:00:00",
    "2026-01-02T03+01": "2026-01-02T02:00:00",
    "2026-01-02T03:04:05+05": "2026-01-01T22:04:05",
    "2026-01-02T03:04:05-08:30": "2026-01-02T11:34:05",
    "2026-01-02": "2026-01-02T00:00:00",
    "2026-1-2": "2026-01-02T00:00:00",
    "2026-02": "2026-02-01T00:00:00",
    "2026": "2026-01-01T00:00:00",
    "20260102T030405Z": "2026-01-02T03:04:05",
    "20260102T0304,": None,
    "20260102 0304": "2026-01-02T03:04:00",
    "2026-01-02T03:04:05.123456789": "2026-01-02T03:04:05.123456",
    "202601": None,
    "2026-W01-1": None,
    "2026-13": None,
    "2026-02-30": None,
    "2026-01-02T25": None,
    "2026-01-02T03:04:60": None,
    "2026-01-02T03:04:05+99:99": None,
    "2026-01-02t03:04:05z": None,
    " 2026-01-02": None,
    "1767225600": None,
    "yesterday": None,
    "": None,
}


@pytest.mark.parametrize(("text", "meant"), _TAKEN.items())
def test_a_form_is_taken_or_refused_as_in_masakari(text: str, meant: str | None) -> None:
    if meant is None:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            timeutils.parse_isotime(text)
        with pytest.raises(Invalid) as raised:
            times.parse("generated_time", text)
        assert str(raised.value) == (
            f"generated_time: {text!r} is not a valid time in ISO 8601, such as "
            "2026-01-31T12:00:00Z."
        )
    else:
        time = times.parse("generated_time", text)
        assert time == timeutils.parse_isotime(text)
        assert time.isoformat() == f"{meant}+00:00"


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59-10:00", "0000-01-01"])
def test_a_time_that_no_database_holds_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        times.parse("generated_time", text)
