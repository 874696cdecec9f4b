# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The bodies of answers of the operator API, for its OpenAPI document: schemas and examples."""

from typing import Any

from hacore.api.operator.resources import (
    EVENT,
    GATE,
    HELD_EXAMPLE,
    MOVE,
    NUMBER,
    OPERATION,
    OPERATION_EVENT,
    PAUSE,
    PROOF,
    RECOVERY,
    TIME,
    UNHEARD,
)
from hacore.api.response_schemas import FAULT
from hacore.api.schemas import object_schema
from hacore.resources import BOOLEAN, INTEGER, STRING, Schema, one_of, or_null, reference
from hacore.states import Rule, StepState


def _all(properties: dict[str, Schema]) -> Schema:
    return object_schema(properties, tuple(properties))


def _list(name: str) -> Schema:
    return {"type": "array", "items": reference(name)}


_HELD = _all(
    {
        "rule": one_of(Rule),
        "reason": {**STRING, "description": "Why, and when it goes on."},
        "since": TIME,
    }
)
_RECOVERY: dict[str, Schema] = {
    **RECOVERY.properties,
    "owner": {**or_null(STRING), "description": "The engine that has claimed it."},
    "held": {"oneOf": [_HELD, {"type": "null"}]},
}
_STEP = {
    "claim": INTEGER,
    "step": STRING,
    "state": one_of(StepState, None),
    "progress": or_null(NUMBER),
    "began": TIME,
    "last_change": TIME,
}
_CLAIM = _all(
    {
        "number": INTEGER,
        "owner": or_null(STRING),
        "lease_until": {**or_null(TIME), "description": "null: it is released, and due."},
        "live": {**BOOLEAN, "description": "An engine works on it now."},
    }
)
_APPROVAL = _all(
    {
        "rule": one_of(Rule),
        "by": STRING,
        "at": TIME,
        "missing": {
            **or_null(INTEGER),
            "description": "For how many missing hosts at most the approval stands.",
        },
    }
)
_CLEAN_UP = {"type": "array", "items": _all({"what": STRING, "command": STRING})}
_DETAIL: dict[str, Schema] = {
    **_RECOVERY,
    "request_id": or_null(STRING),
    "approvals": {"type": "array", "items": _APPROVAL},
    "claim": {"oneOf": [_CLAIM, {"type": "null"}]},
    "steps": {"type": "array", "items": _all(_STEP)},
    "moves": _list("Move"),
    "history": _list("Event"),
    "to_clean_up": {
        **_CLEAN_UP,
        "type": ["array", "null"],
        "description": "null while an engine works on it.",
    },
}
_MOVE: dict[str, Schema] = {
    **MOVE.properties,
    "seconds": {**or_null(NUMBER), "description": "From its beginning to its end."},
}
_OPERATION: dict[str, Schema] = {
    **OPERATION.properties,
    "owner": {**or_null(STRING), "description": "The engine that has claimed it."},
}
_OPERATION_DETAIL: dict[str, Schema] = {
    **_OPERATION,
    "request_id": or_null(STRING),
    "steps": {"type": "array", "items": _all(_STEP)},
    "history": _list("OperationEvent"),
}
_LIMITS = {
    "max_share": INTEGER,
    "min_hosts": INTEGER,
    "burst_hosts": INTEGER,
    "burst_share": INTEGER,
    "max_restarts": INTEGER,
    "restart_window": INTEGER,
    "held_expire": INTEGER,
}
_HEARTBEATS = {
    "current": {**BOOLEAN, "description": "An engine reads them; else nothing is known."},
    "age_s": {**or_null(NUMBER), "description": "Seconds since they were last read."},
    "interval_s": {**or_null(NUMBER), "description": "Nova's report interval."},
    "illness": {**or_null(STRING), "description": "What ails Nova."},
    "ill_since": or_null(TIME),
    "hosts": {**INTEGER, "description": "How many compute services Nova lists."},
}
_SAFETY = {
    "limits": {**_all(_LIMITS), "description": "As configured for the process that answers."},
    "held": {**_all({str(rule): INTEGER for rule in Rule}), "description": "By rule."},
    "not_enforced": {
        **or_null(STRING),
        "description": "While engines of a version are alive that holds nothing: which ones.",
    },
    "pauses": _list("Pause"),
    "heartbeats": _all(_HEARTBEATS),
    "hosts_not_heard": _list("UnheardHost"),
}

