"""What versions did over an hour, a day and a week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "call_intervals",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("seconds", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("recorder", sa.Text, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.Column("latency", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["service_versions.name", "service_versions.version"],
            name="fk_call_intervals_name_version_service_versions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "name", "version", "seconds", "start", "recorder", name="pk_call_intervals"
        ),
    )
    op.create_index("ix_call_intervals_start", "call_intervals", ["start"])
