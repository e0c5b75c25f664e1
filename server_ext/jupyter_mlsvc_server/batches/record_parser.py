"""Parser of a batch's records: stores the body on disk, then splits it, never all in memory."""

from __future__ import annotations

import asyncio
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

import msgspec

from jupyter_mlsvc.wire.json_text import UnreadableJson, decode_json, require_utf_8
from jupyter_mlsvc_server.batches.arrow_records import read_records
from jupyter_mlsvc_server.batches.errors import InvalidRecords, TooManyRecords
from jupyter_mlsvc_server.batches.files import (
    CHECKSUMS,
    OFFSETS,
    RECORDS,
    FolderLock,
    make_results,
    pack_checksums,
    pack_offsets,
)
from jupyter_mlsvc_server.formats.private_files import sync_directory
from jupyter_mlsvc_server.storage.body_file import BodyFile

_BODY: Final = "body"
_WRITE_BYTES: Final = 2**20
_WRITE_RECORDS: Final = 4096
_OBJECTS_A_RECORD: Final = 10
"""Objects that the records may have on average before the body is not even decoded."""


class _Object(msgspec.Struct):
    """Any JSON object; its members are checked where the service runs."""


def _ignore(size: int) -> None:
    """Stand in where there is no limit."""


class Upload:
    """Body of a batch that is being received, in a folder of its own.

    Parameters
    ----------
    folder
        Where it is kept until the batch is made of it; it goes with :meth:`discard`.
    is_lenient
        Whether a body that is no strict JSON is read leniently.
    is_arrow
        Whether the body is a stream of Arrow.
    """

    def __init__(self, folder: Path, *, is_lenient: bool = False, is_arrow: bool = False) -> None:
        self.folder = folder
        self._is_arrow = is_arrow
        self._is_lenient = is_lenient
        self._file = BodyFile(folder / _BODY)

    async def write(self, chunk: bytes) -> None:
        """Store a piece of the body."""
        await self._file.write(chunk)

    async def split(self, most: int, *, watch: Callable[[int], None] = _ignore) -> int:
        """Parse the body into records, and return their number.

        Parameters
        ----------
        most
            Records that there may be.
        watch
            Called with the bytes of the records so far, in another thread; what it raises ends
            this. Records may be much longer than a body in which they have values in common.

        Raises
        ------
        InvalidRecords
            The body is no JSON list of objects, or no stream of Arrow.
        TooManyRecords
            There are more than ``most``.
        """
        await self._file.finish()
        if self._is_arrow:
            return await asyncio.to_thread(_split_arrow, self.folder, most, watch)
        return await asyncio.to_thread(
            _split, self.folder, most, watch, is_lenient=self._is_lenient
        )

    async def commit(self, target: Path) -> FolderLock:
        """Rename the folder to that of a batch, whole or not at all, with its lock taken."""
        return await asyncio.to_thread(_commit, self.folder, target)

    def discard(self) -> None:
        """Remove the folder if it is still there; may be called twice, and after a commit."""
        self._file.discard()
        shutil.rmtree(self.folder, ignore_errors=True)


def _split(folder: Path, most: int, watch: Callable[[int], None], *, is_lenient: bool) -> int:
    body = folder / _BODY
    if not body.stat().st_size:
        raise InvalidRecords("The request body is empty; send a JSON list of records.")
    with body.open("rb") as file:
        # Closed with the last record that points into it.
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if _objects(view) > most * _OBJECTS_A_RECORD:
        raise TooManyRecords(most)
    text = memoryview(view)
    try:
        require_utf_8(text)
        # The first look costs little memory and finds what is wrong; the second one splits.
        look = msgspec.json.Decoder(list[_Object]).decode
        if len(decode_json(text, look, is_lenient=is_lenient)) > most:
            raise TooManyRecords(most)
        split = msgspec.json.Decoder(list[msgspec.Raw]).decode
        records = decode_json(text, split, is_lenient=is_lenient)
    except msgspec.ValidationError as error:
        raise InvalidRecords(
            f"The request body does not fit: {error}. It has to be a list of records, each an "
            "object with the inputs by name."
        ) from None
    except UnreadableJson as error:
        raise InvalidRecords(f"The request body is not valid JSON: {error}.") from None
    chunks = (
        records[first : first + _WRITE_RECORDS] for first in range(0, len(records), _WRITE_RECORDS)
    )
    return _keep(folder, chunks, watch)


def _split_arrow(folder: Path, most: int, watch: Callable[[int], None]) -> int:
    body = folder / _BODY
    if not body.stat().st_size:
        raise InvalidRecords("The request body is empty; send a stream of Arrow with records.")
    with body.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _keep(folder, read_records(view, most), watch)


def _keep(
    folder: Path, chunks: Iterable[Sequence[msgspec.Raw | bytes]], watch: Callable[[int], None]
) -> int:
    """Write the records in place of the body; return their number."""
    count = _write_records(folder, chunks, watch)
    (folder / _BODY).unlink()
    make_results(folder, count)
    return count


def _objects(view: mmap.mmap) -> int:
    """Count what may be the beginning of an object: never less than there are."""
    return sum(view[at : at + _WRITE_BYTES].count(b"{") for at in range(0, len(view), _WRITE_BYTES))


def _write_records(
    folder: Path, chunks: Iterable[Sequence[msgspec.Raw | bytes]], watch: Callable[[int], None]
) -> int:
    at = count = 0
    with (
        (folder / RECORDS).open("wb", _WRITE_BYTES) as data,
        (folder / OFFSETS).open("wb") as offsets,
        (folder / CHECKSUMS).open("wb") as checksums,
    ):
        for records in chunks:
            views = [memoryview(record) for record in records]
            count += len(views)
            *places, end = accumulate(map(len, views), initial=at)
            watch(end)
            data.writelines(views)
            offsets.write(pack_offsets(places))
            checksums.write(pack_checksums(views))
            at = end
        offsets.write(pack_offsets([at]))
        for file in (data, offsets, checksums):
            file.flush()
            os.fsync(file.fileno())
    return count


def _commit(folder: Path, target: Path) -> FolderLock:
    lock = FolderLock.take(folder)
    if lock is None:
        raise RuntimeError(f"{folder} is in use")
    try:
        sync_directory(folder)
        folder.rename(target)
        sync_directory(target.parent)
    except BaseException:
        lock.release()
        raise
    return lock
