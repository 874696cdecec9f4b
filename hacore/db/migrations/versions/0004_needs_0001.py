# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Heartbeats, what is held, mass-failure limits, pauses; an expansion of 0001."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004_needs_0001"
down_revision = "0003_needs_0001"
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
    with op.batch_alter_table("notifications") as table:
        table.add_column(sa.Column("held_rule", sa.String(length=36), nullable=True))
        table.add_column(sa.Column("held_since", TIME, nullable=True))
        table.add_column(sa.Column("held_s", sa.Double(), server_default="0", nullable=False))
        table.add_column(sa.Column("approvals", sa.JSON(), nullable=True))
        table.add_column(sa.Column("passed_at", TIME, nullable=True))
    with op.batch_alter_table("recovery_events") as table:
        table.add_column(sa.Column("gate", sa.String(length=36), nullable=True))
        table.add_column(sa.Column("answer", sa.String(length=36), nullable=True))
        table.add_column(sa.Column("facts", sa.JSON(), nullable=True))
    _create(
        "host_states",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("zone", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=36), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("beat", sa.String(length=64), nullable=True),
        unique="name",
    )
    _create(
        "watch",
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("looked_at", TIME, nullable=True),
        sa.Column("interval_s", sa.Double(), nullable=True),
        sa.Column("look_s", sa.Double(), nullable=True),
        sa.Column("illness", sa.String(length=255), nullable=True),
        sa.Column("ill_since", TIME, nullable=True),
    )
    _create(
        "pauses",
        sa.Column("scope", sa.String(length=36), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("until", TIME, nullable=True),
        unique="scope",
    )
    _create(
        "limit_domains",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("below_since", TIME, nullable=True),
        sa.Column("locks", sa.Integer(), server_default="0", nullable=False),
        unique="name",
    )


def _create(name: str, *columns: sa.Column[Any], unique: str | None = None) -> None:
    constraints: list[sa.Constraint] = [sa.PrimaryKeyConstraint("id", name=f"pk_{name}")]
    if unique is not None:
        constraints.append(sa.UniqueConstraint(unique, name=f"uq_{name}_{unique}"))
    op.create_table(
        name,
        *columns,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        *constraints,
        **TABLE,
    )
