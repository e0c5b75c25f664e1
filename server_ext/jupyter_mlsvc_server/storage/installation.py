"""The installation: an id that a data folder and its database have in common.

Rows of the database refer to files of the folder, and files that no row refers to are collected.
With another database, an older one, or none, that would be all of them. So a server starts only
where the two belong together: where both have the id, or where neither holds anything yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from jupyter_mlsvc_server.formats.private_files import write_atomic
from jupyter_mlsvc_server.storage.blobs import TRASH
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.errors import UnusableDatabase
from jupyter_mlsvc_server.storage.postgresql import Lock, take_lock
from jupyter_mlsvc_server.storage.schema import (
    batches,
    content_blobs,
    contents,
    installations,
)

ID_FILE: Final = "installation.id"
"""File of the data folder with the id."""

_KNOWN: Final = 200
"""Blobs of the database that are looked for in a folder which has no id yet."""


class OtherInstallation(UnusableDatabase):
    """The database and the data folder do not belong together."""

    def __init__(self, database: str, data_dir: Path, why: str) -> None:
        super().__init__(
            database,
            f"{why}. Nothing was changed. Start with the database that belongs to the data folder "
            f"{data_dir}, or, where this one is meant, have it take over the folder with "
            "'jupyter mlsvc adopt'",
        )


@dataclass(frozen=True, slots=True)
class Half:
    """What the database, or the data folder, says.

    Attributes
    ----------
    id : str or None
        Id of the installation; None where there is none yet.
    things : int
        How many contents of snapshots and batches the database has, or how many blobs and
        batches the folder has: what the other half should know of.
    """

    id: str | None
    things: int


def misfit(
    database: Half, folder: Half, *, have_in_common: bool, is_cache: bool = False
) -> str | None:
    """Return why a database and a data folder do not belong together; None where they do.

    Parameters
    ----------
    database, folder
        The halves.
    have_in_common
        Whether the folder has any blob or batch that the database refers to.
    is_cache
        Whether blobs are in an object store, so that the folder of a further server may be empty.
    """
    if database.id and folder.id:
        if database.id == folder.id:
            return None
        return "it is the database of another data folder"
    if not database.things and not folder.things:
        return None
    if not database.things:
        return f"it is empty, and the data folder holds {_count(folder.things)}"
    if not folder.things and is_cache and not folder.id:
        return None
    if not folder.things:
        return f"the data folder is empty, and it refers to {_count(database.things)}"
    if not database.id and not folder.id and have_in_common:
        # From before there were ids.
        return None
    if not database.id:
        return "it has no installation id, and the data folder has"
    return "the data folder has no installation id, and it has"


class Installation:
    """A database and a data folder, which are to belong together.

    Parameters
    ----------
    database
        The database, which is open.
    data_dir
        The data folder; nobody else works on it meanwhile.
    is_cache
        Whether the folder's blobs are a cache of an object store.
    """

    def __init__(self, *, database: Database, data_dir: Path, is_cache: bool = False) -> None:
        self._database = database
        self._is_cache = is_cache
        self._data_dir = data_dir

    async def require(self) -> None:
        """Refuse a database that does not belong to the folder, and mark both where they are new.

        Raises
        ------
        OtherInstallation
            They do not belong together.
        """
        database, known = await self._database.read(_look)
        folder = await asyncio.to_thread(self._folder_half)
        common = await asyncio.to_thread(self._has_any, known)
        why = misfit(database, folder, have_in_common=common, is_cache=self._is_cache)
        if why is not None:
            raise OtherInstallation(self._database.place, self._data_dir, why)
        if database.id is None or folder.id is None:
            await self._mark(database.id or folder.id or str(uuid.uuid4()))

    def misfit(self, connection: sa.Connection) -> str | None:
        """Return why the halves do not belong together, and change nothing; None where they do."""
        database, known = _look(connection)
        return misfit(
            database,
            self._folder_half(),
            have_in_common=self._has_any(known),
            is_cache=self._is_cache,
        )

    async def adopt(self) -> tuple[Half, Half]:
        """Make the database that of the folder, whatever both hold; return the halves of before."""
        database, _ = await self._database.read(_look)
        folder = await asyncio.to_thread(self._folder_half)
        await self._mark(database.id or str(uuid.uuid4()))
        return database, folder

    async def _mark(self, installation: str) -> None:
        def write(connection: sa.Connection) -> str:
            # Several servers may begin with an empty database at a time.
            take_lock(connection, Lock.INSTALLATION)
            found = connection.scalar(sa.select(installations.c.id))
            if found is None:
                connection.execute(installations.insert().values(id=installation))
            return found or installation

        data = f"{await self._database.run(write)}\n".encode()
        await asyncio.to_thread(write_atomic, self._data_dir / ID_FILE, data)

    def _folder_half(self) -> Half:
        try:
            found = (self._data_dir / ID_FILE).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            found = ""
        blobs = [
            path
            for folder in _entries(self._data_dir / "blobs")
            if folder.name != TRASH
            for path in _entries(folder)
        ]
        kept = [path for path in _entries(self._data_dir / "batches") if path.name != TRASH]
        return Half(found or None, len(blobs) + len(kept))

    def _has_any(self, known: list[str]) -> bool:
        return any((self._data_dir / name).exists() for name in known)


def _look(connection: sa.Connection) -> tuple[Half, list[str]]:
    """Give the half of the database, and paths that should be in its folder."""
    things = sum(
        connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        for table in (contents, batches)
    )
    digests = connection.scalars(sa.select(content_blobs.c.digest).distinct().limit(_KNOWN)).all()
    ids = connection.scalars(sa.select(batches.c.id).limit(_KNOWN)).all()
    paths = [f"blobs/{each[:2]}/{each}" for each in digests] + [f"batches/{each}" for each in ids]
    return Half(connection.scalar(sa.select(installations.c.id)), things), paths


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def _count(things: int) -> str:
    return "one thing" if things == 1 else f"{things:,} things"
