"""Users of the operating system that the code of accounts runs as."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "user_ids",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("uid", sa.BigInteger, nullable=False, unique=True),
    )
