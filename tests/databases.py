# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Databases of a test's own, on servers that run.

A server is a URL without a database name; HACORE_TEST_MYSQL and HACORE_TEST_POSTGRESQL
tell where they are.
"""

import os
import uuid

import sqlalchemy as sa

SERVERS = {
    "mysql": os.environ.get("HACORE_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306"),
    "postgresql": os.environ.get(
        "HACORE_TEST_POSTGRESQL", "postgresql+psycopg2://root@127.0.0.1:5432"
    ),
}


def execute(server: str, statement: str) -> None:
    """Run a statement that is for no database."""
    name = "/postgres" if _is_postgresql(server) else ""
    engine = sa.create_engine(
        server + name, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool
    )
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


def name() -> str:
    """One that no database has."""
    return f"hacore_test_{uuid.uuid4().hex[:12]}"


def create(server: str, database: str) -> str:
    """An empty one; its URL."""
    execute(server, f"CREATE DATABASE {database}")
    return f"{server}/{database}"


def drop(server: str, database: str) -> None:
    """Remove it, whoever is connected to it."""
    force = " WITH (FORCE)" if _is_postgresql(server) else ""
    execute(server, f"DROP DATABASE IF EXISTS {database}{force}")


def _is_postgresql(server: str) -> bool:
    return sa.make_url(server).get_backend_name() == "postgresql"
