"""Keys of applications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "service_keys",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("maker_id", sa.Text),
        sa.Column("services", sa.Text),
        sa.Column("expires_at", sa.Text),
        sa.PrimaryKeyConstraint("account_id", name="pk_service_keys"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_service_keys_account_id"),
    )
    op.create_index("ix_service_keys_maker_id", "service_keys", ["maker_id"])
