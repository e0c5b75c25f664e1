"""A body that is written to a file while it comes in."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import BinaryIO, Final

_WRITE_BYTES: Final = 2**20


class BodyFile:
    """A file that is written in pieces, some of them at a time, in a thread.

    Parameters
    ----------
    path
        Where it is; there is none yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        # The client may go away while a thread still writes.
        self._lock = threading.Lock()
        self._is_discarded = False

    async def write(self, piece: bytes | bytearray) -> None:
        """Add a piece."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= _WRITE_BYTES:
            await self._flush(is_last=False)

    async def finish(self) -> None:
        """Write what is left."""
        await self._flush(is_last=True)

    def discard(self) -> None:
        """Write nothing any more; may be called twice, and afterwards the file may be removed."""
        with self._lock:
            self._is_discarded = True
            self._close()

    async def _flush(self, *, is_last: bool) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        await asyncio.to_thread(self._write, pieces, is_last=is_last)

    def _write(self, pieces: list[bytes | bytearray], *, is_last: bool) -> None:
        with self._lock:
            if self._is_discarded:
                return
            if self._file is None:
                self._file = self.path.open("xb")
            self._file.write(b"".join(pieces))
            if is_last:
                self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
