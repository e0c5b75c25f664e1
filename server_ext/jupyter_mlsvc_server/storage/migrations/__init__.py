"""The history of the schema, run by alembic at the start of the server."""
