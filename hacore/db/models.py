# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The tables.

Times are UTC; columns hold them without a zone and attributes with one.
``deleted`` is 0, or the row's own id once it is soft-deleted: with it in the
unique keys, a name is free again.
"""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from hacore.states import (
    OPERATION_TRANSITIONS,
    TRANSITIONS,
    MoveStatus,
    NotificationStatus,
    OperationStatus,
)

_NAIVE = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


class UtcDateTime(sa.types.TypeDecorator[datetime.datetime]):
    """An aware time in UTC, stored naive with microseconds."""

    impl = _NAIVE
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime.datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime.datetime | None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None) if value else None

    def process_result_value(
        self,
        value: datetime.datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime.datetime | None:
        return value.replace(tzinfo=datetime.UTC) if value else None


class Base(orm.DeclarativeBase):
    """Names of constraints and indexes are given, so that migrations can name them."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        datetime.datetime: UtcDateTime,
        str: sa.String(255),
        dict[str, Any]: sa.JSON,
    }
    __table_args__: Any = {  # noqa: RUF012 - SQLAlchemy's own form
        "mysql_engine": "InnoDB",
        "mysql_charset": "utf8mb4",
        # names differ in case, on every database
        "mysql_collate": "utf8mb4_bin",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime.datetime]
    updated_at: Mapped[datetime.datetime | None]


def _with(*arguments: Any) -> tuple[Any, ...]:
    return (*arguments, Base.__table_args__)


class Segment(Base):
    """A set of hosts that stand in for each other."""

    __tablename__ = "segments"
    __table_args__ = _with(sa.UniqueConstraint("name", "deleted"))

    uuid: Mapped[str] = mapped_column(sa.String(36), unique=True)
    name: Mapped[str]
    description: Mapped[str | None] = mapped_column(_TEXT)
    recovery_method: Mapped[str] = mapped_column(sa.String(36))
    service_type: Mapped[str]
    enabled: Mapped[bool] = mapped_column(default=True)
    deleted_at: Mapped[datetime.datetime | None]
    deleted: Mapped[int] = mapped_column(default=0)


class Host(Base):
    """A compute service of Nova that monitors watch."""

    __tablename__ = "hosts"
    __table_args__ = _with(
        sa.UniqueConstraint("name", "deleted"), sa.Index(None, "segment_uuid", "deleted")
    )

    uuid: Mapped[str] = mapped_column(sa.String(36), unique=True)
    name: Mapped[str]
    type: Mapped[str]
    control_attributes: Mapped[str] = mapped_column(_TEXT)
    reserved: Mapped[bool] = mapped_column(default=False)
    on_maintenance: Mapped[bool] = mapped_column(default=False)
    #: The notification whose recovery set on_maintenance; None: a person did.
    maintenance_by: Mapped[str | None] = mapped_column(sa.String(36))
    #: The notification whose recovery took this reserved host.
    taken_by: Mapped[str | None] = mapped_column(sa.String(36))
    #: What was done to the reserved host for that, to be undone where it was not used: the
    #: disabled_reason that its compute service had before it was enabled (None: it was enabled
    #: already), and the ids of the aggregates that it was added to.
    enabled_from: Mapped[str | None]
    joined_aggregates: Mapped[list[int] | None] = mapped_column(sa.JSON(none_as_null=True))
    #: The notification, or operation, that disabled the compute service of this host, when, and
    #: with which reason; None: hacore has not, or has enabled it again.
    disabled_by: Mapped[str | None] = mapped_column(sa.String(36))
    disabled_at: Mapped[datetime.datetime | None]
    disabled_reason: Mapped[str | None]
    #: It was a reserved host when the recovery began that set on_maintenance.
    was_reserved: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    segment_uuid: Mapped[str] = mapped_column(sa.ForeignKey("segments.uuid"))
    deleted_at: Mapped[datetime.datetime | None]
    deleted: Mapped[int] = mapped_column(default=0)
    #: Counts the transactions that decided under a lock on this row: Galera certifies
    #: what is written, and a lock of one node holds up no other node.
    locks: Mapped[int] = mapped_column(default=0, server_default="0")

    segment: Mapped[Segment] = orm.relationship(lazy="raise")


