# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is no identity, and what is the same one in other letters."""

import uuid

import pytest

from hacore.fencing.placeholders import forms, is_placeholder

BOX = uuid.UUID("4c4c4544-0051-4810-8050-b1c04f4d0001")


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "None", "N/A", "To be filled by O.E.M.", "Default string", "Not Specified"),
        *("0000000", "xxxx", "1234567890", "System Serial Number", "00:00:00:00:00:00"),
        *("00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
        *("00010203-0405-0607-0809-0a0b0c0d0e0f", "03000200-0400-0500-0006-000700080009"),
        "00020003-0004-0005-0006-000700080009",
        *("11223344-5566-7788-99aa-bbccddeeff00", "44332211-6655-8877-99aa-bbccddeeff00"),
    ],
)
def test_a_placeholder(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize("value", [str(BOX), BOX.hex, "J4VQ1Z2", "5c:52:31:3a:01:02", "SGH123456X"])
def test_an_identity(value: str) -> None:
    assert not is_placeholder(value)


@pytest.mark.parametrize(
    "other",
    [
        str(BOX).upper(),
        BOX.hex,
        f"{{{BOX}}}",
        str(uuid.UUID(bytes_le=BOX.bytes)),
        str(uuid.UUID(bytes=BOX.bytes[::-1])),
        str(uuid.UUID(bytes_le=BOX.bytes[::-1])),
    ],
)
def test_one_uuid_in_each_order_of_bytes(other: str) -> None:
    assert forms(other) & forms(str(BOX))


def test_other_boxes() -> None:
    assert not forms(str(BOX)) & forms("4c4c4544-0051-4810-8050-b1c04f4d0002")
    assert not forms("J4VQ1Z2") & forms("J4VQ1Z3")


def test_letters_and_separators() -> None:
    assert forms(" j4vq1z2 ") & forms("J4VQ1Z2")
    assert forms("AA-BB-CC-DD-EE-0F") & forms("aa:bb:cc:dd:ee:0f")
