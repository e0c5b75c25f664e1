"""Contents found by the digest of their manifest, and what they do not hold as a column."""

from __future__ import annotations

import contextlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both."""
    op.add_column("contents", sa.Column("skipped", sa.Text, nullable=False, server_default="[]"))
    op.create_index("ix_contents_manifest_digest", "contents", ["manifest_digest"])
    contents = sa.table("contents", sa.column("id"), sa.column("manifest"), sa.column("skipped"))
    connection = op.get_bind()
    for content_id in connection.scalars(sa.select(contents.c.id)).all():
        is_it = contents.c.id == content_id
        manifest = connection.execute(sa.select(contents.c.manifest).where(is_it)).scalar_one()
        skipped = []
        # One that is damaged says so where it is used.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            objects = json.loads(manifest)["workspace"]["objects"]
            skipped = [each for each in objects if not each.get("kept", True)]
        if skipped:
            change = contents.update().where(is_it)
            connection.execute(change.values(skipped=json.dumps(skipped)))