class Notification(Base):
    """An accepted notification; together, the queue of the engines."""

    __tablename__ = "notifications"
    __table_args__ = _with(
        sa.Index(None, "status", "lease_until"),
        # the walk of hacore.db.claims: by id within status and type, and the time without the row
        sa.Index(None, "status", "type", "id", "retry_at"),
        sa.Index(None, "source_host_uuid", "status"),
        sa.Index(None, "segment_uuid", "status"),
        sa.Index(None, "subject", "status"),
        sa.Index(None, "created_at", "id"),
    )

    uuid: Mapped[str] = mapped_column(sa.String(36), unique=True)
    type: Mapped[str] = mapped_column(sa.String(36))
    status: Mapped[str] = mapped_column(sa.String(36), default=NotificationStatus.NEW)
    #: As the monitor wrote it: kept and shown, and decides nothing.
    generated_time: Mapped[datetime.datetime]
    payload: Mapped[dict[str, Any]]
    source_host_uuid: Mapped[str] = mapped_column(sa.ForeignKey("hosts.uuid"))
    segment_uuid: Mapped[str] = mapped_column(sa.ForeignKey("segments.uuid"))
    message: Mapped[str | None] = mapped_column(_TEXT)
    request_id: Mapped[str | None]
    #: What is under recovery; one live claim per subject.
    subject: Mapped[str] = mapped_column(sa.String(64))
    #: The engine that holds the claim, and until when; see hacore.db.claims.
    owner: Mapped[str | None]
    lease_until: Mapped[datetime.datetime | None]
    #: Counts claims (the fencing number).  The column keeps the name that engines of an older
    #: version use: two columns would be two numbers, and two engines could both be right.
    claim_number: Mapped[int] = mapped_column("attempt", default=0)
    #: How many attempts have ended in error.
    failed_attempts: Mapped[int] = mapped_column("failures", default=0)
    retry_at: Mapped[datetime.datetime | None]
    #: The claim of the last attempt that ended in error; what later claims did still holds.
    failed_claim: Mapped[int] = mapped_column("failed_attempt", default=0)
    #: What this recovery did to the host, written before it is done: it may have to be undone.
    disabled_service: Mapped[bool] = mapped_column(default=False)
    set_maintenance: Mapped[bool] = mapped_column(default=False)
    took_reserved: Mapped[bool] = mapped_column(default=False)
    #: An engine has begun a recovery: it goes on to its end, also in a segment that was
    #: disabled in the meantime.
    begun: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    #: As of Host.
    locks: Mapped[int] = mapped_column(default=0, server_default="0")
    #: The rule that holds this recovery, and since when; None: none does.
    held_rule: Mapped[str | None] = mapped_column(sa.String(36))
    held_since: Mapped[datetime.datetime | None]
    #: Seconds that earlier holds lasted: they do not count for its age.
    held_s: Mapped[float] = mapped_column(default=0.0, server_default="0")
    #: What has been approved, by rule; see hacore.db.holds.Approval.
    approvals: Mapped[dict[str, Any] | None]
    #: When the mass-failure limits let its evacuations begin; None: they have not.
    passed_at: Mapped[datetime.datetime | None]

    host: Mapped[Host] = orm.relationship(lazy="raise")
    segment: Mapped[Segment] = orm.relationship(lazy="raise")

    @orm.validates("status")
    def _follows(self, _key: str, status: str) -> str:
        """Refuse what hacore.states does not let follow."""
        if self.status is not None and status not in TRANSITIONS[NotificationStatus(self.status)]:
            raise ValueError(f"A notification that is {self.status} cannot become {status}.")
        return status


