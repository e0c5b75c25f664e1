"""Code that runs once in each worker, and what calls see of each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both to revisions; those of before are as by default, and in R apart."""
    op.add_column("service_revisions", sa.Column("setup_code", sa.Text))
    op.add_column(
        "service_revisions",
        sa.Column("isolation", sa.Text, nullable=False, server_default="worker"),
    )
    op.execute("UPDATE service_revisions SET isolation = 'call' WHERE runtime_type = 'R'")
