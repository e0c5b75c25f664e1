"""Groups of accounts, and those that names of services belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to each table."""
    groups = sa.Column("group_names", sa.Text, nullable=False, server_default="[]")
    op.add_column("accounts", groups)
    op.add_column("services", sa.Column("group_name", sa.Text, nullable=False, server_default=""))
