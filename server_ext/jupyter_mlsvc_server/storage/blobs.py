"""Content-addressed files: a file's name is the SHA-256 of what is in it.

A blob is written elsewhere, flushed and renamed into place, so it is whole or not there; it never
changes afterwards. What nothing refers to is deleted later (:meth:`BlobStore.delete_unreferenced`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

from traitlets import Float, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc_server.formats.private_files import private_directory, sync_directory
from jupyter_mlsvc_server.storage.paths import FolderPath, default_data_dir

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 18
"""Bytes that are hashed at a time: few enough to be in the processor's cache for a second hash."""

_MODE: Final = 0o400


class Blob(NamedTuple):
    """A blob's name, which is its SHA-256 in hexadecimal, and its size in bytes."""

    digest: str
    size: int


class BlobUsage(NamedTuple):
    """How many blobs there are, and their bytes."""

    blobs: int
    size: int


class Hasher(Protocol):
    """Gets the bytes of something in pieces."""

    def update(self, data: Any, /) -> object:
        """Take the next piece."""


class BlobStore(LoggingConfigurable):
    """Keeps blobs in a folder; those of the same content are one."""

    data_dir = FolderPath(help="Folder of everything that the server keeps.")
    grace_seconds = Float(
        3600.0,
        min=0,
        help="Seconds that a blob nothing refers to is kept: whoever stored it may be about to "
        "refer to it.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Storing what is there already, and deleting it as unused, exclude each other.
        self._lock = threading.Lock()

    @default("data_dir")
    def _default_data_dir(self) -> Path:
        return default_data_dir()

    @property
    def folder(self) -> Path:
        """Where the blobs are; that of digest ``abcd…`` is ``ab/abcd…`` in it."""
        return self.data_dir / "blobs"

    def path(self, digest: str) -> Path:
        """Name the file of a blob, which need not exist.

        Raises
        ------
        ValueError
            It is no digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no SHA-256 in hexadecimal.")
        return self.folder / digest[:2] / digest

    async def ingest(self, path: Path, *others: Hasher) -> Blob:
        """Move a file of the same file system into the store.

        Parameters
        ----------
        path
            The file.
        others
            Get the same bytes as the hash by which the blob is named.

        Raises
        ------
        OSError
            It is not a regular file, such as a symbolic link, or cannot be read.
        """
        return await asyncio.to_thread(self._ingest, path, *others)

    async def ingest_copy(
        self, source: BinaryIO, limit: int | None = None, *others: Hasher
    ) -> Blob:
        """Store a copy of what can be read from an open file.

        Parameters
        ----------
        source
            Read in a thread up to its end.
        limit
            Bytes above which it is not stored.
        others
            As for :meth:`ingest`.

        Raises
        ------
        OverflowError
            There are more bytes than the limit.
        """
        return await asyncio.to_thread(self._ingest_copy, source, limit, *others)

    async def put(self, data: bytes) -> Blob:
        """Store bytes."""
        return await asyncio.to_thread(self._put, data)

    async def renew(self, blobs: Collection[Blob]) -> set[Blob]:
        """Begin the grace time of blobs anew.

        Returns
        -------
        set of Blob
            Those that are there.
        """
        return await asyncio.to_thread(self._renew, blobs)

    async def delete_unreferenced(self, referenced: Collection[str]) -> int:
        """Delete blobs that are not among the referenced ones and older than the grace time.

        Returns
        -------
        int
            How many were deleted.
        """
        return await asyncio.to_thread(self._delete_unreferenced, frozenset(referenced))

    async def usage(self) -> BlobUsage:
        """Measure all blobs, which takes a look at each file."""
        return await asyncio.to_thread(self._usage)

    # --- in a thread -------------------------------------------------------------------------

    def _ingest(self, path: Path, *others: Hasher) -> Blob:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{path.name} is no regular file")
            hasher = hashlib.sha256()
            size = feed(file, hasher, *others)
            blob = Blob(hasher.hexdigest(), size)
            self._settle(descriptor, path, blob)
        return blob

    def _ingest_copy(self, source: BinaryIO, limit: int | None, *others: Hasher) -> Blob:
        return self._write(iter(lambda: source.read(_CHUNK_BYTES), b""), limit, *others)

    def _put(self, data: bytes) -> Blob:
        return self._write(iter([data]), None)

    def _write(self, chunks: Iterator[bytes], limit: int | None, *others: Hasher) -> Blob:
        hasher, size = hashlib.sha256(), 0
        # Not in a subfolder: what a crash leaves is recognised by where it is.
        descriptor, name = tempfile.mkstemp(dir=private_directory(self.folder), prefix=".new-")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    for each in (hasher, *others):
                        each.update(chunk)
                    size += len(chunk)
                    if limit is not None and size > limit:
                        raise OverflowError(f"more than {limit} bytes")
                    file.write(chunk)
                file.flush()
                blob = Blob(hasher.hexdigest(), size)
                self._settle(descriptor, temporary, blob)
        finally:
            temporary.unlink(missing_ok=True)
        return blob

    def _settle(self, descriptor: int, temporary: Path, blob: Blob) -> None:
        """Flush an open file and give it its place, unless the same content is there already."""
        if self._renew([blob]):
            # What is not kept need not reach the disk.
            temporary.unlink()
            return
        os.fchmod(descriptor, _MODE)
        os.fsync(descriptor)
        target = self.path(blob.digest)
        with self._lock:
            if self._is_renewed(blob):
                temporary.unlink()
                return
            if not target.parent.exists():
                private_directory(target.parent)
                sync_directory(self.folder)
            os.utime(temporary)
            temporary.replace(target)
            sync_directory(target.parent)

    def _renew(self, blobs: Collection[Blob]) -> set[Blob]:
        with self._lock:
            return {blob for blob in blobs if self._is_renewed(blob)}

    def _is_renewed(self, blob: Blob) -> bool:
        """Begin the grace time of a blob anew, if it is there."""
        target = self.path(blob.digest)
        try:
            if target.stat().st_size != blob.size:
                return False
            os.utime(target)
        except FileNotFoundError:
            return False
        return True

    def _delete_unreferenced(self, referenced: frozenset[str]) -> int:
        deleted = 0
        for path in self._all_files():
            if path.name in referenced:
                continue
            with self._lock:
                try:
                    if path.stat().st_mtime <= time.time() - self.grace_seconds:
                        path.unlink()
                        deleted += 1
                except FileNotFoundError:
                    continue
        if deleted:
            self.log.info("deleted %d blobs that nothing refers to", deleted)
        return deleted

    def _usage(self) -> BlobUsage:
        sizes = []
        for path in self._all_files():
            # Others are stored and deleted meanwhile.
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return BlobUsage(len(sizes), sum(sizes))

    def _all_files(self) -> Iterator[Path]:
        """List the blobs, and what writers that were killed left behind."""
        if not self.folder.is_dir():
            return
        for entry in sorted(self.folder.iterdir()):
            if entry.is_dir():
                yield from sorted(entry.iterdir())
            else:
                yield entry


def feed(file: BinaryIO, *hashers: Hasher) -> int:
    """Read a file to its end and let all hashers have it; gives its size."""
    buffer, size = memoryview(bytearray(_PIECE_BYTES)), 0
    while count := file.readinto(buffer):  # type: ignore[attr-defined]  # the stubs lack it
        for hasher in hashers:
            hasher.update(buffer[:count])
        size += count
    return size
