# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Statuses and types, and which status may follow which.

The values are those that clients of instance-ha v1 know (Masakari's).  Pure: no
database, no clock.
"""

import enum


class NotificationStatus(enum.StrEnum):
    """The status of a notification; see `TRANSITIONS`."""

    NEW = "new"
    RUNNING = "running"
    FINISHED = "finished"
    IGNORED = "ignored"
    ERROR = "error"  #: a task failed; the recovery is retried
    FAILED = "failed"  #: not retried any more


#: From a status to those that may follow it, and when.
TRANSITIONS: dict[NotificationStatus, frozenset[NotificationStatus]] = {
    # claimed; or expired before any engine claimed it
    NotificationStatus.NEW: frozenset({NotificationStatus.RUNNING, NotificationStatus.FAILED}),
    # itself: the lease expired and another engine took over
    NotificationStatus.RUNNING: frozenset(
        {
            NotificationStatus.RUNNING,
            NotificationStatus.FINISHED,
            NotificationStatus.IGNORED,
            NotificationStatus.ERROR,
            NotificationStatus.FAILED,
        }
    ),
    # retried; or no attempts are left, or it has expired
    NotificationStatus.ERROR: frozenset({NotificationStatus.RUNNING, NotificationStatus.FAILED}),
    NotificationStatus.FINISHED: frozenset(),
    NotificationStatus.IGNORED: frozenset(),
    # an operator retries it (hacore-manage recovery retry)
    NotificationStatus.FAILED: frozenset({NotificationStatus.ERROR}),
}

#: An engine works on it or will.
LIVE = frozenset({NotificationStatus.NEW, NotificationStatus.RUNNING, NotificationStatus.ERROR})
ENDED = frozenset(NotificationStatus) - LIVE


class OperationType(enum.StrEnum):
    """What an operator has asked hacore to do with a host."""

    RETURN = "return"  #: bring it back into service


class OperationStatus(enum.StrEnum):
    """The status of an operation; see `OPERATION_TRANSITIONS`."""

    NEW = "new"
    RUNNING = "running"
    WAITING = "waiting"  #: no engine works on it until it is time to look again
    PAUSED = "paused"  #: a recovery of its host goes first
    FINISHED = "finished"
    FAILED = "failed"


#: From a status to those that may follow it, and when.
OPERATION_TRANSITIONS: dict[OperationStatus, frozenset[OperationStatus]] = {
    # claimed; paused; its host was recovered from before any engine claimed it
    OperationStatus.NEW: frozenset(
        {OperationStatus.RUNNING, OperationStatus.PAUSED, OperationStatus.FAILED}
    ),
    # all: taken over by another engine, waits, paused by a recovery, ended
    OperationStatus.RUNNING: frozenset(OperationStatus) - {OperationStatus.NEW},
    OperationStatus.WAITING: frozenset(
        {OperationStatus.RUNNING, OperationStatus.PAUSED, OperationStatus.FAILED}
    ),
    # given back by a recovery that was ignored; ended by one that was not; paused by another
    OperationStatus.PAUSED: frozenset(
        {OperationStatus.WAITING, OperationStatus.PAUSED, OperationStatus.FAILED}
    ),
    OperationStatus.FINISHED: frozenset(),
    OperationStatus.FAILED: frozenset(),
}

OPERATION_ENDED = frozenset({OperationStatus.FINISHED, OperationStatus.FAILED})
#: An engine works on it, or will, or a recovery has paused it.
OPERATION_OPEN = frozenset(OperationStatus) - OPERATION_ENDED


class NotificationType(enum.StrEnum):
    """What failed, as a host monitor reported it."""

    VM = "VM"
    PROCESS = "PROCESS"
    COMPUTE_HOST = "COMPUTE_HOST"


class MoveStatus(enum.StrEnum):
    """The status of a move: one instance of a failed host."""

    PENDING = "pending"
    ONGOING = "ongoing"  #: Nova may have been asked to evacuate it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IGNORED = "ignored"  #: skipped; the message gives the reason


class MoveType(enum.StrEnum):
    """How an instance leaves its host.

    Masakari also lists ``migration`` and ``live_migration``; hacore only evacuates.
    """

    EVACUATION = "evacuation"


class RecoveryMethod(enum.StrEnum):
    """How a segment chooses the destination of its instances."""

    AUTO = "auto"
    RESERVED_HOST = "reserved_host"
    AUTO_PRIORITY = "auto_priority"
    RH_PRIORITY = "rh_priority"


class StepState(enum.StrEnum):
    """State of a task, taskflow's values; shown in ``recovery_workflow_details``."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVERTED = "REVERTED"
    REVERT_FAILURE = "REVERT_FAILURE"


class VmState:
    """Values of ``OS-EXT-STS:vm_state`` that a rule of hacore names (nova/compute/vm_states.py)."""

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


class TaskState:
    """Values of ``OS-EXT-STS:task_state`` that a rule names (nova/compute/task_states.py)."""

    MIGRATING = "migrating"  #: a live migration
    POWERING_OFF = "powering-off"
    POWERING_ON = "powering-on"


class PowerState:
    """Values of ``OS-EXT-STS:power_state`` (nova/compute/power_state.py)."""

    RUNNING = 1
    SHUTDOWN = 4


class Rule(enum.StrEnum):
    """Why a recovery is held; see doc/safety.md."""

    MAJORITY = "majority"  #: more than half of the hosts of a segment or zone are missing
    BURST = "burst"  #: more hosts at once than dare to be true
    TOGETHER = "together"  #: hosts that fell silent together, and are on
    NOVA = "nova"  #: Nova itself is ill
    PAUSE = "pause"  #: a person has paused recoveries
    BACKLOG = "backlog"  #: no engine had run, and nothing is known yet
    RESTARTS = "restarts"  #: one instance is restarted again and again
    OWN_HOST = "own-host"  #: the only engine runs on the host itself
    PROOF = "proof"  #: nothing proves that the host is off, or it is heard after all


class Hearing(enum.StrEnum):
    """Whether Nova hears a host; see `hacore.nova.heartbeats`."""

    UNKNOWN = "unknown"  #: not long enough watched, or its cell does not answer
    HEARD = "heard"
    SUSPECT = "suspect"
    SILENT = "silent"


#: Report intervals without a heartbeat after which a host is suspect, and silent.
SUSPECT_AFTER, SILENT_AFTER = 1.6, 3.2


class Gate(enum.StrEnum):
    """What is asked before a recovery goes on; see doc/safety.md."""

    LIVENESS = "liveness"  #: does Nova hear the host?
    PROOF = "proof"  #: is it off?
    POWER = "power"  #: is it off still?
    LIMITS = "limits"  #: is this what it seems?
    PAUSE = "pause"
    RESTARTS = "restarts"


class ProofKind(enum.StrEnum):
    """Whose word it is that a host is off."""

    POWER_OFF = "power_off"  #: the fencing devices of the host
    STEP = "step"  #: an operator's own fencing step, which has provided ``fenced``
    OPERATOR = "operator"  #: a person's
    PACEMAKER = "pacemaker"  #: the cluster's, which has fenced the host


class PowerAction(enum.StrEnum):
    """What Pacemaker has done to a host."""

    OFF = "off"
    REBOOT = "reboot"


class Answer(enum.StrEnum):
    """What a gate answers."""

    GO = "go"
    WAIT = "wait"
    HOLD = "hold"
    STOP = "stop"  #: the recovery ends


class PowerVerdict(enum.StrEnum):
    """What a fencing device answered; see doc/fencing.md."""

    OFF = "off"
    ON = "on"
    DENIED = "denied"  #: it refuses the credentials, or the user may not switch off
    UNREACHABLE = "unreachable"  #: no answer, or a server error
    UNTRUSTED = "untrusted"  #: its certificate cannot be verified
    MISCONFIGURED = "misconfigured"  #: it does not know what it was asked for
    WRONG_BOX = "wrong_box"  #: it shows another identity than that of the host
    UNKNOWN = "unknown"  #: its answer is not understood


#: What a device answers that can be used.
USABLE = frozenset({PowerVerdict.OFF, PowerVerdict.ON})


class CanOff(enum.StrEnum):
    """Whether the user of a fencing device may switch its host off, as far as a read shows."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
