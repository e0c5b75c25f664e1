"""Digests of manifests, and the installation that a database belongs to."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; the manifests of before are taken as they are."""
    op.create_table("installations", sa.Column("id", sa.Text, primary_key=True))
    op.add_column(
        "contents", sa.Column("manifest_digest", sa.Text, nullable=False, server_default="")
    )
    contents = sa.table(
        "contents", sa.column("id"), sa.column("manifest"), sa.column("manifest_digest")
    )
    connection = op.get_bind()
    for content_id, manifest in connection.execute(
        sa.select(contents.c.id, contents.c.manifest)
    ).all():
        digest = hashlib.sha256(manifest.encode()).hexdigest()
        change = contents.update().where(contents.c.id == content_id)
        connection.execute(change.values(manifest_digest=digest))
