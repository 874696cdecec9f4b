# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What hacore has done to hosts and instances, kept with them; an expansion of 0001."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003_needs_0001"
down_revision = "0002_needs_0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
FALSE = sa.false()


def upgrade() -> None:
    with op.batch_alter_table("hosts") as table:
        table.add_column(sa.Column("disabled_by", sa.String(length=36), nullable=True))
        table.add_column(sa.Column("disabled_at", TIME, nullable=True))
        table.add_column(sa.Column("disabled_reason", sa.String(length=255), nullable=True))
        table.add_column(sa.Column("enabled_from", sa.String(length=255), nullable=True))
        table.add_column(sa.Column("joined_aggregates", sa.JSON(), nullable=True))
    with op.batch_alter_table("notifications") as table:
        table.add_column(sa.Column("begun", sa.Boolean(), server_default=FALSE, nullable=False))
    with op.batch_alter_table("vmoves") as table:
        table.add_column(
            sa.Column("state_reset", sa.Boolean(), server_default=FALSE, nullable=False)
        )
        table.add_column(sa.Column("gone_confirmed_by", sa.String(length=255), nullable=True))
    with op.batch_alter_table("notifications") as table:
        table.create_index(
            "ix_notifications_status_type_id_retry_at", ["status", "type", "id", "retry_at"]
        )
    _fill()


def _fill() -> None:
    """Write what the rows of before say."""
    connection = op.get_bind()
    notifications = sa.table(
        "notifications",
        *map(sa.column, ("id", "uuid", "type", "status", "attempt", "source_host_uuid")),
        sa.column("payload", sa.JSON),
        sa.column("disabled_service", sa.Boolean),
        sa.column("updated_at", TIME),
        sa.column("begun", sa.Boolean),
    )
    hosts = sa.table(
        "hosts",
        *map(sa.column, ("uuid", "deleted", "maintenance_by", "disabled_by")),
        sa.column("on_maintenance", sa.Boolean),
        sa.column("disabled_at", TIME),
    )
    connection.execute(
        notifications.update().where(notifications.c.attempt > 0).values(begun=sa.true())
    )
    disabled = connection.execute(
        sa.select(notifications, hosts.c.uuid.label("host_uuid"))
        .join(hosts, hosts.c.uuid == notifications.c.source_host_uuid)
        .where(hosts.c.deleted == 0)
        .where(
            sa.or_(
                sa.and_(
                    notifications.c.type == "COMPUTE_HOST",
                    notifications.c.disabled_service.is_(sa.true()),
                ),
                sa.and_(
                    notifications.c.type == "PROCESS",
                    notifications.c.status == "finished",
                    hosts.c.on_maintenance.is_(sa.true()),
                    hosts.c.maintenance_by == notifications.c.uuid,
                ),
            )
        )
        .order_by(notifications.c.id)
    ).all()
    # a report of any other process set maintenance too, and disabled nothing
    last = {
        row.host_uuid: row
        for row in disabled
        if row.type == "COMPUTE_HOST" or row.payload.get("process_name") == "nova-compute"
    }
    for host_uuid, row in last.items():
        connection.execute(
            hosts.update()
            .where(hosts.c.uuid == host_uuid)
            .values(disabled_by=row.uuid, disabled_at=row.updated_at)
        )
