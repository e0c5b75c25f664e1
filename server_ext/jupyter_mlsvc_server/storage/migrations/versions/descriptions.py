"""Tags of services, and calls of them with their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them to revisions; those of before have none."""
    for name in ("tags", "examples"):
        op.add_column(
            "service_revisions", sa.Column(name, sa.Text, nullable=False, server_default="[]")
        )
