"""What the publish check of a revision found, and when a version gave its first answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; a version of before may have answered, so nobody may replace it."""
    op.add_column("service_revisions", sa.Column("publish_check", sa.Text))
    op.add_column("service_versions", sa.Column("answered_at", sa.Text))
    op.execute("UPDATE service_versions SET answered_at = created_at")
