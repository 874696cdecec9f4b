# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Bringing a database to the schema of this version, and saying which one it has.

A new version first *expands* the schema, by what the old version does not notice, and
*contracts* it, by what the old version needs, once nobody runs that any more.  The name of
a revision says what it leaves working: ``0003_needs_0002`` removes something without
which everybody does who knows 0002; ``0004_needs_0002`` adds something and leaves it at
that.  So a hacore that has never heard of 0004 knows whether it may go on.

alembic is loaded where it migrates and nowhere else: it costs 12 MB, and a
daemon only compares revisions.
"""

import dataclasses
import importlib.metadata
import pathlib

import sqlalchemy as sa

from hacore.db import services
from hacore.db.engine import Database, translated
from hacore.errors import ConfigError

_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """The revisions that a version of hacore knows.

    :ivar folder: alembic's, with the revisions below versions/.
    :ivar revisions: all of them, the oldest first.
    """

    folder: pathlib.Path
    revisions: tuple[str, ...]

    @property
    def newest(self) -> str:
        """The last one."""
        return self.revisions[-1]

    @property
    def contractions(self) -> list[str]:
        """Those that remove something."""
        pairs = zip(self.revisions, self.revisions[1:], strict=False)
        return [later for earlier, later in pairs if _needs(later) > _needs(earlier)]

    @property
    def sufficient(self) -> list[str]:
        """Those that this version works with: the last that adds something, and all after it."""
        added = [each for each in self.revisions if each not in self.contractions]
        return list(self.revisions[self.revisions.index(added[-1]) :])

    def pending(self, found: str | None) -> list[str]:
        """Those that a database at `found` does not have."""
        begin = 0 if found is None else self.revisions.index(found) + 1
        return list(self.revisions[begin:])

    def suits(self, found: str) -> bool:
        """Whether this version works with a database at `found`."""
        if found in self.revisions:
            return found in self.sufficient
        return _number(found) > _number(self.newest) >= _needs(found)


def _number(revision: str) -> str:
    return revision.partition("_needs_")[0]


def _needs(revision: str) -> str:
    return revision.partition("_needs_")[2] or _number(revision)


#: What this version knows.
OURS = History(pathlib.Path(__file__).parent / "migrations", ("0001", "0002_needs_0001"))


def version(db: Database) -> str | None:
    """Return the revision of the database; None when it is empty."""
    with translated(), db.bind.connect() as connection:
        if not sa.inspect(connection).has_table(_VERSION.name):
            return None
        found: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
        return found


def sync(db: Database, history: History = OURS, *, contract: bool = True) -> None:
    """Bring the database to the newest revision; does nothing if it is there, or further.

    :param contract: else stop before the first revision that removes something.
    :raises ConfigError: a newer version has removed what this one needs, or processes of
        another version run, which may need what is to be removed.
    """
    found = version(db)
    if found is not None and found not in history.revisions:
        check(db, history)
        return
    pending = history.pending(found)
    removing = next((each for each in pending if each in history.contractions), None)
    adding = pending[: pending.index(removing)] if removing else pending
    if adding:
        _upgrade(db, history, adding[-1])
    if removing and contract:
        _refuse_while_others_run(db, removing)
        _upgrade(db, history, history.newest)


def _refuse_while_others_run(db: Database, removing: str) -> None:
    mine = importlib.metadata.version("hacore")
    others = [each for each in services.list_(db) if each.alive and each.version != mine]
    if others:
        named = ", ".join(f"{each.binary} {each.version} on {each.host}" for each in others)
        raise ConfigError(
            f"Schema {removing} removes what an older hacore may need, and there runs {named}: "
            "upgrade or stop it first, and run 'hacore-manage db sync --expand' until then."
        )


def _upgrade(db: Database, history: History, revision: str) -> None:
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    # a % in the path would be an interpolation to alembic
    config.set_main_option("script_location", str(history.folder).replace("%", "%%"))
    with translated(), db.bind.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)


def check(db: Database, history: History = OURS) -> None:
    """Raise ConfigError unless this version works with the schema of the database."""
    found = version(db)
    if found is None:
        raise ConfigError("The database has no tables of hacore; run 'hacore-manage db sync'.")
    if history.suits(found):
        return
    if found in history.revisions:
        raise ConfigError(
            f"The database has schema {found}, this hacore needs {history.sufficient[0]}; run "
            "'hacore-manage db sync'."
        )
    raise ConfigError(
        f"The database has schema {found}, which this hacore does not know (its newest is "
        f"{history.newest}); a newer hacore made it: install that one here too."
    )
