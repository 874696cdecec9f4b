# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Bringing a database to the schema of this version, and saying which one it has.

alembic is loaded where it migrates and nowhere else: it costs 12 MB, and a
daemon only compares revisions.
"""

import pathlib

import sqlalchemy as sa

from hacore.db.engine import Database, translated
from hacore.errors import ConfigError

#: All revisions under migrations/versions, the oldest first.
REVISIONS = ("0001",)

_MIGRATIONS = pathlib.Path(__file__).parent / "migrations"
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


def newest() -> str:
    """Return the revision that this version of hacore needs."""
    return REVISIONS[-1]


def version(db: Database) -> str | None:
    """Return the revision of the database; None when it is empty."""
    with translated(), db.bind.connect() as connection:
        if not sa.inspect(connection).has_table(_VERSION.name):
            return None
        found: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
        return found


def sync(db: Database) -> None:
    """Bring the database to the newest revision; does nothing if it is there."""
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    # a % in the path would be an interpolation to alembic
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with translated(), db.bind.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def check(db: Database) -> None:
    """Raise ConfigError unless the database has the schema of this version."""
    found, wanted = version(db), newest()
    if found == wanted:
        return
    if found is None:
        raise ConfigError("The database has no tables of hacore; run 'hacore-manage db sync'.")
    if found in REVISIONS:
        raise ConfigError(
            f"The database has schema {found}, this hacore needs {wanted}; run "
            "'hacore-manage db sync'."
        )
    raise ConfigError(
        f"The database has schema {found}, which this hacore does not know (its newest is "
        f"{wanted}); a newer hacore made it: install that one here too."
    )
