# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Schemas of the bodies that operators send."""

from hacore.api.schemas import SENTENCE, object_schema
from hacore.errors import Invalid
from hacore.resources import Schema
from hacore.states import PowerAction, ProofKind, Rule

_LONGEST_REASON: int = SENTENCE["maxLength"]
_YEAR_S = 366 * 86400

#: The reason may be left out, and then the body is ``{}``.
RETRY: Schema = {
    "type": "object",
    "properties": {"reason": SENTENCE},
    "additionalProperties": False,
}
ABANDON = object_schema({"reason": SENTENCE}, ("reason",))
APPROVE = object_schema(
    {
        "rule": {
            "type": "string",
            "enum": [str(rule) for rule in Rule],
            "description": "The rule that was shown; if another one holds it, this is a 409.",
        },
        "reason": SENTENCE,
        "facts": object_schema(
            {
                "missing": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 1_000_000,
                    "description": "How many hosts were shown as missing; if there are more now, "
                    "this is a 409.",
                }
            },
            ("missing",),
        ),
    },
    ("rule", "reason"),
)
PROOF = object_schema(
    {
        "kind": {
            "type": "string",
            "enum": [str(ProofKind.OPERATOR), str(ProofKind.PACEMAKER)],
            "description": "Whose word it is: yours, or what Pacemaker's alert agent was given.",
        },
        "host": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "description": "The name of the host once more; if it has another one, this is a 400.",
        },
        "action": {
            "type": "string",
            "enum": [str(action) for action in PowerAction],
            "description": "Of ``pacemaker``: what it has done.",
        },
        "reason": SENTENCE,
    },
    ("kind", "host", "reason"),
)
#: All of it may be left out, and then the body is ``{}``.
RETURN: Schema = {
    "type": "object",
    "properties": {
        "reason": SENTENCE,
        "force": {
            "type": "boolean",
            "description": "Go on though a fencing device, which was ordered to switch the host "
            "off, cannot be read; needs a reason. Stored with the name of who asks.",
        },
    },
    "additionalProperties": False,
}
PAUSE = object_schema(
    {
        "scope": {
            "type": "string",
            "minLength": 1,
            "maxLength": 36,
            "description": "``all``, or the uuid of a segment.",
        },
        "reason": SENTENCE,
        "seconds": {
            "type": "integer",
            "minimum": 1,
            "maximum": _YEAR_S,
            "description": "Seconds until it ends by itself; without them somebody has to end it.",
        },
    },
    ("scope", "reason"),
)


def one_line(reason: str) -> str:
    """Return a reason as it is stored.

    Raises Invalid for what no schema has looked at: a parameter of a query.
    """
    printable = all(char.isprintable() or char.isspace() for char in reason)
    line = " ".join(reason.split())
    if not line or not printable or len(line) > _LONGEST_REASON:
        raise Invalid(
            f"reason: must have 1 to {_LONGEST_REASON} printable characters, and not only blanks."
        )
    return line
