"""Ingest of a session: stores its workspace and files as blobs, and returns the manifest."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from jupyter_mlsvc_server.formats.fingerprints import Known, fingerprint_hasher
from jupyter_mlsvc_server.formats.manifest import (
    BUFFERS,
    STREAM,
    BlobEntry,
    CaptureReport,
    FileEntry,
    Manifest,
    SkippedFile,
)
from jupyter_mlsvc_server.snapshots.directory import FoundFile, Identity, walk
from jupyter_mlsvc_server.snapshots.errors import CaptureFailed, DirectoryLost, SnapshotTooLarge
from jupyter_mlsvc_server.snapshots.stat_cache import CachedFingerprint, ScanTime
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob, feed
from jupyter_mlsvc_server.storage.machine_faults import machine_fault
from jupyter_mlsvc_server.storage.staging import Staging

T = TypeVar("T")

_AT_ONCE: Final = 64
"""Files that are taken in before a caller who has left is noticed."""

_log = logging.getLogger("jupyter_mlsvc_server.snapshots")


class SessionPort(Protocol):
    """Part of a session that an ingest needs."""

    id: str
    runtime_type: str
    directory: Path
    readable: Path
    user: int
    """The user that it runs as; 0 for the server's own."""

    async def call_agent(self, op: str, data: dict[str, Any]) -> dict[str, Any]:
        """Send an operation to the agent in the kernel (see ``kernel.agent``)."""


class SessionCache:
    """Fingerprints and blobs of a session's last snapshot, so that no content is stored twice.

    Attributes
    ----------
    seed : int
        Of this session's fingerprints.
    blobs : Mapping
        Buffers and files of its last snapshot by their fingerprints; see ``formats.fingerprints``.
    files : Mapping
        Those of its files that need not be read again as long as they are the same.
    """

    def __init__(self) -> None:
        self.seed = secrets.randbits(63)
        self.blobs: Mapping[str, Blob] = {}
        self.files: Mapping[Identity, CachedFingerprint] = {}


