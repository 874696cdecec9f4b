# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-manage host return, and operation list and show."""

import concurrent.futures
import getpass
import threading

from hacore.db import operation_claims
from hacore.db.engine import Database
from hacore.states import OperationStatus
from tests import factories
from tests.db import services_of
from tests.manage.conftest import Operator


def test_a_host_is_returned_and_the_operation_shown(operator: Operator, db: Database) -> None:
    factories.host(db)
    said = operator.says("host", "return", "compute1", "--reason", "memory replaced")
    (row,) = operator.finds("operation", "list")
    assert said == (
        f"Operation {row['uuid']} is due now; an engine with free capacity claims it within 5 s.\n"
    )
    assert (row["type"], row["host"], row["status"]) == ("return", "compute1", "new")
    assert row["by"] == getpass.getuser()
    shown = operator.finds("operation", "show", row["uuid"])
    assert shown["operation"]["reason"] == "memory replaced"
    assert shown["operation"]["options"] == {"force": False}
    (line,) = shown["history"]
    assert line["message"] == f"Requested by {row['by']}: memory replaced."


def test_what_is_refused(operator: Operator, db: Database) -> None:
    host = factories.host(db)
    row = factories.notification(db, host)
    assert operator.is_told("host", "return", "compute1") == (
        "A recovery of host compute1 is due; wait for its end, or abandon recovery "
        f"{row.uuid} first."
    )
    assert operator.is_told("host", "return", "compute9").startswith(
        "No host named 'compute9' is registered in any segment"
    )
    assert operator.is_told("host", "return", "compute1", "--force") == "--force needs --reason."
    services_of.engine(db, "0.1.9")
    assert "do not know operations" in operator.is_told("host", "return", "compute1")


def test_watched_until_it_has_ended(operator: Operator, db: Database) -> None:
    factories.host(db)

    def engine() -> str:
        while (claim := operation_claims.claim(db, "engine1", 60)) is None:
            threading.Event().wait(0.1)
        operation_claims.finish(db, claim, OperationStatus.FAILED, "Nova does not hear compute1.")
        return claim.uuid

    with concurrent.futures.ThreadPoolExecutor() as pool:
        working = pool.submit(engine)
        ended = operator.run("host", "return", "compute1", "--watch")
        uuid = working.result(timeout=60)
    assert ended.status == 1
    assert [line[9:] for line in ended.output.splitlines()[1:]] == [
        f"Requested by {getpass.getuser()}.",
        "Claimed by engine1 (claim 1).",
        "failed: Nova does not hear compute1.",
    ]
    assert operator.finds("operation", "list", "--status", "failed")[0]["uuid"] == uuid
    assert operator.finds("operation", "list", "--status", "new") == []
