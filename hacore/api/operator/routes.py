# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Every URL of the operator API, in the form of hacore.api.routes.

It grows with the features that it shows, and has no microversions: a field or a URL may come,
and none of those that are here goes or changes its sense.
"""

import functools
import itertools

from hacore.api import microversions, parameters
from hacore.api.operator import hosts, operations, recoveries, safety, schemas
from hacore.api.routes import OPERATOR, Route
from hacore.states import (
    NotificationStatus,
    NotificationType,
    OperationStatus,
    OperationType,
    ProofKind,
    Rule,
)

_READER = "rule:operator_reader"
#: Monitors, and the user that hacore itself has at Nova, are of the service project: who may
#: lift a hold, or prove a host off, may have hosts evacuated that are alive.
_APPROVER = "rule:admin_api and not role:service"

_Route = functools.partial(Route, root=OPERATOR)
_SINCE = microversions.OLDEST
_RECOVERY = "/recoveries/{notification_id}"

_RECOVERIES = [
    _Route(
        *("GET", "/recoveries", recoveries.index, "hacore:operator:recoveries:index"),
        "List recoveries, the newest first",
        admits=_READER,
        parameters={
            "status": parameters.words("Only those with this status.", NotificationStatus),
            "host": parameters.text("Only those of the host with this name."),
            "type": parameters.word("Only those of this type.", NotificationType),
            "since": parameters.time("Only those accepted then or later."),
            "held": parameters.boolean("Only those that are held, or not."),
            "marker": parameters.marker(),
            "limit": parameters.limit(),
        },
        answer="Recoveries",
        tagged=True,
    ),
    _Route(
        *("GET", _RECOVERY, recoveries.detail, "hacore:operator:recoveries:detail"),
        "Show everything recorded about one recovery",
        admits=_READER,
        answer="RecoveryDetailAnswer",
        tagged=True,
    ),
    _Route(
        *("GET", f"{_RECOVERY}/events", recoveries.events, "hacore:operator:recoveries:events"),
        "List what is new in the history of one recovery, in order",
        admits=_READER,
        parameters={
            "after": parameters.number("Only entries after the one with this id."),
            "limit": parameters.limit(),
        },
        answer="Events",
    ),
    _Route(
        *("POST", f"{_RECOVERY}/retry", recoveries.retry, "hacore:operator:recoveries:retry"),
        "Retry a recovery that is in error or failed, at once",
        status=202,
        bodies=[(_SINCE, schemas.RETRY)],
        example={"reason": "The storage is back."},
        answer="RecoveryAnswer",
        faults=(409,),
    ),
    _Route(
        *("POST", f"{_RECOVERY}/abandon", recoveries.abandon, "hacore:operator:recoveries:abandon"),
        "Mark a recovery that no engine works on as failed, and list what must be cleaned up",
        bodies=[(_SINCE, schemas.ABANDON)],
        example={"reason": "The instances were evacuated by hand."},
        answer="AbandonAnswer",
        faults=(409,),
    ),
    _Route(
        *("POST", f"{_RECOVERY}/approve", recoveries.approve, "hacore:operator:recoveries:approve"),
        "Let a held recovery go on",
        status=202,
        admits=_APPROVER,
        bodies=[(_SINCE, schemas.APPROVE)],
        example={
            "rule": str(Rule.MAJORITY),
            "reason": "The power of the row has failed; the hosts are off.",
            "facts": {"missing": 6},
        },
        answer="RecoveryAnswer",
        faults=(409,),
    ),
]
_SAFETY = [
    _Route(
        *("GET", "/safety", safety.detail, "hacore:operator:safety:detail"),
        "Show limits, what is held and paused, and whether Nova's heartbeats are read",
        admits=_READER,
        answer="SafetyAnswer",
        tagged=True,
    ),
    _Route(
        *("PUT", "/safety/pause", safety.pause, "hacore:operator:safety:pause"),
        "Pause recoveries, everywhere or in a segment; or change such a pause",
        bodies=[(_SINCE, schemas.PAUSE)],
        example={"scope": "all", "reason": "Switches are replaced.", "seconds": 7200},
        answer="PauseAnswer",
        faults=(404,),
    ),
    _Route(
        *("DELETE", "/safety/pause", safety.resume, "hacore:operator:safety:resume"),
        "End a pause",
        parameters={
            "scope": parameters.required(parameters.text("``all``, or the uuid of a segment.")),
            "reason": parameters.text("Why; for the log."),
        },
        answer="PauseAnswer",
        faults=(404, 409),
    ),
]
_HOSTS = [
    _Route(
        *("GET", "/hosts/{host_id}/proofs", hosts.list_proofs, "hacore:operator:proofs:index"),
        "List the proofs that a host is off, the newest first",
        admits=_READER,
        answer="Proofs",
    ),
    _Route(
        *("POST", "/hosts/{host_id}/proofs", hosts.add_proof, "hacore:operator:proofs:create"),
        "Confirm that a host is off",
        status=201,
        admits=_APPROVER,
        bodies=[(_SINCE, schemas.PROOF)],
        example={
            "kind": str(ProofKind.OPERATOR),
            "host": "compute1",
            "reason": "The fuse of its rack is out.",
        },
        answer="ProofAnswer",
        faults=(409,),
    ),
]
_OPERATIONS = [
    _Route(
        *(
            "POST",
            "/hosts/{host_id}/return",
            operations.return_host,
            "hacore:operator:hosts:return",
        ),
        "Bring a host back into service",
        status=202,
        admits=_APPROVER,
        bodies=[(_SINCE, schemas.RETURN)],
        example={"reason": "The memory was replaced."},
        answer="OperationAnswer",
        faults=(409,),
    ),
    _Route(
        *("GET", "/operations", operations.index, "hacore:operator:operations:index"),
        "List operations of hosts, the newest first",
        admits=_READER,
        parameters={
            "status": parameters.words("Only those with this status.", OperationStatus),
            "host": parameters.text("Only those of the host with this name."),
            "type": parameters.word("Only those of this type.", OperationType),
            "marker": parameters.marker(),
            "limit": parameters.limit(),
        },
        answer="Operations",
    ),
    _Route(
        *("GET", "/operations/{operation_id}", operations.detail),
        "hacore:operator:operations:detail",
        "Show everything recorded about one operation",
        admits=_READER,
        answer="OperationDetailAnswer",
    ),
]
_EXPLAIN = [
    _Route(
        *("GET", "/explain/{notification_id}", recoveries.explain, "hacore:operator:explain"),
        "Show each gate that was asked about a recovery, what it saw and answered, in order",
        admits=_READER,
        answer="Explanation",
    ),
]

#: By their title in the documentation.
OPERATOR_SECTIONS: dict[str, list[Route]] = {
    "Recoveries": _RECOVERIES,
    "Safety": _SAFETY,
    "Hosts": _HOSTS,
    "Operations": _OPERATIONS,
    "Explain": _EXPLAIN,
}

#: Every URL that needs a token.
OPERATOR_ROUTES: list[Route] = list(itertools.chain.from_iterable(OPERATOR_SECTIONS.values()))