class Ingest:
    """Ingest of one session's workspace and files.

    Parameters
    ----------
    blobs
        Store of the blobs.
    staging
        Folder that the kernel writes to.
    limit
        Bytes that a snapshot may hold; 0 for any number.
    cache
        Cache of the session; the ingest brings it up to date.

    Attributes
    ----------
    digests : set of str
        Blobs that must not be deleted although no manifest refers to them yet.
    """

    def __init__(
        self, *, blobs: BlobStore, staging: Staging, limit: int, cache: SessionCache
    ) -> None:
        self.digests: set[str] = set()
        self._blobs = blobs
        self._staging = staging
        self._limit = limit
        self._cache = cache
        self._known: dict[str, Blob] = {}
        self._known_sizes: set[int] = set()
        self._fingerprinted: dict[str, Blob] = {}
        self._cached: dict[Identity, CachedFingerprint] = {}
        self._counted: set[str] = set()
        self._size = 0

    async def run(self, session: SessionPort) -> Manifest:
        """Store the session's workspace and files, and return their manifest.

        Raises
        ------
        CaptureFailed
            The kernel did not write what it should have.
        SnapshotTooLarge
            There is more than the limit.
        """
        await self._find_known()
        report, stream, buffers = await self._ingest_workspace(session)
        files, skipped_files = await self._ingest_files(session.directory)
        self._cache.blobs, self._cache.files = self._fingerprinted, self._cached
        return Manifest(
            runtime_type=session.runtime_type,
            workspace=report.workspace,
            stream=stream,
            buffers=tuple(buffers),
            files=tuple(files),
            skipped_files=tuple(skipped_files),
        )

    async def _ingest_workspace(
        self, session: SessionPort
    ) -> tuple[CaptureReport, BlobEntry, list[BlobEntry]]:
        known = Known(
            seed=self._cache.seed, sizes={key: blob.size for key, blob in self._known.items()}
        )
        staging = await asyncio.to_thread(self._staging.folder)
        try:
            answer = await session.call_agent(
                "capture", {"staging": str(staging), "known": msgspec.to_builtins(known)}
            )
            report = msgspec.convert(answer["report"], CaptureReport)
            stream = self._entry(await self._blobs.ingest(staging / STREAM))
            return report, stream, await self._ingest_buffers(staging / BUFFERS, report)
        except (OSError, msgspec.ValidationError, KeyError) as error:
            _log.warning("session %s could not be captured: %s", session.id, error)
            raise machine_fault(error) or CaptureFailed() from error
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)

    async def _find_known(self) -> None:
        """Find the blobs of the last snapshot that are still there, and renew them."""
        before = self._cache.blobs
        self.digests.update(blob.digest for blob in before.values())
        there = await self._blobs.renew(before.values())
        self._known = {fingerprint: blob for fingerprint, blob in before.items() if blob in there}
        self._known_sizes = {blob.size for blob in there}

    async def _ingest_buffers(self, folder: Path, report: CaptureReport) -> list[BlobEntry]:
        if await asyncio.to_thread(folder.is_symlink):
            raise OSError(f"{folder.name} is no folder")
        entries = []
        for number in map(str, range(len(report.buffer_sizes))):
            fingerprint = report.marks.get(number)
            if fingerprint is not None:
                blob = self._known[fingerprint]
            else:
                hasher = fingerprint_hasher(self._cache.seed)
                blob = await self._blobs.ingest(folder / number, hasher)
                fingerprint = hasher.hexdigest()
            self._fingerprinted[fingerprint] = blob
            entries.append(self._entry(blob))
        return entries

    async def _ingest_files(self, directory: Path) -> tuple[list[FileEntry], list[SkippedFile]]:
        self._files: list[FileEntry] = []
        self._skipped: list[SkippedFile] = []
        try:
            self._scan_time = await asyncio.to_thread(ScanTime.at, directory)
        except OSError as error:
            raise machine_fault(error) or DirectoryLost() from error
        found, intake = walk(directory), Intake()
        try:
            while await _in_thread(lambda: self._take_some(found, intake)):
                pass
            await self._blobs.settle(intake)
        finally:
            found.close()
            await self._blobs.give_up(intake)
        return self._files, self._skipped

    def _take_some(self, found: Iterator[FoundFile | SkippedFile], intake: Intake) -> bool:
        """Take the next files in, in the thread that calls; returns whether there may be more."""
        for _ in range(_AT_ONCE):
            item = _next(found)
            if item is None:
                return False
            if isinstance(item, SkippedFile):
                self._skipped.append(item)
            else:
                self._files.append(self._take(item, intake))
        return True

    def _take(self, found: FoundFile, intake: Intake) -> FileEntry:
        fingerprint = self._find_cached(found) or self._read_file(found, intake)
        blob = self._fingerprinted[fingerprint]
        self._count(blob)
        return FileEntry(
            path=found.identity.path,
            digest=blob.digest,
            size=blob.size,
            executable=found.executable,
        )

    def _find_cached(self, found: FoundFile) -> str | None:
        """Return the fingerprint of an unchanged file without reading it; None for any other."""
        seen = self._cache.files.get(found.identity)
        if (
            seen is None
            or seen.fingerprint not in self._known
            or not self._scan_time.is_after(seen.scan_time)
        ):
            return None
        self._cached[found.identity] = seen
        self._fingerprinted[seen.fingerprint] = self._known[seen.fingerprint]
        return seen.fingerprint

    def _read_file(self, found: FoundFile, intake: Intake) -> str:
        is_cacheable = self._scan_time.is_cacheable(found)
        fingerprint = self._find_known_content(found) or self._store_file(found, intake)
        if is_cacheable:
            self._cached[found.identity] = CachedFingerprint(fingerprint, self._scan_time)
        return fingerprint

    def _find_known_content(self, found: FoundFile) -> str | None:
        """Return the fingerprint of a file whose content is in the last snapshot."""
        if found.identity.size not in self._known_sizes:
            return None
        hasher = fingerprint_hasher(self._cache.seed)
        size = feed(found.stream, hasher)
        found.stream.seek(0)
        blob = self._known.get(fingerprint := hasher.hexdigest())
        if blob is None or blob.size != size:
            return None
        self._fingerprinted[fingerprint] = blob
        return fingerprint

    def _store_file(self, found: FoundFile, intake: Intake) -> str:
        limit = self._limit - self._size if self._limit else None
        hasher = fingerprint_hasher(self._cache.seed)
        try:
            blob = self._blobs.take_in(intake, found.stream, limit, hasher)
        except OverflowError:
            raise SnapshotTooLarge(self._limit) from None
        fingerprint = hasher.hexdigest()
        self._fingerprinted[fingerprint] = blob
        return fingerprint

    def _entry(self, blob: Blob) -> BlobEntry:
        self._count(blob)
        return BlobEntry(digest=blob.digest, size=blob.size)

    def _count(self, blob: Blob) -> None:
        self.digests.add(blob.digest)
        if blob.digest not in self._counted:
            self._counted.add(blob.digest)
            self._size += blob.size
        if self._limit and self._size > self._limit:
            raise SnapshotTooLarge(self._limit)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run work in a thread; who cancels waits until it has ended, as a thread can't be stopped."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _next(found: Iterator[FoundFile | SkippedFile]) -> FoundFile | SkippedFile | None:
    try:
        return next(found, None)
    except OSError as error:
        raise machine_fault(error) or DirectoryLost() from error
