"""Versions whose newest calls are kept with their bodies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it to revisions; those of before keep none."""
    op.add_column(
        "service_revisions",
        sa.Column("keep_bodies", sa.Boolean, nullable=False, server_default=sa.false()),
    )
