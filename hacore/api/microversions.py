# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Microversions: ``OpenStack-API-Version: instance-ha X.Y``."""

import re
from collections.abc import Mapping

import falcon
import microversion_parse

from hacore.errors import Invalid

Version = tuple[int, int]

SERVICE = "instance-ha"
HEADER = "OpenStack-API-Version"

OLDEST = (1, 0)
RECOVERY_DETAILS = (1, 1)  # recovery_workflow_details of a notification
SEGMENT_ENABLED = (1, 2)  # a segment can be enabled and disabled
VMOVES = (1, 3)  # /notifications/{uuid}/vmoves

#: Oldest first; each is named after what it added.
VERSIONS: tuple[Version, ...] = (
    OLDEST,
    RECOVERY_DETAILS,
    SEGMENT_ENABLED,
    VMOVES,
)
NEWEST = VERSIONS[-1]

_FORM = re.compile(r"([1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")


def text(version: Version) -> str:
    """Return the version as clients write it."""
    return f"{version[0]}.{version[1]}"


def requested(headers: Mapping[str, str]) -> Version:
    """Return the version that the request asks for; the oldest if it asks for none.

    A header that names only other services, or has no number, asks for none.
    Raises Invalid (400) for a malformed version, falcon.HTTPNotAcceptable for an unknown one.
    """
    wanted = microversion_parse.get_version(dict(headers), SERVICE)
    if wanted is None:
        return OLDEST
    if wanted == "latest":
        return NEWEST
    match = _FORM.fullmatch(wanted)
    if match is None:
        raise Invalid(f"{HEADER}: {wanted[:40]!r} must be X.Y or 'latest'.")
    version = int(match[1]), int(match[2])
    if version not in VERSIONS:
        raise falcon.HTTPNotAcceptable(
            description=f"{HEADER}: {wanted} is not supported; supported are "
            f"{text(OLDEST)} to {text(NEWEST)}."
        )
    return version
