"""Copies all rows of one database into another one that is empty, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.postgresql import Lock, reason, take_lock
from jupyter_mlsvc_server.storage.schema import metadata

_AT_ONCE: Final = 500
"""Rows that are in memory at a time; one may have the code of a service."""


class CopyRefused(Exception):
    """The database is not copied; the message says why."""


async def copy_database(source: Path, data_dir: Path, target: Database) -> dict[str, int]:
    """Copy a SQLite database into another database, whole or not at all.

    Both get the newest schema first. No server may use either of them meanwhile.

    Parameters
    ----------
    source
        The file.
    data_dir
        The data folder that it belongs to.
    target
        The other database, which is open.

    Returns
    -------
    dict of str to int
        How many rows there are now, by the names of tables.

    Raises
    ------
    CopyRefused
        The other database holds something, or does not take it.
    UnusableDatabase
        The file can't be read.
    """
    url = sa.URL.create("sqlite", database=str(source)).render_as_string()
    before = Database(data_dir=data_dir, url=url)
    await before.start()
    try:
        # Reading keeps a transaction open, so all is from one moment.
        return await before.read(lambda reading: _copy(reading, target))
    finally:
        await before.stop()


def _copy(reading: sa.Connection, target: Database) -> dict[str, int]:
    try:
        with target.engine.begin() as writing:
            take_lock(writing, Lock.INSTALLATION)
            _require_empty(writing, target.place)
            for table in metadata.sorted_tables:
                for rows in _rows(reading, table):
                    writing.execute(table.insert(), rows)
            counts = {table.name: _count(writing, table) for table in metadata.sorted_tables}
            for table in metadata.sorted_tables:
                if (there := _count(reading, table)) != counts[table.name]:
                    raise CopyRefused(
                        f"Table {table.name} has {there:,} rows, and {counts[table.name]:,} "
                        "arrived. Nothing was copied."
                    )
            return counts
    except (sa.exc.SQLAlchemyError, UnicodeError) as error:
        # A row has what PostgreSQL does not take, such as a text with a null character.
        raise CopyRefused(f"{target.place} did not take it: {reason(error)}.") from error


def _require_empty(writing: sa.Connection, place: str) -> None:
    for table in metadata.sorted_tables:
        if count := _count(writing, table):
            raise CopyRefused(
                f"The database {place} is not empty: its table {table.name} has {count:,} rows. "
                "Make a new one with createdb --encoding=UTF8 --template=template0, before any "
                "server has started on it."
            )


def _rows(reading: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    found = reading.execution_options(yield_per=_AT_ONCE).execute(sa.select(table)).mappings()
    for part in found.partitions():
        yield [dict(row) for row in part]


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
