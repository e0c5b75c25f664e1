"""Verification of the records and results of all batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from jupyter_mlsvc_server.batches.files import Records, read_results
from jupyter_mlsvc_server.batches.record import ACTIVE
from jupyter_mlsvc_server.snapshots.verification import Checked
from jupyter_mlsvc_server.storage.schema import batches

_AT_ONCE: Final = 1024


def verify(connection: sa.Connection, root: Path) -> Iterator[Checked]:
    """Check each batch.

    Parameters
    ----------
    connection
        To the database.
    root
        Folder of the batches.

    Yields
    ------
    Checked
        One for each batch.
    """
    for row in connection.execute(sa.select(batches)).mappings().all():
        name = f"batch {row['id']} of service {row['name']}/{row['version']}"
        folder, has_ended = root / row["id"], row["state"] not in ACTIVE
        try:
            damaged = _damaged_records(folder, row["total"])
            problem = f"{damaged} of {row['total']} records are damaged" if damaged else ""
            if not problem and has_ended:
                # Before the end, one that does not fit is made again.
                damaged = sum(body == b"" for body in read_results(folder, 0, row["total"]))
                problem = f"{damaged} of {row['total']} results are damaged" if damaged else ""
        except OSError as error:
            problem = f"a file of it cannot be read ({error.strerror})"
        yield Checked(name, problem)


def _damaged_records(folder: Path, total: int) -> int:
    damaged = at = 0
    records = Records(folder)
    try:
        while at < total:
            found = records.read(range(at, min(at + _AT_ONCE, total)))
            damaged += sum(body is None for _, body in found)
            at += len(found)
    finally:
        records.close()
    return damaged
