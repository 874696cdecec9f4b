# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade() -> None:
    op.create_table(
        "segments",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("recovery_method", sa.String(length=36), nullable=False),
        sa.Column("service_type", sa.String(length=255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("name", "deleted", name=op.f("uq_segments_name_deleted")),
        sa.UniqueConstraint("uuid", name=op.f("uq_segments_uuid")),
        **MYSQL,
    )
    op.create_table(
        "hosts",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("control_attributes", TEXT, nullable=False),
        sa.Column("reserved", sa.Boolean(), nullable=False),
        sa.Column("on_maintenance", sa.Boolean(), nullable=False),
        sa.Column("maintenance_by", sa.String(length=36), nullable=True),
        sa.Column("taken_by", sa.String(length=36), nullable=True),
        sa.Column("segment_uuid", sa.String(length=36), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["segment_uuid"], ["segments.uuid"], name=op.f("fk_hosts_segment_uuid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
        sa.UniqueConstraint("name", "deleted", name=op.f("uq_hosts_name_deleted")),
        sa.UniqueConstraint("uuid", name=op.f("uq_hosts_uuid")),
        **MYSQL,
    )
    with op.batch_alter_table("hosts", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_hosts_segment_uuid_deleted"), ["segment_uuid", "deleted"], unique=False
        )

    op.create_table(
        "notifications",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=36), nullable=False),
        sa.Column("generated_time", TIME, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("source_host_uuid", sa.String(length=36), nullable=False),
        sa.Column("segment_uuid", sa.String(length=36), nullable=False),
        sa.Column("message", TEXT, nullable=True),
        sa.Column("request_id", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("failed_attempt", sa.Integer(), nullable=False),
        sa.Column("disabled_service", sa.Boolean(), nullable=False),
        sa.Column("set_maintenance", sa.Boolean(), nullable=False),
        sa.Column("took_reserved", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["segment_uuid"], ["segments.uuid"], name=op.f("fk_notifications_segment_uuid")
        ),
        sa.ForeignKeyConstraint(
            ["source_host_uuid"], ["hosts.uuid"], name=op.f("fk_notifications_source_host_uuid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("uuid", name=op.f("uq_notifications_uuid")),
        **MYSQL,
    )
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_notifications_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_notifications_segment_uuid_status"),
            ["segment_uuid", "status"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_notifications_source_host_uuid_status"),
            ["source_host_uuid", "status"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_notifications_status_lease_until"),
            ["status", "lease_until"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_notifications_subject_status"), ["subject", "status"], unique=False
        )

    op.create_table(
        "recovery_events",
        sa.Column("notification_uuid", sa.String(length=36), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=36), nullable=True),
        sa.Column("progress", sa.Double(), nullable=True),
        sa.Column("message", TEXT, nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["notification_uuid"],
            ["notifications.uuid"],
            name=op.f("fk_recovery_events_notification_uuid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_events")),
        **MYSQL,
    )
    with op.batch_alter_table("recovery_events", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_recovery_events_notification_uuid_id"),
            ["notification_uuid", "id"],
            unique=False,
        )

    op.create_table(
        "services",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("binary", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=36), nullable=False),
        sa.Column("alive_until", TIME, nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
        sa.UniqueConstraint("name", name=op.f("uq_services_name")),
        **MYSQL,
    )
    op.create_table(
        "vmoves",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("notification_uuid", sa.String(length=36), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=False),
        sa.Column("instance_name", sa.String(length=255), nullable=False),
        sa.Column("source_host", sa.String(length=255), nullable=False),
        sa.Column("dest_host", sa.String(length=255), nullable=True),
        sa.Column("start_time", TIME, nullable=True),
        sa.Column("end_time", TIME, nullable=True),
        sa.Column("type", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=36), nullable=False),
        sa.Column("message", TEXT, nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("vm_state", sa.String(length=36), nullable=False),
        sa.Column("power_state", sa.Integer(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("migration_before", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["notification_uuid"], ["notifications.uuid"], name=op.f("fk_vmoves_notification_uuid")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vmoves")),
        sa.UniqueConstraint(
            "notification_uuid",
            "instance_uuid",
            name=op.f("uq_vmoves_notification_uuid_instance_uuid"),
        ),
        sa.UniqueConstraint("uuid", name=op.f("uq_vmoves_uuid")),
        **MYSQL,
    )
    with op.batch_alter_table("vmoves", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_vmoves_instance_uuid_status"), ["instance_uuid", "status"], unique=False
        )
