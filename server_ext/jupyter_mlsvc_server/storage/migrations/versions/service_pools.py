"""Dedicated pools of service versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "service_pools",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("initial_size", sa.Integer, nullable=False),
        sa.Column("max_size", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_service_pools"),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["service_versions.name", "service_versions.version"],
            name="fk_service_pools_name_version",
            ondelete="CASCADE",
        ),
    )
