# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Words that no message, help text, comment or page uses; doc/glossary.md has those that do.

They are English, but nobody searches for them, and a reader at 3 a.m. stumbles over them.
"""

import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Folders and files; one that does not exist fails.
PLACES = ("hacore", "sandbox", "doc", "etc", "README.md", "CONTRIBUTING.md")
_SUFFIXES = {
    *(".conf", ".css", ".dot", ".json", ".mako", ".md", ".py", ".rst"),
    *(".sample", ".service", ".svg", ".toml", ".yaml", ".yml"),
}
_BUILT = {"build", "__pycache__"}  # also below sandbox/, after pip install ./sandbox

_FIX = "fix, repair or correct"
_TELL = "say, report, show or name"
INSTEAD = {
    "away": "is unavailable, or is down",
    "broke": "failed, was interrupted, or raised an unhandled exception",
    "mend": _FIX,
    "mends": _FIX,
    "mended": _FIX,
    "mending": _FIX,
    "tell": _TELL,
    "tells": _TELL,
    "told": _TELL,
    "telling": _TELL,
    "anew": "again",
}
_REFUSED = re.compile(rf"\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)
#: Operators' own tasks may use these names.
_KEPT = {("hacore/engine/context.py", "tell")}
_NAME_OF_A_TEST = re.compile(r"`tests/[\w/.:-]+`")  # scenarios and tests keep theirs


def texts(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """The files of a place that people read."""
    if place.is_file():
        yield place
        return
    for file in sorted(place.rglob("*")):
        parts = file.relative_to(place).parts
        if file.suffix in _SUFFIXES and not any(
            part in _BUILT or part.endswith(".egg-info") for part in parts
        ):
            yield file


def refused(text: str) -> Iterator[tuple[int, str]]:
    """Line and word, of each one that is refused."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in _REFUSED.finditer(_NAME_OF_A_TEST.sub("", line)):
            yield number, found[0]


@pytest.mark.parametrize("place", PLACES)
def test_no_refused_word(place: str) -> None:
    files = list(texts(ROOT / place))
    assert files, f"{place} does not exist, or has no text"
    assert [
        f"{file.relative_to(ROOT)}:{number}: {word}, write {INSTEAD[word.lower()]}"
        for file in files
        for number, word in refused(file.read_text())
        if (str(file.relative_to(ROOT)), word) not in _KEPT
    ] == []


@pytest.mark.parametrize("text", ["Nova is AWAY.", "a step broke;", "(told)", "mend-it", "Anew"])
def test_a_refused_word_is_found(text: str) -> None:
    assert len(list(refused(text))) == 1


@pytest.mark.parametrize("text", ["broken", "recommend", "always", "`tests/scenarios/nova-away`"])
def test_a_part_of_a_word_is_none(text: str) -> None:
    assert list(refused(text)) == []
