"""Digests in place of the ids of tokens, of which a token could be made with the signing key."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace what is there; tokens that were handed out stay good."""
    tokens = sa.table("tokens", sa.column("id"), sa.column("family_id"))
    connection = op.get_bind()
    for token_id, family_id in connection.execute(sa.select(tokens.c.id, tokens.c.family_id)).all():
        change = tokens.update().where(tokens.c.id == token_id)
        connection.execute(change.values(id=_digest(token_id), family_id=_digest(family_id)))


def _digest(token_id: str) -> str:
    return hashlib.sha256(token_id.encode()).hexdigest()
