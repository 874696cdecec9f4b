# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Host names that are one to a person, and two to hacore, which compares them exactly.  Pure."""

from collections.abc import Iterable


def alike(name: str, known: Iterable[str]) -> list[str]:
    """Return the `known` names that differ from `name` only in case or by a domain, sorted."""
    wanted = name.lower()
    return sorted(
        other
        for other in known
        if (lower := other.lower()) == wanted
        or lower.startswith(f"{wanted}.")
        or wanted.startswith(f"{lower}.")
    )


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that says `name` is unknown: a full stop, or what is meant."""
    names = alike(name, known)
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else "."
