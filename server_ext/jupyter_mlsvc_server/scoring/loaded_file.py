"""Which versions were loaded, for a server that starts again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from jupyter_mlsvc_server.formats.private_files import write_atomic
from jupyter_mlsvc_server.scoring.definition import DefinitionKey


class LoadedFile:
    """A list of versions on disk, which is written when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: frozenset[DefinitionKey] | None = None

    async def read(self) -> frozenset[DefinitionKey]:
        """Read the versions; none where nothing that can be read is there."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            data = await asyncio.to_thread(self._path.read_bytes)
            self._written = frozenset(msgspec.json.decode(data, type=list[DefinitionKey]))
        return self._written or frozenset()

    async def write(self, keys: Iterable[DefinitionKey]) -> None:
        """Write the versions, unless they are there already.

        Raises
        ------
        OSError
            They can't be written.
        """
        new = frozenset(keys)
        if new != self._written:
            await asyncio.to_thread(write_atomic, self._path, msgspec.json.encode(sorted(new)))
            self._written = new
