# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a real Masakari 22.0.0 left behind, for tests of the way from it; make.py made it.

masakari.sql        its database after some failures, as SQLite's .dump writes it
masakari.conf       every option of its own, as its generator lists them, with defaults
recovery.conf       the file of task lists that its package brings
"""

import pathlib
import sqlite3

FOLDER = pathlib.Path(__file__).parent


def database(folder: pathlib.Path) -> pathlib.Path:
    """Make Masakari's database anew in `folder`, as a SQLite file; return its path."""
    path = folder / "masakari.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((FOLDER / "masakari.sql").read_text())
    connection.close()
    return path
