# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Orders to fencing devices, and what they have shown; an expansion of 0001."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006_needs_0001"
down_revision = "0005_needs_0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TABLE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade() -> None:
    with op.batch_alter_table("proofs") as table:
        table.add_column(sa.Column("details", sa.JSON(), nullable=True))
    op.create_table(
        "fencing_orders",
        sa.Column("host_uuid", sa.String(length=36), nullable=False),
        sa.Column("notification_uuid", sa.String(length=36), nullable=False),
        sa.Column("device", sa.String(length=255), nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(length=36), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_fencing_orders"),
        **TABLE,
    )
    op.create_index(
        "ix_fencing_orders_host_uuid_closed_at", "fencing_orders", ["host_uuid", "closed_at"]
    )
