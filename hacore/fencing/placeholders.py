# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Values that many boxes show, and the ways in which one value is written.  Pure."""

import itertools
import re
import uuid

_UUID = re.compile(r"\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?")
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}")

#: Of boards whose vendor has written none.
_UUIDS = (
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "11223344-5566-7788-99aa-bbccddeeff00",
    "11223344-5566-7788-9900-aabbccddeeff",
    "12345678-1234-5678-90ab-cddeefaabbcc",
)
_TEXTS = frozenset(
    {
        *("", "-", "0123456789", "123456789", "1234567890", "asset tag", "chassis serial number"),
        *("default string", "empty", "invalid", "n/a", "na", "no asset tag", "none", "null"),
        *("not applicable", "not available", "not provided", "not set", "not specified"),
        *("oem", "serial number", "sn", "sku", "system serial number", "system sku", "unknown"),
    }
)
_BEGINNINGS = ("to be filled", "to_be_filled", "default", "not specified")


def forms(value: str) -> frozenset[str]:
    """Return all ways to write a value; two values with one in common are the same.

    Vendors order the bytes of a UUID in several ways.
    """
    plain = value.strip().casefold()
    if _UUID.fullmatch(plain):
        raw = uuid.UUID(plain).bytes
        ways = (uuid.UUID(bytes=raw), uuid.UUID(bytes_le=raw))
        turned = (uuid.UUID(bytes=raw[::-1]), uuid.UUID(bytes_le=raw[::-1]))
        return frozenset(str(way) for way in (*ways, *turned))
    if _MAC.fullmatch(plain):
        return frozenset({plain.replace("-", ":")})
    return frozenset({plain})


_KNOWN = frozenset(itertools.chain.from_iterable(forms(value) for value in _UUIDS))


def is_placeholder(value: str) -> bool:
    """Whether it says nothing about which box it is."""
    written = forms(value)
    if written & _KNOWN:
        return True
    plain = value.strip().casefold()
    if _UUID.fullmatch(plain):
        return any(_counts(uuid.UUID(way).bytes) for way in written)
    letters = re.sub(r"[^0-9a-z]", "", plain)
    return plain in _TEXTS or plain.startswith(_BEGINNINGS) or len(set(letters)) <= 1


def _counts(raw: bytes) -> bool:
    """Whether each byte is the one before it and the same number: 00 00 00, or 01 02 03."""
    return len({(after - before) % 256 for before, after in itertools.pairwise(raw)}) == 1
