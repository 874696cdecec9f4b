# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fixtures of all tests.

HACORE_TEST_DATABASES lists the databases that tests of the database run on:
sqlite (the default), mysql, postgresql.  Where the servers are: see tests.databases.
"""

import os

from hacore import concurrency

concurrency.select()

# ruff: noqa: E402 - the back end is selected before anything else is imported
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.db import schema
from hacore.db.engine import Database
from tests import databases

DATABASES = os.environ.get("HACORE_TEST_DATABASES", "sqlite").split(",")


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    """Options of our own, read from no file; tests set what they need."""
    options = cfg.ConfigOpts()
    hacore_conf.register(options)
    options([], project="hacore", default_config_files=[], default_config_dirs=[])
    options.set_override("state_path", str(tmp_path))
    # no test survives a power cut
    options.set_override("sqlite_synchronous", False, group="database")
    return options


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new, empty database, on each kind that is asked for."""
    kind = request.param
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/hacore.sqlite"
        return
    server, name = databases.SERVERS[kind], databases.name()
    yield databases.create(server, name)
    databases.drop(server, name)


@pytest.fixture
def empty_db(conf: cfg.ConfigOpts, database_url: str) -> Iterator[Database]:
    """A database without tables."""
    conf.set_override("connection", database_url, group="database")
    database = Database(conf.database)
    yield database
    database.dispose()


@pytest.fixture
def db(empty_db: Database) -> Database:
    """A database with the tables of this version."""
    schema.sync(empty_db)
    return empty_db
