# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An operator at the command line: real processes, a database file, a simulated cloud."""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from oslo_config import cfg

from hacore.db import schema
from hacore.db.engine import Database
from tests.servers import free_port
from tests.unit import processes
from tests.unit.processes import Configuration, Ended


class Cloud:
    """The simulated cloud, and how to make it misbehave."""

    def __init__(self, login: dict[str, str]) -> None:
        self.login = login
        self._url = login["auth_url"].removesuffix("/identity/v3")

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method, f"{self._url}/control/{path}", json=body or {}, timeout=10
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def faults(self, **faults: Any) -> None:
        self.control("PUT", "faults", faults)


class Operator:
    """Somebody with a shell where hacore is installed and its database is synced."""

    def __init__(self, folder: pathlib.Path, cloud: Cloud) -> None:
        self.folder = folder
        self.cloud = cloud
        self.nothing = free_port()  # nothing listens there
        self.configuration: Configuration = {
            "DEFAULT": {
                "auth_strategy": "noauth2",
                "state_path": folder,
                "transport_url": "fake://",
            },
            "database": {"connection": f"sqlite:///{folder}/hacore.sqlite"},
            "nova": cloud.login,
        }

    def change(self, **groups: dict[str, object]) -> None:
        """Change options; None takes one away."""
        self.configuration = processes.changed(self.configuration, groups)

    def run(self, *arguments: str, program: str = "hacore-manage", **environment: str) -> Ended:
        file = processes.write(self.folder / "hacore.conf", self.configuration)
        return processes.run(
            self.folder,
            [program, f"--config-file={file}", *arguments],
            {"COLUMNS": "", **environment},
        )

    def says(self, *arguments: str) -> str:
        """The output of a verb that works."""
        ended = self.run(*arguments)
        assert (ended.status, errors(ended)) == (0, ""), ended
        return ended.output

    def finds(self, *arguments: str) -> Any:
        """The JSON of a verb that works."""
        return json.loads(self.says(*arguments, "-f", "json"))

    def is_told(self, *arguments: str) -> str:
        """The sentence of a verb that refuses."""
        ended = self.run(*arguments)
        assert (ended.status, ended.output) == (1, ""), ended
        return ended.error.removeprefix("hacore-manage: ").removesuffix("\n")


def errors(ended: Ended) -> str:
    """What a command has said on standard error, without the lines of its log."""
    log = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \d+ (INFO|WARNING|ERROR) hacore\.db\..*")
    return "\n".join(line for line in ended.error.splitlines() if not log.fullmatch(line))


@pytest.fixture(scope="package")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with processes.sandbox(tmp_path_factory.mktemp("sandbox")) as made:
        yield made


@pytest.fixture(scope="package")
def old_login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of a cloud that is older than Pike."""
    folder = tmp_path_factory.mktemp("old-sandbox")
    with processes.sandbox(folder, "--max-microversion", "2.42") as made:
        yield made


@pytest.fixture
def cloud(login: dict[str, str]) -> Iterator[Cloud]:
    made = Cloud(login)
    yield made
    made.control("DELETE", "faults")


@pytest.fixture
def operator(tmp_path: pathlib.Path, cloud: Cloud) -> Operator:
    made = Operator(tmp_path, cloud)
    processes.make_tables(str(made.configuration["database"]["connection"]))
    return made


@pytest.fixture
def db(operator: Operator, conf: cfg.ConfigOpts) -> Iterator[Database]:
    """The operator's database."""
    url = str(operator.configuration["database"]["connection"])
    conf.set_override("connection", url, group="database")
    database = Database(conf.database)
    schema.check(database)
    yield database
    database.dispose()
