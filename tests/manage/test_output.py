# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Tables for people and JSON for programs, of the same rows."""

import datetime
import json

import pytest

from hacore.cmd.manage import output

AT = datetime.datetime(2026, 11, 21, 12, 30, 5, 7, tzinfo=datetime.UTC)
ROWS = [
    {"uuid": "u-1", "came_in": AT, "locked": True, "holding": [], "message": None},
    {"uuid": "u-2", "came_in": None, "locked": False, "holding": ["a", "b"], "message": "so " * 60},
]
COLUMNS = ("uuid", "came_in", "locked", "holding", "message")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_table_reads_well(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("table", ROWS[:1], COLUMNS)
    assert lines(capsys)[1:4:2] == [
        "| Uuid | Came in             | Locked | Holding | Message |",
        "| u-1  | 2026-11-21 12:30:05 | yes    | -       | -       |",
    ]


@pytest.mark.parametrize("width", [90, 120])
def test_the_last_column_is_folded_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output.show("table", ROWS, COLUMNS)
    shown = lines(capsys)
    assert {len(line) for line in shown} <= set(range(width - 3, width + 1))
    assert "| u-2  | -                   | no     | a       | so so " in "\n".join(shown)


def test_what_is_too_wide_is_one_paragraph_for_each_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output.show("table", ROWS, COLUMNS)
    assert lines(capsys)[:8] == [
        "Uuid     u-1",
        "Came in  2026-11-21 12:30:05",
        "Locked   yes",
        "Holding  -",
        "Message  -",
        "",
        "Uuid     u-2",
        "Came in  -",
    ]
    output.show("table", ROWS[1:], COLUMNS)
    shown = lines(capsys)
    assert shown[3:6] == ["Holding  a", "         b", "Message  so so so so so so so so so so"]
    assert {line[:9] for line in shown[6:]} == {" " * 9}
    assert max(map(len, shown)) <= 40
    output.show("table", [], COLUMNS)
    assert lines(capsys) == ["none"]


def test_nothing_is_folded_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    output.show("table", ROWS, COLUMNS)
    assert any(("so " * 60).strip() in line for line in lines(capsys))


def test_json_keeps_the_types(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("json", ROWS, COLUMNS)
    first, second = json.loads(capsys.readouterr().out)
    assert first == {**ROWS[0], "came_in": "2026-11-21T12:30:05.000007Z"}
    assert second == ROWS[1]


def test_many_tables_have_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"recovery": {"retry_at": AT, "payload": {"event": "STOPPED"}}, "to_clean_up": []}
    output.show_all("table", parts)
    assert lines(capsys) == [
        "Recovery",
        "+----------+----------------------+",
        "| Fact     | Value                |",
        "+----------+----------------------+",
        "| Retry at | 2026-11-21 12:30:05  |",
        '| Payload  | {"event": "STOPPED"} |',
        "+----------+----------------------+",
        "To clean up",
        "none",
    ]
    output.show_all("json", parts)
    assert json.loads(capsys.readouterr().out)["to_clean_up"] == []
