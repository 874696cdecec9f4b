# Licensed under the Apache License, Version 2.0; see LICENSE.
"""/operator/v1/hosts"""

from typing import Any

from hacore.api.call import Call
from hacore.api.context import who
from hacore.api.operator import resources
from hacore.api.operator.schemas import one_line
from hacore.api.uuids import require_uuid
from hacore.db import proofs
from hacore.errors import HostNotFound, Invalid
from hacore.states import PowerAction, ProofKind


def list_proofs(call: Call, host_id: str) -> dict[str, Any]:
    require_uuid(host_id, HostNotFound)
    found = proofs.of_host(call.db, host_id)
    return {"proofs": [resources.PROOF.serialize(each) for each in found]}


def add_proof(call: Call, host_id: str) -> dict[str, Any]:
    require_uuid(host_id, HostNotFound)
    body = call.body
    reason, by = one_line(body["reason"]), who(call.caller)
    if body["kind"] == ProofKind.OPERATOR:
        if "action" in body:
            raise Invalid("action: is for what Pacemaker has done; leave it out.")
        made = proofs.confirm_off(call.db, host_id, body["host"], by, reason)
    else:
        if "action" not in body:
            raise Invalid("action: must be given: what Pacemaker has done, off or reboot.")
        action = PowerAction(body["action"])
        made = proofs.of_pacemaker(call.db, host_id, body["host"], action, by, reason)
    call.services.wake()
    return {"proof": resources.PROOF.serialize(made)}
