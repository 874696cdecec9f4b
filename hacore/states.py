# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The words for what something is or has come to, and which may follow which.

The values are what clients of instance-ha v1 know (Masakari's).  Pure: no
database, no clock.
"""

import enum


class NotificationStatus(enum.StrEnum):
    """What became of a notification; see `TRANSITIONS`."""

    NEW = "new"
    RUNNING = "running"
    FINISHED = "finished"
    IGNORED = "ignored"
    ERROR = "error"  #: a step failed; an engine tries again later
    FAILED = "failed"  #: given up


#: From a status to those that may follow it, and when.
TRANSITIONS: dict[NotificationStatus, frozenset[NotificationStatus]] = {
    # claimed; or too old before any engine came to it
    NotificationStatus.NEW: frozenset({NotificationStatus.RUNNING, NotificationStatus.FAILED}),
    # itself: the lease ended and the claim was taken over
    NotificationStatus.RUNNING: frozenset(
        {
            NotificationStatus.RUNNING,
            NotificationStatus.FINISHED,
            NotificationStatus.IGNORED,
            NotificationStatus.ERROR,
            NotificationStatus.FAILED,
        }
    ),
    # retried; or the attempts are used up, or it is too old
    NotificationStatus.ERROR: frozenset({NotificationStatus.RUNNING, NotificationStatus.FAILED}),
    NotificationStatus.FINISHED: frozenset(),
    NotificationStatus.IGNORED: frozenset(),
    # an operator wants it tried again (hacore-manage recovery retry)
    NotificationStatus.FAILED: frozenset({NotificationStatus.ERROR}),
}

#: Somebody works on it or will.
LIVE = frozenset({NotificationStatus.NEW, NotificationStatus.RUNNING, NotificationStatus.ERROR})
ENDED = frozenset(NotificationStatus) - LIVE


class NotificationType(enum.StrEnum):
    """What a monitor saw fail."""

    VM = "VM"
    PROCESS = "PROCESS"
    COMPUTE_HOST = "COMPUTE_HOST"


class MoveStatus(enum.StrEnum):
    """What became of one instance of a failed host."""

    PENDING = "pending"
    ONGOING = "ongoing"  #: Nova may have been asked to evacuate it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IGNORED = "ignored"  #: not to be moved; the message says why


class MoveType(enum.StrEnum):
    """How an instance leaves its host.

    Masakari also lists ``migration`` and ``live_migration``; hacore only evacuates.
    """

    EVACUATION = "evacuation"


class RecoveryMethod(enum.StrEnum):
    """How a segment chooses where instances go."""

    AUTO = "auto"
    RESERVED_HOST = "reserved_host"
    AUTO_PRIORITY = "auto_priority"
    RH_PRIORITY = "rh_priority"


class StepState(enum.StrEnum):
    """State of a step, taskflow's words; shown in ``recovery_workflow_details``."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVERTED = "REVERTED"
    REVERT_FAILURE = "REVERT_FAILURE"


class VmState:
    """Values of ``OS-EXT-STS:vm_state`` that a rule of ours names (nova/compute/vm_states.py)."""

    ACTIVE = "active"
    BUILDING = "building"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    RESCUED = "rescued"
    RESIZED = "resized"
    SOFT_DELETED = "soft-delete"
    DELETED = "deleted"
    ERROR = "error"


class PowerState:
    """Values of ``OS-EXT-STS:power_state`` (nova/compute/power_state.py)."""

    RUNNING = 1
    SHUTDOWN = 4