class Move(Base):
    """One instance of a host recovery."""

    __tablename__ = "vmoves"
    __table_args__ = _with(
        sa.UniqueConstraint("notification_uuid", "instance_uuid"),
        sa.Index(None, "instance_uuid", "status"),
    )

    uuid: Mapped[str] = mapped_column(sa.String(36), unique=True)
    notification_uuid: Mapped[str] = mapped_column(sa.ForeignKey("notifications.uuid"))
    instance_uuid: Mapped[str] = mapped_column(sa.String(36))
    instance_name: Mapped[str]
    source_host: Mapped[str]
    dest_host: Mapped[str | None]
    start_time: Mapped[datetime.datetime | None]
    end_time: Mapped[datetime.datetime | None]
    type: Mapped[str | None] = mapped_column(sa.String(36))
    status: Mapped[str] = mapped_column(sa.String(36), default=MoveStatus.PENDING)
    message: Mapped[str | None] = mapped_column(_TEXT)
    #: Place in the order of evacuation, 0 first.
    position: Mapped[int]
    #: As Nova had it before the first attempt; every attempt restores this.
    vm_state: Mapped[str] = mapped_column(sa.String(36))
    power_state: Mapped[int]
    #: The lock on the instance is ours to take off (written before it is put on).
    locked: Mapped[bool] = mapped_column(default=False)
    #: The newest evacuation record of Nova for it that is not this recovery's.
    migration_before: Mapped[int] = mapped_column(default=0)
    #: hacore has reset the state of the instance to ``error`` (written before it is done), and
    #: neither evacuated it since nor set it back.
    state_reset: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    #: The operator who confirmed that the instance runs nowhere, though it may have been migrated.
    gone_confirmed_by: Mapped[str | None]
    #: When the last call that changes the instance began, written before it was sent: whatever
    #: became of its caller, Nova may carry it out a while later (hacore.nova.LATE_S).  None in an
    #: ongoing move: that was the lock, or a stop, and it began at ``updated_at``.
    called_at: Mapped[datetime.datetime | None]


class HistoryEntry(Base):
    """One line of a recovery's history; only ever added."""

    __tablename__ = "recovery_events"
    __table_args__ = _with(sa.Index(None, "notification_uuid", "id"))

    notification_uuid: Mapped[str] = mapped_column(sa.ForeignKey("notifications.uuid"))
    claim_number: Mapped[int] = mapped_column("attempt")
    #: Name of the step; None for what concerns the notification as a whole.
    step: Mapped[str | None]
    state: Mapped[str | None] = mapped_column(sa.String(36))
    progress: Mapped[float | None]
    message: Mapped[str | None] = mapped_column(_TEXT)
    #: A gate that was asked: its name, its answer, and the facts that it saw.
    gate: Mapped[str | None] = mapped_column(sa.String(36))
    answer: Mapped[str | None] = mapped_column(sa.String(36))
    facts: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))


class Operation(Base):
    """What an operator has asked hacore to do with a host; engines claim it as a notification."""

    __tablename__ = "operations"
    __table_args__ = _with(sa.Index(None, "status", "id"), sa.Index(None, "host_uuid", "status"))

    uuid: Mapped[str] = mapped_column(sa.String(36), unique=True)
    type: Mapped[str] = mapped_column(sa.String(36))
    status: Mapped[str] = mapped_column(sa.String(36), default=OperationStatus.NEW)
    host_uuid: Mapped[str] = mapped_column(sa.ForeignKey("hosts.uuid"))
    by: Mapped[str]
    reason: Mapped[str | None] = mapped_column(_TEXT)
    options: Mapped[dict[str, Any]]
    #: When it is given up.
    deadline: Mapped[datetime.datetime]
    #: What it has done to its host, written before it is done: undone where it fails.
    did: Mapped[dict[str, Any]]
    message: Mapped[str | None] = mapped_column(_TEXT)
    request_id: Mapped[str | None]
    #: As of Notification.
    owner: Mapped[str | None]
    lease_until: Mapped[datetime.datetime | None]
    claim_number: Mapped[int] = mapped_column(default=0)
    #: When a waiting one is looked at again.
    retry_at: Mapped[datetime.datetime | None]
    locks: Mapped[int] = mapped_column(default=0)

    host: Mapped[Host] = orm.relationship(lazy="raise")

    @orm.validates("status")
    def _follows(self, _key: str, status: str) -> str:
        """Refuse what hacore.states does not let follow."""
        before = self.status
        if before is not None and status not in OPERATION_TRANSITIONS[OperationStatus(before)]:
            raise ValueError(f"An operation that is {before} cannot become {status}.")
        return status


