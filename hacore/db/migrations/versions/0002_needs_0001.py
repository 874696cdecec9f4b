# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Columns for the check of the lease when a call to Nova is sent; an expansion of 0001."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002_needs_0001"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    with op.batch_alter_table("vmoves") as table:
        table.add_column(sa.Column("called_at", TIME, nullable=True))
    for name in ("hosts", "notifications"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("locks", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("services") as table:
        table.add_column(sa.Column("boot_id", sa.String(length=36), nullable=True))
        table.add_column(sa.Column("pid_namespace", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("pid_started", sa.BigInteger(), nullable=True))
