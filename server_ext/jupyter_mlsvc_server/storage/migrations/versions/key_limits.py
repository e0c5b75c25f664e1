"""What service keys may do, and how they are used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLE = "service_keys"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(_TABLE, sa.Column("note", sa.Text, nullable=False, server_default=""))
    op.add_column(_TABLE, sa.Column("rate", sa.Text, nullable=False, server_default=""))
    op.add_column(_TABLE, sa.Column("origins", sa.Text, nullable=False, server_default="[]"))
    op.add_column(
        _TABLE, sa.Column("needs_right", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column(_TABLE, sa.Column("calls", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column(_TABLE, sa.Column("last_used_at", sa.Text))