OPERATOR_SCHEMAS: dict[str, Schema] = {
    "Recovery": _all(_RECOVERY),
    "RecoveryAnswer": _all({"recovery": reference("Recovery")}),
    "Recoveries": _all({"recoveries": _list("Recovery")}),
    "Move": _all(_MOVE),
    "Event": _all(EVENT.properties),
    "Events": _all({"events": _list("Event")}),
    "RecoveryDetailAnswer": _all({"recovery": _all(_DETAIL)}),
    "AbandonAnswer": _all({"recovery": reference("Recovery"), "to_clean_up": _CLEAN_UP}),
    "Gate": _all(GATE.properties),
    "Explanation": _all({"recovery": reference("Recovery"), "gates": _list("Gate")}),
    "Operation": _all(_OPERATION),
    "OperationAnswer": _all({"operation": reference("Operation")}),
    "Operations": _all({"operations": _list("Operation")}),
    "OperationEvent": _all(OPERATION_EVENT.properties),
    "OperationDetailAnswer": _all({"operation": _all(_OPERATION_DETAIL)}),
    "Pause": _all(PAUSE.properties),
    "PauseAnswer": _all({"pause": reference("Pause")}),
    "Proof": _all(PROOF.properties),
    "ProofAnswer": _all({"proof": reference("Proof")}),
    "Proofs": _all({"proofs": _list("Proof")}),
    "UnheardHost": _all(UNHEARD.properties),
    "SafetyAnswer": _all({"safety": _all(_SAFETY)}),
    "Fault": FAULT,
}

_EXAMPLE: dict[str, Any] = {**RECOVERY.example(), "owner": None, "held": HELD_EXAMPLE}
_GOES_ON = {
    **_EXAMPLE,
    "updated_at": "2026-01-31T12:10:00.000000Z",
    "retry_at": "2026-01-31T12:10:00.000000Z",
    "held": None,
}
_ABANDONED = {
    **_EXAMPLE,
    "status": "failed",
    "updated_at": "2026-01-31T12:10:00.000000Z",
    "message": "Abandoned by alice: The instances were evacuated by hand.",
    "held": None,
}
_DISABLED = {
    "what": "nova-compute on compute1 was disabled.",
    "command": "openstack compute service set --enable compute1 nova-compute",
}
_OPERATION_EXAMPLE: dict[str, Any] = {**OPERATION.example(), "owner": None}
_REQUESTED = {
    **_OPERATION_EXAMPLE,
    "status": "new",
    "updated_at": None,
    "retry_at": None,
    "message": None,
}
_STEP_EXAMPLE = {
    "claim": 1,
    "step": "disable_compute_service_task",
    "state": "SUCCESS",
    "progress": 1.0,
    "began": "2026-01-31T12:00:01.000000Z",
    "last_change": "2026-01-31T12:00:04.250000Z",
}

#: By the name of the schema.
OPERATOR_EXAMPLES: dict[str, Any] = {
    "Recoveries": {"recoveries": [_EXAMPLE]},
    "RecoveryAnswer": {"recovery": _GOES_ON},
    "RecoveryDetailAnswer": {
        "recovery": {
            **_EXAMPLE,
            "request_id": "req-8d2f1c70-3d1f-4f7e-9d55-0a1b2c3d4e5f",
            "approvals": [],
            "claim": None,
            "steps": [_STEP_EXAMPLE],
            "moves": [{**MOVE.example(), "seconds": 5.1}],
            "history": [EVENT.example()],
            "to_clean_up": [_DISABLED],
        }
    },
    "Events": {"events": [EVENT.example()]},
    "AbandonAnswer": {"recovery": _ABANDONED, "to_clean_up": [_DISABLED]},
    "Explanation": {"recovery": _EXAMPLE, "gates": [GATE.example()]},
    "Operations": {"operations": [_OPERATION_EXAMPLE]},
    "OperationAnswer": {"operation": _REQUESTED},
    "OperationDetailAnswer": {
        "operation": {
            **_OPERATION_EXAMPLE,
            "request_id": "req-8d2f1c70-3d1f-4f7e-9d55-0a1b2c3d4e5f",
            "steps": [{**_STEP_EXAMPLE, "step": "ConfirmHostHeardTask"}],
            "history": [OPERATION_EVENT.example()],
        }
    },
    "PauseAnswer": {"pause": PAUSE.example()},
    "ProofAnswer": {"proof": PROOF.example()},
    "Proofs": {"proofs": [PROOF.example()]},
    "SafetyAnswer": {
        "safety": {
            "limits": {
                "max_share": 50,
                "min_hosts": 3,
                "burst_hosts": 10,
                "burst_share": 5,
                "max_restarts": 5,
                "restart_window": 3600,
                "held_expire": 259200,
            },
            "held": {**{str(rule): 0 for rule in Rule}, "pause": 1},
            "not_enforced": None,
            "pauses": [PAUSE.example()],
            "heartbeats": {
                "current": True,
                "age_s": 1.5,
                "interval_s": 10.0,
                "illness": None,
                "ill_since": None,
                "hosts": 40,
            },
            "hosts_not_heard": [UNHEARD.example()],
        }
    },
}
