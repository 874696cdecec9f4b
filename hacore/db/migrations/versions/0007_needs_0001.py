# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Operations of hosts; an expansion of 0001."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007_needs_0001"
down_revision = "0006_needs_0001"
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
    # no batch: SQLite would make the table again, which its foreign keys do not let happen
    op.add_column(
        "hosts", sa.Column("was_reserved", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_table(
        "operations",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=36), nullable=False),
        sa.Column("host_uuid", sa.String(length=36), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("deadline", TIME, nullable=False),
        sa.Column("did", sa.JSON(), nullable=False),
        sa.Column("message", TEXT, nullable=True),
        sa.Column("request_id", sa.String(length=255), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("claim_number", sa.Integer(), nullable=False),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("locks", sa.Integer(), nullable=False),
        *_row("operations"),
        sa.UniqueConstraint("uuid", name="uq_operations_uuid"),
        sa.ForeignKeyConstraint(["host_uuid"], ["hosts.uuid"], name="fk_operations_host_uuid"),
        **TABLE,
    )
    op.create_index("ix_operations_status_id", "operations", ["status", "id"])
    op.create_index("ix_operations_host_uuid_status", "operations", ["host_uuid", "status"])
    op.create_table(
        "operation_events",
        sa.Column("operation_uuid", sa.String(length=36), nullable=False),
        sa.Column("claim_number", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=36), nullable=True),
        sa.Column("progress", sa.Double(), nullable=True),
        sa.Column("message", TEXT, nullable=True),
        *_row("operation_events"),
        sa.ForeignKeyConstraint(
            ["operation_uuid"], ["operations.uuid"], name="fk_operation_events_operation_uuid"
        ),
        **TABLE,
    )
    op.create_index(
        "ix_operation_events_operation_uuid_id", "operation_events", ["operation_uuid", "id"]
    )
    _fill()


def _row(name: str) -> tuple[Any, ...]:
    """Return what every table has."""
    return (
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
    )


def _fill() -> None:
    """Write on the hosts which of them were reserved."""
    notifications = sa.table(
        "notifications", sa.column("uuid"), sa.column("took_reserved", sa.Boolean)
    )
    hosts = sa.table(
        "hosts",
        *map(sa.column, ("maintenance_by", "deleted")),
        *(sa.column(name, sa.Boolean) for name in ("on_maintenance", "reserved", "was_reserved")),
    )
    took = sa.select(notifications.c.uuid).where(notifications.c.took_reserved.is_(sa.true()))
    op.get_bind().execute(
        hosts.update()
        .where(
            hosts.c.deleted == 0,
            hosts.c.on_maintenance.is_(sa.true()),
            hosts.c.reserved.is_(sa.false()),
            hosts.c.maintenance_by.in_(took),
        )
        .values(was_reserved=sa.true())
    )
