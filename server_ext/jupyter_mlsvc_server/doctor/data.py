"""Checks of what is stored: the data folder, the disk, the database and its accounts."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from jupyter_mlsvc_server.auth.store import LOCAL
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.storage import postgresql
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import MIGRATIONS, Database
from jupyter_mlsvc_server.storage.errors import UnusableDatabase
from jupyter_mlsvc_server.storage.installation import Installation
from jupyter_mlsvc_server.storage.object_store import ObjectStore, UnusableObjectStore
from jupyter_mlsvc_server.storage.schema import accounts

_LITTLE_SPACE: Final = 2**30
_TOO_LITTLE_SPACE: Final = 100 * 2**20

_NOT_OTHERS: Final = 0o067
"""What nobody else may do. At level user, a group may enter the folder, and no more."""


def check_data_folder(setup: Setup) -> Iterator[Finding]:
    """Look whether the data folder can be written, and by nobody else."""
    name, folder = "data folder", setup.data_dir
    if not folder.exists():
        parent = _existing(folder)
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding(name, State.INFO, f"{folder} is made by the first start.")
        else:
            yield Finding(
                name,
                State.FAIL,
                f"{folder} can't be made: {parent} is not yours to write.",
                "Name another folder with MLSVC_DATA_DIR, or make this one and give it to the "
                "account of the server.",
            )
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            name,
            State.FAIL,
            f"{folder} can't be written by this account.",
            "Run this as the account of the server, or give it the folder: chown -R ACCOUNT.",
        )
        return
    readable = [path.name for path in (folder, *_secrets(folder)) if _mode(path) & _NOT_OTHERS]
    if readable:
        yield Finding(
            name,
            State.FAIL,
            f"Others may read {', '.join(readable)} in {folder}.",
            f"Run: chmod -R go= {folder}",
        )
    else:
        yield Finding(name, State.OK, f"{folder} can be written, and nobody else can read it.")


def _secrets(folder: Path) -> list[Path]:
    return [path for path in (folder / "secret.key", folder / "mlsvc.db") if path.exists()]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check_disk(setup: Setup) -> Iterator[Finding]:
    """Look how much space and how many files the disk has left."""
    name, place = "disk", _existing(setup.data_dir)
    free = shutil.disk_usage(place).free
    system = os.statvfs(place)
    mend = "Delete snapshots and batches that nobody needs, or give the data folder a larger disk."
    shown = f"{free / 2**30:,.1f} GiB are free"
    if free < _TOO_LITTLE_SPACE:
        yield Finding(name, State.FAIL, f"{shown}: snapshots and batches fail soon.", mend)
    elif free < _LITTLE_SPACE:
        yield Finding(name, State.WARN, f"{shown}, which is little.", mend)
    elif system.f_files and system.f_favail * 100 < system.f_files:
        yield Finding(name, State.WARN, f"{shown}, but nearly no more files.", mend)
    else:
        yield Finding(name, State.OK, f"{shown}.")


def check_database(setup: Setup) -> Iterator[Finding]:
    """Look whether the database answers, has a schema that is known, and knows somebody."""
    name = "database"
    database = Database(data_dir=setup.data_dir, config=setup.config)
    try:
        engine = open_read_only(database)
    except UnusableDatabase as error:
        yield Finding(name, State.FAIL, str(error))
        return
    if engine is None:
        yield Finding(name, State.INFO, f"{database.place} is made by the first start.")
        return
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                postgresql.require_unicode(connection, engine.url)
            yield from _of_schema(connection, name)
            yield from _of_installation(connection, name, database, setup.data_dir)
            yield from _of_accounts(connection)
    except _OtherSchema:
        return
    except UnusableDatabase as error:
        yield Finding(name, State.FAIL, str(error))
    except (SQLAlchemyError, OSError) as error:
        yield Finding(
            name,
            State.FAIL,
            f"The database does not answer: {postgresql.reason(error)}.",
            "Look whether its server runs and Database.url is right; restore a backup where the "
            "file is damaged.",
        )
    finally:
        engine.dispose()


def check_object_store(setup: Setup) -> Iterator[Finding]:
    """Look whether the object store of the blobs answers, where there is one."""
    name, url = "object store", BlobStore(data_dir=setup.data_dir, config=setup.config).url
    if not url:
        yield Finding(name, State.INFO, "None is set: blobs are in the data folder.")
        return
    try:
        objects = ObjectStore.at(url, logging.getLogger(__name__))
        installation = objects.installation()
    except UnusableObjectStore as error:
        yield Finding(name, State.FAIL, error.problem, error.advice)
        return
    if installation:
        yield Finding(name, State.OK, f"{url} answers.")
    else:
        yield Finding(name, State.INFO, f"{url} is empty; the first start uses it.")


def open_read_only(database: Database) -> sa.Engine | None:
    """Open a database, whoever else has it open; None where it is not there yet.

    Raises
    ------
    UnusableDatabase
        Its URL is none that the server knows, or its driver is missing.
    """
    url = database.parsed_url
    if url.get_backend_name() == "sqlite":
        if not Path(str(url.database)).exists():
            return None
        url = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
        return sa.create_engine(url)
    return postgresql.make_engine(url, 1)


class _OtherSchema(Exception):
    """The schema is not that of this version, so nothing else can be read."""


def _of_schema(connection: sa.Connection, name: str) -> Iterator[Finding]:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    kind = connection.dialect.name
    if current not in known:
        yield Finding(
            name,
            State.FAIL,
            "It belongs to a newer version of jupyter-mlsvc."
            if current
            else "It has no schema of jupyter-mlsvc.",
            "Install the version that wrote it, or name another one with Database.url.",
        )
        raise _OtherSchema
    if current != script.get_current_head():
        yield Finding(name, State.INFO, f"{kind}; the next start brings its schema up to date.")
        raise _OtherSchema
    yield Finding(name, State.OK, f"{kind}; its schema is up to date.")


def _of_installation(
    connection: sa.Connection, name: str, database: Database, data_dir: Path
) -> Iterator[Finding]:
    is_cache = bool(BlobStore(data_dir=data_dir, config=database.config).url)
    installation = Installation(database=database, data_dir=data_dir, is_cache=is_cache)
    why = installation.misfit(connection)
    if why is not None:
        yield Finding(
            name,
            State.FAIL,
            f"It does not belong to {data_dir}: {why}.",
            "Name the database that belongs to the folder, or, where this one is meant, run: "
            "jupyter mlsvc adopt",
        )


def _of_accounts(connection: sa.Connection) -> Iterator[Finding]:
    query = sa.select(sa.func.count()).where(
        accounts.c.kind == LOCAL, accounts.c.removed_at.is_(None)
    )
    count = connection.scalar(query)
    if not count:
        yield Finding(
            "accounts",
            State.WARN,
            "There is no account, so programs can't log in.",
            "Run: jupyter mlsvc user add NAME --role owner",
        )
    else:
        yield Finding("accounts", State.OK, f"Accounts: {count}.")


def _existing(path: Path) -> Path:
    """Return a folder, or the next one above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())
