"""How many calls of a revision a worker runs at a time, and how long each may take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both to revisions; those of before run one call at a time, for as long as any other."""
    for column in (
        sa.Column("concurrency", sa.Integer, nullable=False, server_default="1"),
        sa.Column("deadline_seconds", sa.Float, nullable=False, server_default="0"),
    ):
        op.add_column("service_revisions", column)
