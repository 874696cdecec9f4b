# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Bringing a database to the schema of this version, and saying which one it has."""

import pathlib

import alembic.command
import alembic.config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hacore.db.engine import Database, translated
from hacore.errors import ConfigError

_MIGRATIONS = pathlib.Path(__file__).parent / "migrations"


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    # a % in the path would be an interpolation to alembic
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def newest() -> str:
    """Return the revision that this version of hacore needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101 - there is at least the first migration
    return head


def version(db: Database) -> str | None:
    """Return the revision of the database; None when it is empty."""
    with translated(), db.bind.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def sync(db: Database) -> None:
    """Bring the database to the newest revision; does nothing if it is there."""
    config = _config()
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
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found in known:
        raise ConfigError(
            f"The database has schema {found}, this hacore needs {wanted}; run "
            "'hacore-manage db sync'."
        )
    raise ConfigError(
        f"The database has schema {found}, which this hacore does not know (its newest is "
        f"{wanted}); a newer hacore made it: install that one here too."
    )
