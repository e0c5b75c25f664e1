"""Check of all that is stored: it reads every blob and every record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from jupyter_mlsvc_server.batches import verification as batches
from jupyter_mlsvc_server.doctor.data import open_read_only
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.snapshots import verification as snapshots
from jupyter_mlsvc_server.snapshots.verification import Checked
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.errors import UnusableDatabase
from jupyter_mlsvc_server.storage.object_store import UnusableObjectStore
from jupyter_mlsvc_server.storage.postgresql import reason
from jupyter_mlsvc_server.storage.stored_blobs import StoredBlobs


def check_stored_data(setup: Setup) -> Iterator[Finding]:
    """Compare all that is stored with its digests and checksums."""
    database = Database(data_dir=setup.data_dir, config=setup.config)
    try:
        engine = open_read_only(database)
        blobs = StoredBlobs(setup.data_dir, setup.config)
    except (UnusableDatabase, UnusableObjectStore) as error:
        yield Finding("stored data", State.FAIL, str(error))
        return
    if engine is None:
        yield Finding("stored data", State.INFO, "Nothing is stored yet.")
        return
    try:
        with engine.connect() as connection:
            yield from _of_pages(connection)
            yield from _of(
                "snapshots and services",
                snapshots.verify(connection, blobs.problem),
                "Take the snapshot, or publish the model, again: good content replaces damaged "
                "content. Or restore it from a backup.",
            )
            yield from _of(
                "batches",
                batches.verify(connection, setup.data_dir / "batches"),
                "Start a batch with these records again, and delete this one.",
            )
    except SQLAlchemyError as error:
        yield Finding("stored data", State.FAIL, f"The database cannot be read: {reason(error)}.")
    finally:
        engine.dispose()


def _of_pages(connection: sa.Connection) -> Iterator[Finding]:
    if connection.dialect.name != "sqlite":
        return
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    if found == ["ok"]:
        yield Finding("database file", State.OK, "Its pages are whole.")
    else:
        yield Finding(
            "database file",
            State.FAIL,
            f"It is damaged: {found[0]}.",
            "Stop the server and restore a backup.",
        )


def _of(name: str, checked: Iterable[Checked], mend: str) -> Iterator[Finding]:
    count = 0
    damaged = False
    for each in checked:
        count += 1
        if each.problem:
            damaged = True
            yield Finding(name, State.FAIL, f"{each.name}: {each.problem.rstrip('.')}.", mend)
    if not damaged:
        yield Finding(name, State.OK, f"Whole: {count:,} contents, blobs or batches.")
