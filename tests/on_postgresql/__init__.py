"""``pytest --database=postgresql``: the data folders of tests have their database on PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

import pytest

from jupyter_mlsvc_server.storage import database
from tests.on_postgresql.sitecustomize import SERVER, use_schemas
from tests.postgresql import postgresql

DATABASE: Final = "--database"
OF_SQLITE: Final = frozenset(
    {
        "test_backup.py", "test_database.py", "test_data.py", "test_held_database.py",
        "test_stored.py", "test_upgrade.py",
        "test_a_change_on_a_full_disk_is_made_in_the_room_that_is_given_up",
        "test_a_database_takes_room_before_it_needs_it",
        "test_a_database_that_is_lost_is_refused_until_the_folder_is_adopted",
        "test_a_sqlite_database_is_copied_whole_into_an_empty_one_only",
        "test_the_database_of_another_folder_is_refused",
    }
)  # fmt: skip
"""Files of tests, and tests, that are about ``mlsvc.db``: its rights, locks, damage and copies."""


def is_of_sqlite(item: pytest.Item) -> bool:
    """Whether a test is about SQLite."""
    return bool(OF_SQLITE & {item.path.name, getattr(item, "originalname", "")})


def use_postgresql(config: pytest.Config) -> None:
    """Run a PostgreSQL server until the end, and have all processes use it."""
    if SERVER not in os.environ:  # a worker of the run has it already
        running = contextlib.ExitStack()
        config.add_cleanup(running.close)
        folder = running.enter_context(tempfile.TemporaryDirectory(prefix="mlsvc-pg-log-"))
        os.environ[SERVER] = running.enter_context(postgresql(Path(folder)))
        running.callback(os.environ.pop, SERVER)
        path = (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    use_schemas(database)
