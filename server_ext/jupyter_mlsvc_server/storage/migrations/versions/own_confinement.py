"""Versions that ask for more confinement than the server's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it to revisions; those of before have that of the server."""
    for name, default in (("network", sa.true()), ("read_only", sa.false())):
        op.add_column(
            "service_revisions",
            sa.Column(name, sa.Boolean, nullable=False, server_default=default),
        )
