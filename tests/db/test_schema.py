# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Migrations bring an empty or a filled database to the models."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hacore.db import schema
from hacore.db.engine import Database
from hacore.db.models import Base, Segment
from hacore.errors import ConfigError, DatabaseUnavailable
from tests import factories


def test_the_migrations_lead_to_the_models(db: Database) -> None:
    with db.bind.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_known_revisions_are_those_of_the_migrations() -> None:
    scripts = ScriptDirectory(str(schema.OURS.folder)).walk_revisions()
    assert [script.revision for script in scripts][::-1] == list(schema.OURS.revisions)


def test_syncing_again_changes_nothing(db: Database) -> None:
    segment = factories.segment(db)
    schema.sync(db)
    assert schema.version(db) == schema.OURS.newest
    with db.read() as session:
        assert session.scalars(sa.select(Segment.uuid)).all() == [segment.uuid]


def test_an_empty_database_is_refused_with_the_remedy(empty_db: Database) -> None:
    assert schema.version(empty_db) is None
    with pytest.raises(ConfigError, match="has no tables of hacore; run 'hacore-manage db sync'"):
        schema.check(empty_db)


def test_a_schema_of_the_future_is_refused(db: Database) -> None:
    with db.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = 'zzzz'"))
    with pytest.raises(
        ConfigError, match=r"schema zzzz of a newer version of hacore .* install the newer"
    ):
        schema.check(db)


def test_a_database_that_is_away_says_so(conf, tmp_path) -> None:  # type: ignore[no-untyped-def]
    conf.set_override("connection", f"sqlite:///{tmp_path}/no/such/folder/x.sqlite", "database")
    with pytest.raises(DatabaseUnavailable, match="unable to open database file"):
        schema.version(Database(conf.database))


def test_times_are_the_databases_and_aware(db: Database) -> None:
    with db.read() as session:
        first, second = db.now(session), db.now(session)
    assert first.tzinfo is not None
    assert first <= second
    segment = factories.segment(db, created_at=first)
    with db.read() as session:
        assert session.scalars(sa.select(Segment)).one().created_at == segment.created_at


def test_what_fails_is_rolled_back(db: Database) -> None:
    def break_off() -> None:
        with db.write() as session:
            session.execute(sa.text("UPDATE alembic_version SET version_num = 'zzzz'"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert schema.version(db) == schema.OURS.newest