class OperationEntry(Base):
    """One line of an operation's history; only ever added."""

    __tablename__ = "operation_events"
    __table_args__ = _with(sa.Index(None, "operation_uuid", "id"))

    operation_uuid: Mapped[str] = mapped_column(sa.ForeignKey("operations.uuid"))
    claim_number: Mapped[int]
    #: As of HistoryEntry.
    step: Mapped[str | None]
    state: Mapped[str | None] = mapped_column(sa.String(36))
    progress: Mapped[float | None]
    message: Mapped[str | None] = mapped_column(_TEXT)


class HostState(Base):
    """Whether Nova hears a host, as the engine that watches last wrote it; see hacore.db.watch."""

    __tablename__ = "host_states"

    name: Mapped[str] = mapped_column(unique=True)
    zone: Mapped[str]
    state: Mapped[str] = mapped_column(sa.String(36))
    since: Mapped[datetime.datetime]
    #: `updated_at` of its nova-compute, as Nova shows it.
    beat: Mapped[str | None] = mapped_column(sa.String(64))


class Watch(Base):
    """The one row of who looks at Nova's heartbeats for all, and what that shows of Nova."""

    __tablename__ = "watch"

    owner: Mapped[str | None]
    lease_until: Mapped[datetime.datetime | None]
    #: When the list was last read.
    looked_at: Mapped[datetime.datetime | None]
    #: Nova's report interval in seconds; None: not learned yet.
    interval_s: Mapped[float | None]
    #: Seconds between two looks.
    look_s: Mapped[float | None]
    #: What ails Nova, and since when; None: nothing.
    illness: Mapped[str | None]
    ill_since: Mapped[datetime.datetime | None]


class Pause(Base):
    """No recovery of a host or an instance begins, in a segment or anywhere."""

    __tablename__ = "pauses"

    #: Uuid of the segment; ``all``.
    scope: Mapped[str] = mapped_column(sa.String(36), unique=True)
    by: Mapped[str]
    reason: Mapped[str] = mapped_column(_TEXT)
    until: Mapped[datetime.datetime | None]


class Domain(Base):
    """What the mass-failure limits count in: the cloud, an availability zone, a segment."""

    __tablename__ = "limit_domains"

    #: ``cloud``, ``zone NAME`` or ``segment UUID``.
    name: Mapped[str] = mapped_column(sa.String(300), unique=True)
    #: From when it has been at or below its limit; None: above it.
    below_since: Mapped[datetime.datetime | None]
    locks: Mapped[int] = mapped_column(default=0, server_default="0")


class Proof(Base):
    """Somebody's word that a host is off, from ``created_at`` on; see `hacore.db.proofs`.

    Only what voids it, and the heartbeat, are written later.
    """

    __tablename__ = "proofs"
    __table_args__ = _with(sa.Index(None, "host_uuid", "void_at"))

    uuid: Mapped[str] = mapped_column(sa.String(36), unique=True)
    host_uuid: Mapped[str] = mapped_column(sa.String(36))
    #: The recovery that it was made for; None: it was made before there was one.
    notification_uuid: Mapped[str | None] = mapped_column(sa.String(36))
    kind: Mapped[str] = mapped_column(sa.String(36))
    #: Of Pacemaker's: off or reboot.
    action: Mapped[str | None] = mapped_column(sa.String(36))
    by: Mapped[str | None]
    reason: Mapped[str | None] = mapped_column(_TEXT)
    #: `updated_at` of its nova-compute, as Nova shows it while the host is off; None: no engine
    #: has looked since.
    beat: Mapped[str | None] = mapped_column(sa.String(64))
    void_at: Mapped[datetime.datetime | None]
    void_reason: Mapped[str | None] = mapped_column(_TEXT)
    #: Of fencing devices: what each of them has shown, and when.
    details: Mapped[list[dict[str, Any]] | None] = mapped_column(sa.JSON(none_as_null=True))


