"""Stores what a session holds as blobs, and says what there is in a manifest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from jupyter_mlsvc_server.formats.fingerprints import Known, marker
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
from jupyter_mlsvc_server.snapshots.errors import CaptureFailed, SnapshotTooLarge
from jupyter_mlsvc_server.snapshots.settled import Moment, Sighting
from jupyter_mlsvc_server.storage.blobs import Blob, BlobStore, feed
from jupyter_mlsvc_server.storage.staging import Staging

_log = logging.getLogger("jupyter_mlsvc_server.snapshots")


class SessionPort(Protocol):
    """What is needed of a session."""

    id: str
    owner: str
    runtime_type: str
    directory: Path

    async def call_agent(self, op: str, data: dict[str, Any]) -> dict[str, Any]:
        """Let the helper in the kernel do something (see ``kernel.agent``)."""


class Stored:
    """What is stored of a session already, so that it need not be stored again.

    Attributes
    ----------
    seed : int
        Of this session's marks.
    blobs : Mapping
        Buffers and files of its last snapshot by their marks; see ``formats.fingerprints``.
    files : Mapping
        Those of its files that need not be read again as long as they are the same.
    """

    def __init__(self) -> None:
        self.seed = secrets.randbits(63)
        self.blobs: Mapping[str, Blob] = {}
        self.files: Mapping[Identity, Sighting] = {}


class Intake:
    """Takes in one session's workspace and files.

    Parameters
    ----------
    blobs
        Where the parts go.
    staging
        Where the kernel writes.
    limit
        Bytes that a snapshot may hold; 0 for any number.
    stored
        What is known of the session; brought up to date.

    Attributes
    ----------
    digests : set of str
        What must not be deleted although nothing refers to it yet.
    """

    def __init__(self, *, blobs: BlobStore, staging: Staging, limit: int, stored: Stored) -> None:
        self.digests: set[str] = set()
        self._blobs = blobs
        self._staging = staging
        self._limit = limit
        self._stored = stored
        self._known: dict[str, Blob] = {}
        self._known_sizes: set[int] = set()
        self._marked: dict[str, Blob] = {}
        self._sighted: dict[Identity, Sighting] = {}
        self._counted: set[str] = set()
        self._size = 0

    async def take(self, session: SessionPort) -> Manifest:
        """Store everything.

        Raises
        ------
        CaptureFailed
            The kernel did not write what it should have.
        SnapshotTooLarge
            There is more than the limit.
        """
        await self._find_known()
        report, stream, buffers = await self._take_workspace(session)
        files, skipped_files = await self._take_files(session.directory)
        self._stored.blobs, self._stored.files = self._marked, self._sighted
        return Manifest(
            runtime_type=session.runtime_type,
            workspace=report.workspace,
            stream=stream,
            buffers=tuple(buffers),
            files=tuple(files),
            skipped_files=tuple(skipped_files),
        )

    async def _take_workspace(
        self, session: SessionPort
    ) -> tuple[CaptureReport, BlobEntry, list[BlobEntry]]:
        known = Known(
            seed=self._stored.seed, sizes={mark: blob.size for mark, blob in self._known.items()}
        )
        staging = await asyncio.to_thread(self._staging.folder)
        try:
            answer = await session.call_agent(
                "capture", {"staging": str(staging), "known": msgspec.to_builtins(known)}
            )
            report = msgspec.convert(answer["report"], CaptureReport)
            stream = self._entry(await self._blobs.ingest(staging / STREAM))
            return report, stream, await self._take_buffers(staging / BUFFERS, report)
        except (OSError, msgspec.ValidationError, KeyError) as error:
            _log.warning("session %s could not be captured: %s", session.id, error)
            raise CaptureFailed from error
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)

    async def _find_known(self) -> None:
        """Find what is still there of the last snapshot, and keep it there."""
        before = self._stored.blobs
        self.digests.update(blob.digest for blob in before.values())
        there = await self._blobs.renew(before.values())
        self._known = {mark: blob for mark, blob in before.items() if blob in there}
        self._known_sizes = {blob.size for blob in there}

    async def _take_buffers(self, folder: Path, report: CaptureReport) -> list[BlobEntry]:
        entries = []
        for number in map(str, range(len(report.buffer_sizes))):
            mark = report.marks.get(number)
            if mark is not None:
                blob = self._known[mark]
            else:
                hasher = marker(self._stored.seed)
                blob = await self._blobs.ingest(folder / number, hasher)
                mark = hasher.hexdigest()
            self._marked[mark] = blob
            entries.append(self._entry(blob))
        return entries

    async def _take_files(self, directory: Path) -> tuple[list[FileEntry], list[SkippedFile]]:
        files: list[FileEntry] = []
        skipped: list[SkippedFile] = []
        begun = await asyncio.to_thread(Moment.at, directory)
        found = walk(directory)
        with contextlib.closing(found):
            while (item := await asyncio.to_thread(next, found, None)) is not None:
                if isinstance(item, SkippedFile):
                    skipped.append(item)
                else:
                    files.append(await self._take_copy(item, begun))
        return files, skipped

    async def _take_copy(self, found: FoundFile, begun: Moment) -> FileEntry:
        mark = self._unread_copy(found, begun) or await self._read_copy(found, begun)
        blob = self._marked[mark]
        self._count(blob)
        return FileEntry(
            path=found.identity.path,
            digest=blob.digest,
            size=blob.size,
            executable=found.executable,
        )

    def _unread_copy(self, found: FoundFile, begun: Moment) -> str | None:
        """Give the mark of a file that is the same as in the last snapshot, without reading it."""
        seen = self._stored.files.get(found.identity)
        if seen is None or seen.mark not in self._known or not begun.is_after(seen.moment):
            return None
        self._sighted[found.identity] = seen
        self._marked[seen.mark] = self._known[seen.mark]
        return seen.mark

    async def _read_copy(self, found: FoundFile, begun: Moment) -> str:
        settled = await asyncio.to_thread(begun.is_settled, found)
        mark = await self._known_copy(found) or await self._new_copy(found)
        if settled:
            self._sighted[found.identity] = Sighting(mark, begun)
        return mark

    async def _known_copy(self, found: FoundFile) -> str | None:
        """Give the mark of a file whose content is in the last snapshot."""
        if found.identity.size not in self._known_sizes:
            return None
        hasher = marker(self._stored.seed)
        size = await asyncio.to_thread(feed, found.stream, hasher)
        found.stream.seek(0)
        blob = self._known.get(mark := hasher.hexdigest())
        if blob is None or blob.size != size:
            return None
        self._marked[mark] = blob
        return mark

    async def _new_copy(self, found: FoundFile) -> str:
        limit = self._limit - self._size if self._limit else None
        hasher = marker(self._stored.seed)
        try:
            blob = await self._blobs.ingest_copy(found.stream, limit, hasher)
        except OverflowError:
            raise SnapshotTooLarge(self._limit) from None
        mark = hasher.hexdigest()
        self._marked[mark] = blob
        return mark

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
