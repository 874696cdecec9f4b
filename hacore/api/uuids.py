# Licensed under the Apache License, Version 2.0; see LICENSE.
"""UUIDs in a path: an invalid one is answered 404 without a query of the database."""

import re

from hacore.errors import NotFound

_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def require_uuid(text: str, missing: type[NotFound]) -> None:
    """Raise `missing` unless `text` is a UUID as hacore makes them."""
    if not _FORM.fullmatch(text):
        raise missing(f"{text[:40]!r} is not a valid UUID.")
