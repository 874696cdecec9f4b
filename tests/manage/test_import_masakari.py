# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage import-masakari, as it is typed; tests/masakari shows what it does."""

import pathlib
import sqlite3

import pytest

from hacore.db.engine import Database
from tests import factories, masakari
from tests.manage.conftest import Operator

MAINTENANCE = (
    "On maintenance: compute1, compute2; notifications of these hosts are refused until their "
    "on_maintenance is set to false.\n"
)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    return masakari.database(tmp_path)


def test_it_counts_and_may_be_repeated(operator: Operator, source: pathlib.Path) -> None:
    before = source.read_bytes()
    command = ("import-masakari", "--from", f"sqlite:///{source}")
    assert operator.says(*command, "--dry-run") == (
        "segments: 3 would be imported\n"
        "hosts: 4 would be imported\n"
        "notifications: 6 would be imported\n"
        "vmoves: 8 would be imported, 5 left out\n"
        f"{MAINTENANCE}"
    )
    assert operator.says(*command) == (
        "segments: 3 imported\n"
        "hosts: 4 imported\n"
        "notifications: 6 imported\n"
        "vmoves: 8 imported, 5 left out\n"
        f"{MAINTENANCE}"
    )
    assert operator.says(*command) == (
        "segments: 0 imported, 3 already present\n"
        "hosts: 0 imported, 4 already present\n"
        "notifications: 0 imported, 6 already present\n"
        "vmoves: 0 imported, 8 already present, 5 left out\n"
        f"{MAINTENANCE}"
    )
    assert source.read_bytes() == before


def test_what_is_refused_is_listed(operator: Operator, source: pathlib.Path, db: Database) -> None:
    here = factories.segment(db, name="given up")
    with sqlite3.connect(source) as connection:
        connection.execute("UPDATE failover_segments SET deleted = 0 WHERE name = 'given up'")
        connection.execute("UPDATE notifications SET status = 'new' WHERE id = 1")
    connection.close()
    command = ("import-masakari", "--from", f"sqlite:///{source}")
    ended = operator.run(*command)
    assert ended.status == 1
    assert ended.output.splitlines()[0] == "segments: 2 would be imported, 1 refused"
    first, second, last = ended.error.splitlines()
    assert first.startswith("refused: Segment 'given up' (")
    assert first.endswith(f"its name is already used by {here.uuid}: rename one of them.")
    assert second.startswith("refused: Notification ")
    assert last == (
        "hacore-manage: Nothing imported: 2 invalid rows; fix them in Masakari, or leave them "
        "out with --skip-refused."
    )
    rest = operator.run(*command, "--skip-refused")
    assert rest.status == 0
    assert rest.output.splitlines()[0] == "segments: 2 imported, 1 refused"
    assert rest.error.splitlines() == [first, second]


def test_a_source_that_is_none(operator: Operator, tmp_path: pathlib.Path) -> None:
    assert operator.is_told("import-masakari", "--from", f"sqlite:///{tmp_path}/no.sqlite") == (
        f"Failed to read Masakari's database sqlite:///{tmp_path}/no.sqlite: unable to open "
        "database file; check the URL and the database server."
    )


def test_the_url_is_read_from_a_file_or_the_environment(
    operator: Operator, source: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    url = f"sqlite:///{source}"
    file = tmp_path / "masakari-connection"
    file.write_text(f"{url}\n")
    command = ("import-masakari", "--dry-run")
    expected = "segments: 3 would be imported"
    assert operator.says(*command, "--from-file", str(file)).startswith(expected)
    ended = operator.run(*command, HACORE_MASAKARI_CONNECTION=url)
    assert ended.output.startswith(expected)
    assert operator.is_told(*command) == (
        "Masakari's database is not given; name a file that contains [database] connection of "
        "masakari.conf with --from-file, or set HACORE_MASAKARI_CONNECTION."
    )
    assert operator.is_told(*command, "--from-file", "/none").startswith(
        "Failed to read --from-file: "
    )


def test_a_password_on_the_command_line_is_refused(operator: Operator) -> None:
    for url in ("mysql://masakari:secret@db/masakari", "mysql:/masakari:secret@db/x"):
        assert operator.is_told("import-masakari", "--from", url) == (
            "The URL in --from contains a password, and everybody on this machine sees the command "
            "line; write the URL to a file and name it with --from-file, or set "
            "HACORE_MASAKARI_CONNECTION."
        )


def test_hosts_on_maintenance_are_named(operator: Operator, source: pathlib.Path) -> None:
    with sqlite3.connect(source) as connection:
        connection.execute("UPDATE hosts SET on_maintenance = 1")
        (names,) = connection.execute(
            "SELECT group_concat(name, ', ') FROM hosts WHERE deleted = 0 ORDER BY id"
        ).fetchone()
    connection.close()
    for dry in (("--dry-run",), (), ()):
        said = operator.says("import-masakari", "--from", f"sqlite:///{source}", *dry)
        assert said.splitlines()[-1] == (
            f"On maintenance: {names}; notifications of these hosts are refused until their "
            "on_maintenance is set to false."
        )
