# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Which fence agents this machine has, what each of them takes, and which prove nothing."""

import dataclasses
import enum
import os
import pathlib
import re
from collections.abc import Collection
from xml.etree import ElementTree

from hacore.errors import HacoreError
from hacore.fencing.programs import CannotRun, Command, Programs

#: Where packages put agents, and only root may write.
FOLDERS = ("/usr/sbin", "/usr/bin")

#: Their "off" says nothing about power: a person's word, a switch port, a storage reservation, a
#: dump, Nova's own opinion.
PROVE_NOTHING = frozenset(
    f"fence_{name}"
    for name in (
        *("ack_manual", "brocade", "cisco_mds", "compute", "crosslink", "dummy", "evacuate"),
        *("heuristics_ping", "ifmib", "kdump", "mpath", "sanbox2", "sbd", "scsi"),
    )
)

_NAME = re.compile(r"fence_[a-z0-9_]+")
_METADATA_S = 20.0


class Family(enum.Enum):
    """Agents that speak one protocol: what they need, and how their device shows who it is."""

    REDFISH = "redfish"
    IPMI = "ipmi"
    OTHER = "other"


_FAMILIES = {
    "fence_redfish": Family.REDFISH,
    **dict.fromkeys(
        ("fence_idrac", "fence_ilo3", "fence_ilo4", "fence_ilo5", "fence_imm"), Family.IPMI
    ),
    **dict.fromkeys(("fence_ipmilan", "fence_ipmilanplus"), Family.IPMI),
}


class Unusable(HacoreError):
    """An agent that is not installed, or that proves nothing; the sentence has no full stop."""


@dataclasses.dataclass(frozen=True)
class Agent:
    """An installed agent.

    :ivar options: what it takes; it would ignore anything else without an error.
    :ivar replaced: from an old name of an option to the name of today.
    """

    name: str
    program: str
    options: frozenset[str]
    replaced: dict[str, str]

    @property
    def family(self) -> Family:
        return _FAMILIES.get(self.name, Family.OTHER)


def find(name: str, programs: Programs, folders: Collection[str] = FOLDERS) -> Agent:
    """Return the agent of this name.

    Raises Unusable where it is not in `folders`, or is, or links to, one that proves nothing.
    """
    if not _NAME.fullmatch(name):
        raise Unusable(
            f"{name!r} is not the name of an agent, such as fence_redfish; agents are looked for "
            f"in {' and '.join(folders)} only"
        )
    program = _program(name, folders)
    _check_name(name, {name, pathlib.Path(program).resolve().name})
    return _described(name, program, programs)


def _program(name: str, folders: Collection[str]) -> str:
    allowed = {pathlib.Path(folder).resolve() for folder in folders}
    for folder in folders:
        path = pathlib.Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            if path.resolve().parent not in allowed:
                raise Unusable(
                    f"{path} is a link to {path.resolve()}, outside {' and '.join(folders)}; "
                    f"install the agent itself there"
                )
            return str(path)  # not what it links to: agents look at the name they are called by
    raise Unusable(
        f"the agent {name} is not in {' or '.join(folders)}; install the package of the fence "
        f"agents on every controller"
    )


def _check_name(name: str, names: set[str]) -> None:
    refused = sorted(names & PROVE_NOTHING)
    if refused:
        known_as = "" if refused[0] == name else f" is {refused[0]}, which"
        raise Unusable(
            f"{name}{known_as} proves nothing about the power of a host; use an agent that "
            f"switches the host's power, such as fence_redfish or fence_ipmilan"
        )


def _described(name: str, program: str, programs: Programs) -> Agent:
    command = Command(program, given="action=metadata\n")
    try:
        ended = programs.run(command, _METADATA_S)
        root = ElementTree.fromstring(ended.out)  # noqa: S314 - of a program that root installed
    except (CannotRun, ElementTree.ParseError) as exc:
        raise Unusable(
            f"{name} does not describe itself: {exc}; run {program} -o metadata to see why"
        ) from exc
    _check_name(name, {root.get("name", "")})
    missing = {"off", "status"} - {action.get("name") for action in root.iter("action")}
    if missing:
        raise Unusable(
            f"{name} has no action {' and no action '.join(sorted(missing))}, so it proves "
            f"nothing; use another agent"
        )
    parameters = list(root.iter("parameter"))
    return Agent(
        name,
        program,
        frozenset(parameter.get("name", "") for parameter in parameters),
        {
            parameter.get("obsoletes", ""): parameter.get("name", "")
            for parameter in parameters
            if parameter.get("obsoletes")
        },
    )
