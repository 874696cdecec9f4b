# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage db sync and version: a new database, again, and what a later version has."""

import sqlalchemy as sa

from hacore.db.engine import Database
from hacore.db.schema import OURS
from tests.manage.conftest import Operator

LATER = "0099_needs_0001"


def test_a_new_database_gets_its_tables_once(operator: Operator) -> None:
    operator.change(database={"connection": f"sqlite:///{operator.folder}/new.sqlite"})
    assert operator.says("db", "version") == f"database: empty\nneeded: {OURS.newest}\n"
    assert operator.says("db", "sync") == f"The schema is now {OURS.newest}; it was empty.\n"
    assert operator.says("db", "sync") == f"The schema is already {OURS.newest}.\n"
    assert operator.says("db", "version") == f"database: {OURS.newest}\nneeded: {OURS.newest}\n"


def test_a_new_database_may_be_expanded_only(operator: Operator) -> None:
    operator.change(database={"connection": f"sqlite:///{operator.folder}/new.sqlite"})
    operator.says("db", "sync", "--expand")
    assert operator.finds("service", "list") == []


def test_what_a_later_version_has_added_is_left(operator: Operator, db: Database) -> None:
    with db.write() as session:
        session.execute(sa.text(f"UPDATE alembic_version SET version_num = '{LATER}'"))
    assert operator.says("db", "sync") == f"The schema is already {LATER}.\n"
    assert operator.finds("recovery", "list") == []
    checked = operator.run("upgrade", "check", program="hacore-status")
    assert checked.status == 0, checked.output
