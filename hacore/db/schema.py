# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Upgrading a database to the schema of this version, and reading which one it has.

A new version first *expands* the schema by what the old version does not notice, and
*contracts* it by what the old version needs once no process of that version runs.  The name
of a revision says which versions still work with it: ``0003_needs_0002`` removes something
that a version which knows 0002 does not use; ``0004_needs_0002`` only adds something.  A
version that does not know 0004 can thus decide whether it works with it.

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

    :ivar folder: alembic's folder, with the revisions below versions/.
    :ivar revisions: their names, the oldest first.
    """

    folder: pathlib.Path
    revisions: tuple[str, ...]

    @property
    def newest(self) -> str:
        """The newest revision."""
        return self.revisions[-1]

    @property
    def contractions(self) -> list[str]:
        """The revisions that remove something."""
        pairs = zip(self.revisions, self.revisions[1:], strict=False)
        return [later for earlier, later in pairs if _needs(later) > _needs(earlier)]

    @property
    def sufficient(self) -> list[str]:
        """The revisions that this version works with: the last expansion and all after it."""
        added = [each for each in self.revisions if each not in self.contractions]
        return list(self.revisions[self.revisions.index(added[-1]) :])

    def pending(self, found: str | None) -> list[str]:
        """The revisions that a database at `found` lacks."""
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


#: The revisions that this version knows.
OURS = History(
    pathlib.Path(__file__).parent / "migrations",
    (
        "0001",
        "0002_needs_0001",
        "0003_needs_0001",
        "0004_needs_0001",
        "0005_needs_0001",
        "0006_needs_0001",
        "0007_needs_0001",
        "0008_needs_0001",
    ),
)


def version(db: Database) -> str | None:
    """Return the revision of the database; None when it is empty."""
    with translated(), db.bind.connect() as connection:
        if not sa.inspect(connection).has_table(_VERSION.name):
            return None
        found: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
        return found


def sync(db: Database, history: History = OURS, *, contract: bool = True) -> None:
    """Upgrade the database to the newest revision, unless it has that or a newer one.

    :param contract: else stop before the first revision that removes something.
    :raises ConfigError: a newer version has removed what this one needs, or processes of
        another version, which may need what is to be removed, are still running.
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
            f"Schema {removing} removes what older versions of hacore may need; still running: "
            f"{named}. Upgrade or stop them first; until then run 'hacore-manage db sync "
            "--expand'."
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
            f"The database has schema {found}, this version of hacore needs "
            f"{history.sufficient[0]}; run "
            "'hacore-manage db sync'."
        )
    raise ConfigError(
        f"The database has schema {found} of a newer version of hacore (this version knows up to "
        f"{history.newest}); install the newer version on this host too."
    )
