"""The tables; one schema for SQLite and PostgreSQL.

Time stamps are texts of :mod:`.clock`, ids are UUIDs in text, and an owner is the id of an account.
The row of an account stays when it is removed, so that its id never comes back and what it owned
keeps a name. Changes need a migration; a test compares the two.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# One row: the data folder has the same id (see ``storage.installation``).
installations: Final = sa.Table(
    "installations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
)

# The name is a label. Within a kind, ``subject`` is what an account is found by: of a local
# one that is the name in lower case. A removed one has none.
accounts: Final = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("removed_at", sa.Text),
    # Names of groups, as JSON: those with a colon are of who knows the person.
    sa.Column("group_names", sa.Text, nullable=False, server_default="[]"),
    sa.UniqueConstraint("kind", "subject"),
)

# No foreign key, and nothing is ever deleted: a user that somebody had is nobody else's afterwards.
user_ids: Final = sa.Table(
    "user_ids",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("uid", sa.BigInteger, nullable=False, unique=True),
)

# An application's key: its account is of the kind ``key``, with the secret's digest as its subject.
# ``services`` and ``origins`` are JSON; one that needs a right ends where its maker has it no more.
service_keys: Final = sa.Table(
    "service_keys",
    metadata,
    sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("maker_id", sa.Text, index=True),
    sa.Column("services", sa.Text),
    sa.Column("expires_at", sa.Text),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("rate", sa.Text, nullable=False, server_default=""),
    sa.Column("origins", sa.Text, nullable=False, server_default="[]"),
    sa.Column("needs_right", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("calls", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("last_used_at", sa.Text),
)

# The newest one signs access tokens.
signing_keys: Final = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

# One row a pair of tokens: its id is the SHA-256 of the access token's ``jti``, which is the first
# half of the refresh token. Of the second half, too, only the digest is kept.
tokens: Final = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("family_id", sa.Text, nullable=False, index=True),
    sa.Column("account_id", sa.Text, nullable=False, index=True),
    sa.Column("refresh_digest", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False, index=True),
    sa.Column("family_expires_at", sa.Text, nullable=False),
    sa.Column("revoked_at", sa.Text),
)

# What a snapshot holds, apart from the snapshot: a service keeps it when the snapshot is deleted.
# Servers that share the database renew ``created_at`` of what they look at.
contents: Final = sa.Table(
    "contents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("manifest_digest", sa.Text, nullable=False, server_default="", index=True),
    # What the manifest says of objects that it does not hold: all that a list shows of it.
    sa.Column("skipped", sa.Text, nullable=False, server_default="[]"),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

content_blobs: Final = sa.Table(
    "content_blobs",
    metadata,
    sa.Column(
        "content_id", sa.Text, sa.ForeignKey("contents.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("digest", sa.Text, primary_key=True, index=True),
)

snapshots: Final = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text, nullable=False, index=True),
    sa.Column("runtime_type", sa.Text, nullable=False),
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), nullable=False, index=True),
    sa.Column("content_size", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)

services: Final = sa.Table(
    "services",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text, nullable=False),
    # Its members may change all versions, as their publishers may.
    sa.Column("group_name", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", sa.Text, nullable=False),
)

service_versions: Final = sa.Table(
    "service_versions",
    metadata,
    sa.Column("name", sa.Text, sa.ForeignKey("services.name"), primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    # No foreign key: a version and its first revision point at each other.
    sa.Column("revision_id", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False, index=True),
    sa.Column("answered_at", sa.Text),
)

# Members of ``ServiceSpec`` by their names, but for the id; its tuples are JSON.
service_revisions: Final = sa.Table(
    "service_revisions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
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
    sa.Column("content_id", sa.Text, sa.ForeignKey("contents.id"), index=True),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("setup_code", sa.Text),
    sa.Column("publish_check", sa.Text),
    sa.Column("isolation", sa.Text, nullable=False, server_default="worker"),
    sa.Column("effects", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("tags", sa.Text, nullable=False, server_default="[]"),
    sa.Column("examples", sa.Text, nullable=False, server_default="[]"),
    sa.Column("network", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("read_only", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("keep_bodies", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("concurrency", sa.Integer, nullable=False, server_default="1"),
    sa.Column("deadline_seconds", sa.Float, nullable=False, server_default="0"),
    sa.ForeignKeyConstraint(
        ["name", "version"],
        ["service_versions.name", "service_versions.version"],
        ondelete="CASCADE",
    ),
    sa.UniqueConstraint("name", "version", "number"),
)

service_pools: Final = sa.Table(
    "service_pools",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("initial_size", sa.Integer, nullable=False),
    sa.Column("max_size", sa.Integer, nullable=False),
    sa.ForeignKeyConstraint(
        ["name", "version"],
        ["service_versions.name", "service_versions.version"],
        ondelete="CASCADE",
    ),
)

# What a version did in some seconds from ``start`` on, in seconds since 1970. Each run of a server
# has rows of its own, to be added up. ``latency`` is a histogram, as JSON.
call_intervals: Final = sa.Table(
    "call_intervals",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("seconds", sa.Integer, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True, index=True),
    sa.Column("recorder", sa.Text, primary_key=True),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("rejected", sa.BigInteger, nullable=False),
    sa.Column("latency", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(
        ["name", "version"],
        ["service_versions.name", "service_versions.version"],
        ondelete="CASCADE",
    ),
)

# No foreign key: the results of a batch stay when its service is deleted.
batches: Final = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text, nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("parallel_count", sa.Integer, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("completed", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("finished_at", sa.Text, index=True),
)


def owner_of(table: sa.Table) -> sa.FromClause:
    """Join a table with the accounts that own its rows."""
    return table.outerjoin(accounts, accounts.c.id == table.c.owner_id)


def owner_name(table: sa.Table) -> sa.ColumnElement[str]:
    """Name the owner of a row of :func:`owner_of`; without an account that is its id."""
    return sa.func.coalesce(accounts.c.name, table.c.owner_id).label("owner_name")
