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
