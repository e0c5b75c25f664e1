"""Users, tokens, snapshots and services."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    _identity()
    _snapshots()
    _services()


def _identity() -> None:
    op.create_table(
        "users",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("family_id", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("refresh_digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
        sa.Column("family_expires_at", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    )
    op.create_index("ix_tokens_family_id", "tokens", ["family_id"])
    op.create_index("ix_tokens_user_name", "tokens", ["user_name"])
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])


def _snapshots() -> None:
    op.create_table(
        "contents",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_contents"),
    )
    op.create_table(
        "content_blobs",
        sa.Column("content_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("content_id", "digest", name="pk_content_blobs"),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["contents.id"],
            name="fk_content_blobs_content_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_content_blobs_digest", "content_blobs", ["digest"])
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("runtime_type", sa.Text, nullable=False),
        sa.Column("content_id", sa.Text, nullable=False),
        sa.Column("content_size", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name="fk_snapshots_content_id"),
    )
    op.create_index("ix_snapshots_owner", "snapshots", ["owner"])
    op.create_index("ix_snapshots_content_id", "snapshots", ["content_id"])


def _services() -> None:
    op.create_table(
        "services",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_services"),
    )
    op.create_table(
        "service_versions",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("revision_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_service_versions"),
        sa.ForeignKeyConstraint(["name"], ["services.name"], name="fk_service_versions_name"),
    )
    op.create_index("ix_service_versions_seq", "service_versions", ["seq"])
    op.create_table(
        "service_revisions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("runtime_type", sa.Text, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("init_code", sa.Text),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("operation_id", sa.Text),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("output_files", sa.Text, nullable=False),
        sa.Column("snapshot_id", sa.Text),
        sa.Column("content_id", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_service_revisions"),
        sa.UniqueConstraint(
            "name", "version", "number", name="uq_service_revisions_name_version_number"
        ),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["service_versions.name", "service_versions.version"],
            name="fk_service_revisions_name_version",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name="fk_service_revisions_content_id"
        ),
    )
    op.create_index("ix_service_revisions_content_id", "service_revisions", ["content_id"])
