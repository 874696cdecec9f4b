# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which names are one to a person."""

import pytest

from hacore import hostnames


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Compute1", ["compute1"]),
        ("compute1.example.org", ["compute1"]),
        ("COMPUTE2", ["compute2.example.org"]),
        ("compute2.EXAMPLE.org", ["compute2.example.org"]),
        ("compute", []),
        ("compute11", []),
        ("compute2.example.com", []),
        ("10.0.0.2", []),  # not the domain of another address
    ],
)
def test_alike(name: str, meant: list[str]) -> None:
    known = ["compute2.example.org", "compute1", "10.0.0.1"]
    assert hostnames.alike(name, known) == meant


def test_the_end_of_the_sentence() -> None:
    assert hostnames.hint("x", ["compute1"]) == "."
    known = ["compute1.a", "compute1.b"]
    assert hostnames.hint("compute1", known) == "; did you mean 'compute1.a' or 'compute1.b'?"
