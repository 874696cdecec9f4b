# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What Nova knows, as values."""

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """The heartbeat of a service of Nova, as the list of services shows it.

    :ivar zone: availability zone; empty where its cell does not answer.
    :ivar updated_at: when it, or whoever changed it, last wrote to Nova; compared with nothing
        but itself.
    :ivar written: what others write: where that changes, `updated_at` moves, too.
    :ivar known: its cell answers.
    """

    binary: str
    host: str
    zone: str = ""
    updated_at: str | None = None
    up: bool = False
    forced_down: bool = False
    written: tuple[object, ...] = ()
    known: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """A nova-compute service.

    :ivar beat: its ``updated_at`` as Nova shows it: a heartbeat, or somebody's PUT.
    """

    id: str
    host: str
    up: bool
    enabled: bool
    forced_down: bool
    disabled_reason: str | None
    beat: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkAgent:
    """An agent of Neutron; `alive`: Neutron hears it."""

    type: str
    alive: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A server, with what a recovery needs to know of it."""

    uuid: str
    name: str
    host: str | None
    vm_state: str
    task_state: str | None
    power_state: int
    locked: bool
    lock_reason: str | None
    metadata: dict[str, str]
    fault: str | None


#: Statuses of an evacuation that has ended; completed: the source host has come back since.
EVACUATED = frozenset({"done", "completed"})
NOT_EVACUATED = frozenset({"failed", "error", "cancelled"})


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """Nova's record of an evacuation or another migration; ids of one instance ascend in time.

    :ivar type: ``evacuation``, ``live-migration``, ``migration`` or ``resize``.
    :ivar changed_at: when Nova wrote it last, by Nova's clock; not to be compared with another's.
    """

    id: int
    instance_uuid: str
    type: str
    status: str
    source_host: str
    dest_host: str | None
    changed_at: datetime.datetime


#: Names of the actions after which the guest runs in a new process (nova:
#: compute/instance_actions.py).
RESTARTS = frozenset(
    {
        "evacuate",
        "migrate",
        "reboot",
        "rebuild",
        "resize",
        "restore",
        "resume",
        "revertResize",
        "start",
        "unrescue",
        "unshelve",
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """What somebody asked Nova to do with an instance, or Nova did by itself.

    :ivar failed: Nova says that something of it went wrong.
    :ivar age_s: it began at most so many seconds before it was read, by Nova's clock.
    """

    name: str
    failed: bool
    age_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Aggregate:
    """A host aggregate."""

    id: int
    name: str
    hosts: tuple[str, ...]
