"""What alembic runs around migrations: they happen on the connection that the server gives."""

from __future__ import annotations

from alembic import context

from jupyter_mlsvc_server.storage.schema import metadata

# The transaction is the caller's: all migrations or none.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
