"""Versions whose calls have effects, so that none runs twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it to revisions; those of before have none."""
    op.add_column(
        "service_revisions",
        sa.Column("effects", sa.Boolean, nullable=False, server_default=sa.false()),
    )
