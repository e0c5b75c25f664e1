"""Accounts with ids, which own things in place of names."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_OWNED = ("snapshots", "services", "service_versions", "batches")
_INDEXED = ("snapshots", "batches")


def upgrade() -> None:
    """Make an account of each user, and of each other name that owns something."""
    accounts = op.create_table(
        "accounts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("removed_at", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("kind", "subject", name="uq_accounts_kind_subject"),
    )
    op.create_index("ix_accounts_name", "accounts", ["name"])
    connection = op.get_bind()
    users = [_of_user(row) for row in connection.execute(sa.text("SELECT * FROM users")).mappings()]
    names = {row["name"] for row in users}
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    # Who sat at a Jupyter server had no row among users, but owned what they made.
    rows = users + [_of_jupyter(name, now) for name in sorted(_owners() - names)]
    for row in rows:
        connection.execute(accounts.insert().values(row))
    for table in _OWNED:
        _rename(table, "owner", "owner_id", has_index=table in _INDEXED)
        _put_ids(table, "owner_id", rows)
    # Tokens of users who are gone are of no account.
    op.execute("DELETE FROM tokens WHERE user_name NOT IN (SELECT name FROM users)")
    _rename("tokens", "user_name", "account_id", has_index=True)
    _put_ids("tokens", "account_id", users)
    op.drop_table("users")


def _of_user(row: sa.RowMapping) -> dict[str, object]:
    values = {"id": str(uuid.uuid4()), "kind": "local", "subject": row["name"].lower()}
    return values | dict(row) | {"disabled": bool(row["disabled"])}


def _of_jupyter(name: str, now: str) -> dict[str, object]:
    values = {"id": str(uuid.uuid4()), "kind": "jupyter", "subject": name, "name": name}
    return values | {
        "role": "owner",
        "password_hash": None,
        "created_at": now,
        "disabled": False,
    }


def _owners() -> set[str]:
    columns = [sa.table(name, sa.column("owner")).c.owner for name in _OWNED]
    connection = op.get_bind()
    return {name for column in columns for name in connection.scalars(sa.select(column).distinct())}


def _rename(table: str, old: str, new: str, *, has_index: bool) -> None:
    if has_index:
        op.drop_index(f"ix_{table}_{old}", table)
    op.alter_column(table, old, new_column_name=new)
    if has_index:
        op.create_index(f"ix_{table}_{new}", table, [new])


def _put_ids(table: str, column: str, rows: list[dict[str, object]]) -> None:
    """Put ids in place of names; no id is a name."""
    column_of = sa.table(table, sa.column(column))
    change = (
        column_of.update()
        .where(column_of.c[column] == sa.bindparam("of"))
        .values({column: sa.bindparam("put")})
    )
    if rows:
        op.get_bind().execute(change, [{"of": row["name"], "put": row["id"]} for row in rows])