class FencingOrder(Base):
    """An order to a fencing device; see `hacore.db.orders`.  ``closed_at`` None: outstanding."""

    __tablename__ = "fencing_orders"
    __table_args__ = _with(sa.Index(None, "host_uuid", "closed_at"))

    host_uuid: Mapped[str] = mapped_column(sa.String(36))
    notification_uuid: Mapped[str] = mapped_column(sa.String(36))
    #: The name of its class in the file of devices.
    device: Mapped[str]
    closed_at: Mapped[datetime.datetime | None]
    outcome: Mapped[str | None] = mapped_column(sa.String(36))


class FencingDevice(Base):
    """A fencing device of a host, and what its last probe has shown; see hacore.db.devices."""

    __tablename__ = "fencing_devices"
    __table_args__ = _with(sa.UniqueConstraint("host", "device"))

    #: Names: of the host at Nova, and of its class in the file of devices.
    host: Mapped[str]
    device: Mapped[str]
    level: Mapped[int | None]
    agent: Mapped[str | None]
    #: None: not probed yet.
    probed_at: Mapped[datetime.datetime | None]
    verdict: Mapped[str | None] = mapped_column(sa.String(36))
    #: Since when its verdict is this one.
    since: Mapped[datetime.datetime | None]
    sentence: Mapped[str | None] = mapped_column(_TEXT)
    can_off: Mapped[str | None] = mapped_column(sa.String(36))
    #: What its box has shown first, or what a person has accepted since; None: nothing.
    identity: Mapped[str | None]
    #: The file names it.
    verified: Mapped[bool] = mapped_column(default=False)
    #: Who has accepted it; None: it was learned.
    accepted_by: Mapped[str | None]
    #: When it said off while Nova heard the host: it is another host's.  None: it did not.
    refuted_at: Mapped[datetime.datetime | None]
    #: Times in a row that it has refused the login, with a file of this mark.
    denials: Mapped[int] = mapped_column(default=0)
    file_mark: Mapped[str | None] = mapped_column(sa.String(64))
    #: It is not in the file any more, or its host is not registered.
    removed_at: Mapped[datetime.datetime | None]
    #: Who talks to it now, and how long at most.
    busy_by: Mapped[str | None] = mapped_column(sa.String(255))
    busy_until: Mapped[datetime.datetime | None]


class FencingDeviceEntry(Base):
    """One line of a fencing device's history, for a change; only ever added."""

    __tablename__ = "fencing_device_events"
    __table_args__ = _with(sa.Index(None, "host", "id"))

    host: Mapped[str]
    device: Mapped[str]
    verdict: Mapped[str | None] = mapped_column(sa.String(36))
    message: Mapped[str] = mapped_column(_TEXT)
    #: Where another identity was accepted: who has, and which was known before.
    by: Mapped[str | None]
    identity_before: Mapped[str | None]
    identity: Mapped[str | None]


class Service(Base):
    """A process of hacore that runs, or ended without saying so; see hacore.db.services.

    ``created_at``: when it started; ``updated_at``: when it was last seen.
    """

    __tablename__ = "services"

    #: Unlike any other's, also after a restart; an engine's is the owner of its claims.
    name: Mapped[str] = mapped_column(unique=True)
    binary: Mapped[str] = mapped_column(sa.String(36))
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str] = mapped_column(sa.String(36))
    #: It is dead if it is not seen again until then.
    alive_until: Mapped[datetime.datetime]
    #: Which process it is, for others on the same machine: a pid alone is used again.  None
    #: where the system does not say.
    boot_id: Mapped[str | None] = mapped_column(sa.String(36))
    pid_namespace: Mapped[str | None] = mapped_column(sa.String(64))
    #: In clock ticks since boot.
    pid_started: Mapped[int | None] = mapped_column(sa.BigInteger())
