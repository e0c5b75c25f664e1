"""Stores what a session holds as blobs, and says what there is in a manifest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any, Protocol

import msgspec

from jupyter_mlsvc_server.runtime.manifest import (
    BUFFERS,
    STREAM,
    BlobEntry,
    CaptureReport,
    FileEntry,
    Manifest,
    SkippedFile,
)
from jupyter_mlsvc_server.snapshots.directory import FoundFile, walk
from jupyter_mlsvc_server.snapshots.errors import CaptureFailed, SnapshotTooLarge
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.staging import Staging

_log = logging.getLogger("jupyter_mlsvc_server.snapshots")


class SessionPort(Protocol):
    """What is needed of a session."""

    id: str
    owner: str
    runtime_type: str
    directory: Path

    async def call_agent(
        self, op: str, data: dict[str, Any], buffers: list[bytes] | None = None
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Let the helper in the kernel do something (see ``runtime.agent``)."""


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

    Attributes
    ----------
    digests : set of str
        What was stored so far and must not be deleted although nothing refers to it yet.
    """

    def __init__(self, *, blobs: BlobStore, staging: Staging, limit: int) -> None:
        self.digests: set[str] = set()
        self._blobs = blobs
        self._staging = staging
        self._limit = limit
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
        report, stream, buffers = await self._take_workspace(session)
        files, skipped_files = await self._take_files(session.directory)
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
        staging = await asyncio.to_thread(self._staging.folder)
        try:
            answer, _ = await session.call_agent("capture", {"staging": str(staging)})
            report = msgspec.convert(answer["report"], CaptureReport)
            stream = await self._take_file(staging / STREAM)
            paths = (staging / BUFFERS / str(n) for n in range(len(report.buffer_sizes)))
            return report, stream, [await self._take_file(path) for path in paths]
        except (OSError, msgspec.ValidationError, KeyError) as error:
            _log.warning("session %s could not be captured: %s", session.id, error)
            raise CaptureFailed from error
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)

    async def _take_file(self, path: Path) -> BlobEntry:
        blob = await self._blobs.ingest(path)
        self._count(blob.digest, blob.size)
        return BlobEntry(digest=blob.digest, size=blob.size)

    async def _take_files(self, directory: Path) -> tuple[list[FileEntry], list[SkippedFile]]:
        files: list[FileEntry] = []
        skipped: list[SkippedFile] = []
        found = walk(directory)
        with contextlib.closing(found):
            while (item := await asyncio.to_thread(next, found, None)) is not None:
                if isinstance(item, SkippedFile):
                    skipped.append(item)
                else:
                    files.append(await self._take_copy(item))
        return files, skipped

    async def _take_copy(self, found: FoundFile) -> FileEntry:
        limit = self._limit - self._size if self._limit else None
        try:
            blob = await self._blobs.ingest_copy(found.stream, limit)
        except OverflowError:
            raise SnapshotTooLarge(self._limit) from None
        self._count(blob.digest, blob.size)
        return FileEntry(
            path=found.path, digest=blob.digest, size=blob.size, executable=found.executable
        )

    def _count(self, digest: str, size: int) -> None:
        if digest not in self.digests:
            self.digests.add(digest)
            self._size += size
        if self._limit and self._size > self._limit:
            raise SnapshotTooLarge(self._limit)
