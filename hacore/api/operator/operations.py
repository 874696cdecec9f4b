# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/operations, and the return of a host"""

from typing import Any

from hacore.api.call import Call
from hacore.api.context import who
from hacore.api.operator import resources
from hacore.api.operator.schemas import one_line
from hacore.api.uuids import require_uuid
from hacore.db import history, operations
from hacore.db.operations import Wanted
from hacore.errors import HostNotFound, Invalid, OperationNotFound
from hacore.states import OperationStatus, OperationType


def return_host(call: Call, host_id: str) -> dict[str, Any]:
    require_uuid(host_id, HostNotFound)
    if call.body.get("force") and "reason" not in call.body:
        raise Invalid("reason: must be given with force.")
    row = operations.create(
        call.db,
        host_id,
        OperationType.RETURN,
        who(call.caller),
        one_line(call.body["reason"]) if "reason" in call.body else None,
        {"force": call.body.get("force", False)},
        call.caller.global_id,
    )
    call.services.wake()
    return {"operation": resources.operation(row)}


def index(call: Call) -> dict[str, Any]:
    wanted = Wanted(
        statuses=tuple(call.query.words("status", OperationStatus)),
        type=call.query.word("type", OperationType),
        host=call.query.text("host"),
    )
    limit, marker = call.query.limit(call.services.most_rows), call.query.text("marker")
    found = operations.page(call.db, wanted, limit, marker)
    return {"operations": [resources.operation(row) for row in found]}


def detail(call: Call, operation_id: str) -> dict[str, Any]:
    require_uuid(operation_id, OperationNotFound)
    found = operations.read(call.db, operation_id)
    return {
        "operation": {
            **resources.operation(found.operation),
            "request_id": found.operation.request_id,
            "steps": [resources.step(run) for run in history.step_runs(found.entries)],
            "history": [resources.OPERATION_EVENT.serialize(each) for each in found.entries],
        }
    }
