# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage host: typed as an operator types it."""

import pytest

from hacore.db import proofs
from hacore.db.engine import Database
from hacore.states import Rule
from tests import factories
from tests.manage.conftest import Operator, errors
from tests.manage.test_safety import held

WORDS = ("host", "confirm-off", "compute1", "--reason", "its fuse is out", "--by", "alice")


def test_confirm_off(operator: Operator, db: Database) -> None:
    row = held(db, Rule.PROOF)

    said = operator.says(*WORDS, "--again", "compute1")

    assert said == (
        "alice has confirmed that compute1 is off: its fuse is out.\n"
        f"Notification {row.uuid} is recovered on that.\n"
    )
    (listed,) = operator.finds("host", "proofs", "compute1")
    assert (listed["kind"], listed["recovery"], listed["void_at"]) == ("operator", row.uuid, None)


def test_before_there_is_a_recovery(operator: Operator, db: Database) -> None:
    factories.host(db, "compute1")
    factories.look(db, "compute1")
    said = operator.says(*WORDS, "--again", "compute1")
    assert said.endswith("It has no recovery yet; the proof stands for 15 min.\n")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "gives its name twice; add --again compute1."),
        (("--again", "compute11"), "'compute11' is not 'compute1': nothing was confirmed."),
    ],
)
def test_the_name_is_given_twice(
    operator: Operator, db: Database, more: tuple[str, ...], sentence: str
) -> None:
    row = held(db, Rule.PROOF)
    assert sentence in errors(operator.run(*WORDS, *more))
    assert proofs.of_host(db, row.source_host_uuid) == []


def test_a_host_that_is_heard_or_unknown(operator: Operator, db: Database) -> None:
    factories.host(db, "compute1")
    factories.look(db, heard=["compute1"])
    assert "Nova hears compute1" in errors(operator.run(*WORDS, "--again", "compute1"))
    unknown = operator.run("host", "proofs", "compute2")
    assert "No host named 'compute2' is registered in any segment" in errors(unknown)
