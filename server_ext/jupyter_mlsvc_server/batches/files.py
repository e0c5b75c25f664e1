"""The records and results of a batch on disk.

A folder has five files. ``records`` holds the records' JSON one after the other,
``records.offsets`` where each begins (and the last ends), as 64-bit numbers, and
``records.checksums`` their CRC-32. ``results`` holds the results' JSON in the order in which they
came, and ``results.index`` an entry a record: where its result is, how long, whether it is a
failure, and a checksum. An entry that is zero stands for no result. One whose checksum does not
fit does so, too, while the batch has not ended. So results need no flushing one by one: what a
crash took is found missing, and made again. In a batch that has ended, it is damaged.

All functions block and are meant for a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import msgspec

from jupyter_mlsvc_server.batches.record import Progress

RECORDS: Final = "records"
OFFSETS: Final = "records.offsets"
CHECKSUMS: Final = "records.checksums"
RESULTS: Final = "results"
INDEX: Final = "results.index"
LOCK: Final = "lock"

_OFFSET: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<QII")
_FAILED: Final = 1 << 31
_MAX_LENGTH: Final = _FAILED - 1

BLOCK_RECORDS: Final = 1024
"""Records that are read at a time, where they are small."""

_BLOCK_BYTES: Final = 2**20
_BLOCK_ENTRIES: Final = 4096


class Result(msgspec.Struct, frozen=True, gc=False):
    """A result to keep: its record, its JSON, and whether it is a failure."""

    number: int
    body: bytes
    is_failure: bool


class FolderLock:
    """Says that this process works on a folder; the kernel takes it back when the process dies."""

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = os.open(
            folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
        )

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Take the lock of a folder; None where another process has it, or there is no folder."""
        try:
            lock = cls(folder)
        except OSError:
            return None
        try:
            fcntl.flock(lock._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.release()
            return None
        return lock

    def release(self) -> None:
        """Give it back; may be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _opened(self) -> int:
        assert self._descriptor is not None
        return self._descriptor


class Records:
    """Reads records, a block at a time.

    Parameters
    ----------
    folder
        The batch's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._data = os.open(folder / RECORDS, os.O_RDONLY | os.O_CLOEXEC)
        self._offsets = os.open(folder / OFFSETS, os.O_RDONLY | os.O_CLOEXEC)
        self._checksums: int | None = None
        with contextlib.suppress(FileNotFoundError):  # of a batch from before there were any
            self._checksums = os.open(folder / CHECKSUMS, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._data).st_size
        # A thread that reads for somebody who was cancelled ends before the files are closed.
        self._lock = threading.Lock()
        self._is_closed = False

    def read(self, wanted: Sequence[int]) -> list[tuple[int, bytes | None]]:
        """Read as many of the wanted records as make a block, at least one.

        Returns
        -------
        list
            Numbers and bodies; None for a record that is not what was written.
        """
        found: list[tuple[int, bytes | None]] = []
        size = 0
        with self._lock:
            if self._is_closed:
                return found
            for first, count in _runs(wanted):
                places = self._places(first, count)
                if not self._is_sound(places):
                    alone = [self._alone(*each) for each in pairwise(places)]
                    found.extend(self._checked(first, alone))
                    break
                # As many as make the block whole, one at least.
                taken = bisect_left(places, places[0] + _BLOCK_BYTES - size, 1, count)
                data = memoryview(_read(self._data, places[taken] - places[0], places[0]))
                size += len(data)
                ends = [place - places[0] for place in places[: taken + 1]]
                bodies = [bytes(data[start:end]) for start, end in pairwise(ends)]
                found.extend(self._checked(first, bodies))
                if size >= _BLOCK_BYTES:
                    break
        return found

    def _places(self, first: int, count: int) -> tuple[int, ...]:
        """Where so many records begin, and where the last one ends."""
        size = (count + 1) * _OFFSET.size
        data = _read(self._offsets, size, first * _OFFSET.size)
        # What was cut off is nowhere.
        return struct.unpack(f"<{count + 1}Q", data.ljust(size, b"\xff"))

    def _is_sound(self, places: Sequence[int]) -> bool:
        return places[-1] <= self._size and all(start <= end for start, end in pairwise(places))

    def _alone(self, start: int, end: int) -> bytes | None:
        """Read a record among others whose places are damaged."""
        return _read(self._data, end - start, start) if start <= end <= self._size else None

    def _checked(
        self, first: int, bodies: Sequence[bytes | None]
    ) -> Iterator[tuple[int, bytes | None]]:
        """Compare records with their checksums, and leave out the bodies that do not fit."""
        sums: Sequence[int] | None = None
        if self._checksums is not None:
            size = len(bodies) * _CHECKSUM.size
            data = _read(self._checksums, size, first * _CHECKSUM.size)
            sums = struct.unpack(f"<{len(bodies)}I", data.ljust(size, b"\0"))
        for index, body in enumerate(bodies):
            is_whole = body is not None and (sums is None or zlib.crc32(body) == sums[index])
            yield first + index, body if is_whole else None

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._is_closed = True
            for descriptor in (self._data, self._offsets, self._checksums):
                if descriptor is not None:
                    os.close(descriptor)


class Results:
    """Writes results; one process at a time, which holds the folder's lock.

    Parameters
    ----------
    folder
        The batch's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._data = os.open(folder / RESULTS, os.O_RDWR | os.O_CLOEXEC)
        self._index = os.open(folder / INDEX, os.O_RDWR | os.O_CLOEXEC)
        self._end = os.fstat(self._data).st_size
        self._lock = threading.Lock()

    def missing(self) -> tuple[Sequence[int], Progress]:
        """Find the records without a whole result, and count the others."""
        missing = array("Q")
        failed = reach = 0
        with self._lock:
            total = os.fstat(self._index).st_size // _ENTRY.size
            if not self._end:
                return range(total), Progress()
            for index, found in enumerate(_bodies(self._data, self._index, 0, total)):
                if found is None or not found.body:
                    missing.append(index)
                else:
                    failed += found.is_failure
                    reach = index + 1
        return missing, Progress(total - len(missing), failed, reach)

    def append(self, results: Sequence[Result]) -> None:
        """Write results so that readers see them."""
        entries: dict[int, bytes] = {}
        pack, checksum = _ENTRY.pack, zlib.crc32
        with self._lock:
            at = self._end
            for result in results:
                body = result.body
                length = len(body)
                entries[result.number] = pack(
                    at, length | _FAILED if result.is_failure else length, checksum(body)
                )
                at += length
            _write(self._data, b"".join([result.body for result in results]), self._end)
            self._end = at
            for first, count in _runs(sorted(entries)):
                joined = b"".join([entries[number] for number in range(first, first + count)])
                _write(self._index, joined, first * _ENTRY.size)

    def sync(self) -> None:
        """Make what was written survive a loss of power."""
        with self._lock:
            os.fsync(self._data)
            os.fsync(self._index)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            os.close(self._data)
            os.close(self._index)


def pack_offsets(places: Sequence[int]) -> bytes:
    """Write where records begin."""
    return struct.pack(f"<{len(places)}Q", *places)


def pack_checksums(records: Sequence[memoryview]) -> bytes:
    """Write the checksums of records."""
    return struct.pack(f"<{len(records)}I", *map(zlib.crc32, records))


def make_results(folder: Path, total: int) -> None:
    """Make the files of a batch without a result yet."""
    (folder / RESULTS).touch(mode=0o600)
    with (folder / INDEX).open("wb") as file:
        # Takes no room on disk: what is not written yet reads as zeros.
        file.truncate(total * _ENTRY.size)


def count(folder: Path) -> Progress:
    """Count results by their entries, without a look at the results."""
    completed = failed = reach = 0
    with (folder / INDEX).open("rb") as file:
        at = 0
        while block := file.read(_BLOCK_ENTRIES * _ENTRY.size):
            for _, length, _ in _entries(block):
                at += 1
                if length:
                    completed += 1
                    failed += length >= _FAILED
                    reach = at
    return Progress(completed, failed, reach)


def read_results(folder: Path, first: int, end: int) -> Iterator[bytes | None]:
    """Read results in the order of their records.

    Yields
    ------
    bytes or None
        None for one that is not there, nothing (``b""``) for one that is not what was written.
    """
    data = os.open(folder / RESULTS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        index = os.open(folder / INDEX, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for found in _bodies(data, index, first, end):
                yield None if found is None else found.body
        finally:
            os.close(index)
    finally:
        os.close(data)


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Take rising numbers apart where some are missing between: the first of each, and how many."""
    start = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            yield numbers[start], end - start
            start = end


def _bodies(data: int, index: int, first: int, end: int) -> Iterator[Result | None]:
    for at in range(first, end, _BLOCK_ENTRIES):
        wanted = min(end - at, _BLOCK_ENTRIES)
        entries = _read(index, wanted * _ENTRY.size, at * _ENTRY.size)
        size = os.fstat(data).st_size
        for number, entry in enumerate(_entries(entries)):
            yield _body(data, size, at + number, *entry)
        for number in range(len(entries) // _ENTRY.size, wanted):
            yield Result(at + number, b"", True)  # the index was cut


def _entries(data: bytes) -> Iterable[tuple[int, int, int]]:
    return _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size])


def _body(
    data: int, end: int, index: int, offset: int, length: int, checksum: int
) -> Result | None:
    if not length:
        return None
    size = length & _MAX_LENGTH
    body = _read(data, size, offset) if offset + size <= end else b""
    return Result(index, body if zlib.crc32(body) == checksum else b"", length >= _FAILED)


def _read(descriptor: int, size: int, offset: int) -> bytes:
    """Read at a place; less than ``size`` only at the end of the file."""
    piece = os.pread(descriptor, size, offset)
    if len(piece) == size or not piece:
        return piece
    pieces = [piece]
    got = len(piece)
    while got < size and (piece := os.pread(descriptor, size - got, offset + got)):
        pieces.append(piece)
        got += len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view = view[done:]
        offset += done
