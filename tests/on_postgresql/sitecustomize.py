"""Gives each data folder of a test a schema on PostgreSQL, in place of its file ``mlsvc.db``.

``pytest --database=postgresql`` has this folder on the path of all processes that tests start, so
that Python runs it in each: servers and commands need no option for it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import wrapt

SERVER = "MLSVC_TEST_POSTGRESQL"
"""Variable with the URL of a database in which schemas are made."""


def use_schemas(module: Any) -> None:
    """Change ``Database`` of a module, so that what is by default a file is a schema."""
    asked = module.Database.parsed_url.fget

    def parsed_url(self: Any) -> Any:
        url = asked(self)
        file = self.data_dir / "mlsvc.db"
        return _url_of(self.data_dir) if url.database == str(file) else url

    module.Database.parsed_url = property(parsed_url)


def _url_of(data_dir: Path) -> Any:
    """Make the schema of a data folder, where it is not there yet; returns its URL."""
    import psycopg
    import sqlalchemy as sa

    server = sa.make_url(os.environ[SERVER])
    name = "of_" + hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]
    with psycopg.connect(host=str(server.query["host"]), user="mlsvc", dbname="postgres") as made:
        made.execute("SET client_min_messages = warning")
        made.execute("SELECT pg_advisory_xact_lock(1)")
        made.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    return server.update_query_dict({"options": f"-csearch_path={name}"})


if SERVER in os.environ:
    wrapt.when_imported("jupyter_mlsvc_server.storage.database")(use_schemas)
