# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a transaction costs."""

import pytest
import sqlalchemy as sa

from hacore.db.engine import Database


def test_no_rollback_follows_a_commit(db: Database) -> None:
    if db.bind.dialect.name != "mysql":
        pytest.skip("MariaDB counts them for each connection")

    def rollbacks() -> int:
        with db.write() as session:
            found = session.execute(sa.text("SHOW SESSION STATUS LIKE 'Com_rollback'")).one()
            return int(found[1])

    before = rollbacks()
    assert rollbacks() == before  # of the same connection: the pool has one
