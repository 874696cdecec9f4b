# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Uuids in a path: what is none cannot be found, and the database is not asked."""

import re

from hacore.errors import NotFound

_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check(text: str, missing: type[NotFound]) -> None:
    """Raise `missing` if `text` is the uuid of nothing."""
    if not _FORM.fullmatch(text):
        raise missing(f"{text[:40]!r} is no uuid as hacore gives them.")
