# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Proofs that a host is off; an expansion of 0001."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005_needs_0001"
down_revision = "0004_needs_0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "proofs",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("host_uuid", sa.String(length=36), nullable=False),
        sa.Column("notification_uuid", sa.String(length=36), nullable=True),
        sa.Column("kind", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=36), nullable=True),
        sa.Column("by", sa.String(length=255), nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("beat", sa.String(length=64), nullable=True),
        sa.Column("void_at", TIME, nullable=True),
        sa.Column("void_reason", TEXT, nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_proofs"),
        sa.UniqueConstraint("uuid", name="uq_proofs_uuid"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_proofs_host_uuid_void_at", "proofs", ["host_uuid", "void_at"])
