# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What probes of fencing devices have shown; an expansion of 0001."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008_needs_0001"
down_revision = "0007_needs_0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
TABLE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade() -> None:
    op.create_table(
        "fencing_devices",
        *_names(),
        sa.Column("level", sa.Integer(), nullable=True),
        sa.Column("agent", sa.String(length=255), nullable=True),
        sa.Column("probed_at", TIME, nullable=True),
        sa.Column("verdict", sa.String(length=36), nullable=True),
        sa.Column("since", TIME, nullable=True),
        sa.Column("sentence", TEXT, nullable=True),
        sa.Column("can_off", sa.String(length=36), nullable=True),
        sa.Column("identity", sa.String(length=255), nullable=True),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("accepted_by", sa.String(length=255), nullable=True),
        sa.Column("refuted_at", TIME, nullable=True),
        sa.Column("denials", sa.Integer(), nullable=False),
        sa.Column("file_mark", sa.String(length=64), nullable=True),
        sa.Column("removed_at", TIME, nullable=True),
        sa.Column("busy_by", sa.String(length=255), nullable=True),
        sa.Column("busy_until", TIME, nullable=True),
        *_row("fencing_devices"),
        sa.UniqueConstraint("host", "device", name="uq_fencing_devices_host_device"),
        **TABLE,
    )
    op.create_table(
        "fencing_device_events",
        *_names(),
        sa.Column("verdict", sa.String(length=36), nullable=True),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("by", sa.String(length=255), nullable=True),
        sa.Column("identity_before", sa.String(length=255), nullable=True),
        sa.Column("identity", sa.String(length=255), nullable=True),
        *_row("fencing_device_events"),
        **TABLE,
    )
    op.create_index("ix_fencing_device_events_host_id", "fencing_device_events", ["host", "id"])


def _names() -> tuple[Any, ...]:
    return (
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("device", sa.String(length=255), nullable=False),
    )


def _row(name: str) -> tuple[Any, ...]:
    """Return what every table has."""
    return (
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
    )
