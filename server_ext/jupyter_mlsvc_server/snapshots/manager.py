"""Manager of snapshots: creates, loads, lists and deletes them, and collects unused blobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final
from weakref import WeakKeyDictionary

import msgspec
from traitlets import Float, Integer, default
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import Action, may, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.events.record import EventAction, PublishEvent, drop_event
from jupyter_mlsvc_server.formats.blobs import DamagedBlob
from jupyter_mlsvc_server.formats.files import write_files
from jupyter_mlsvc_server.formats.manifest import BlobEntry, Manifest, ObjectEntry, Workspace
from jupyter_mlsvc_server.formats.shown_paths import without_paths
from jupyter_mlsvc_server.snapshots.archive import archive_size, zip_stream
from jupyter_mlsvc_server.snapshots.contents import members
from jupyter_mlsvc_server.snapshots.errors import (
    ContentDamaged,
    ContentNotFound,
    FilesCannotBeWritten,
    InvalidSnapshotName,
    OtherRuntime,
    QuotaExceeded,
    SnapshotNotFound,
)
from jupyter_mlsvc_server.snapshots.ingest import Ingest, SessionCache, SessionPort
from jupyter_mlsvc_server.snapshots.record import Content, SnapshotRecord
from jupyter_mlsvc_server.snapshots.store import SnapshotStore
from jupyter_mlsvc_server.snapshots.unpacking import Unpacking
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.clock import now_text, to_text
from jupyter_mlsvc_server.storage.copying import Blob
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.machine_faults import machine_fault
from jupyter_mlsvc_server.storage.paths import FolderPath, default_data_dir
from jupyter_mlsvc_server.storage.staging import Staging

__all__ = ["MAX_NAME", "SessionPort", "SnapshotManager"]

MAX_NAME: Final = 255


class SnapshotManager(LoggingConfigurable):
    """Manager of snapshots, which hold the workspaces and files of sessions.

    A snapshot is a row that points to a content; a service points to the content as well. Blobs
    come first and the rows last, in one transaction, so there is a whole snapshot or none.
    """

    data_dir = FolderPath(help="Folder of everything that the server keeps.")
    max_snapshot_bytes = Integer(
        16 * 2**30, min=0, help="Largest snapshot, in bytes. 0 sets no limit."
    ).tag(config=True)
    max_bytes_per_user = Integer(
        64 * 2**30,
        min=0,
        help="Bytes that all snapshots of one person may hold together. 0 sets no limit.",
    ).tag(config=True)
    max_snapshots_per_user = Integer(
        1000, min=0, help="Snapshots that one person may have. 0 sets no limit."
    ).tag(config=True)
    max_archive_files = Integer(
        20_000,
        min=1,
        help="Files, with those of buffers, that an archive may have which is sent as a snapshot.",
    ).tag(config=True)
    max_archive_ratio = Integer(
        100,
        min=1,
        help="How many times its size an archive that is sent may unpack to, from 64 MiB on.",
    ).tag(config=True)
    collect_interval = Float(
        3600.0,
        min=0,
        help="Seconds between two searches for what no snapshot and no service has any more. "
        "0 searches after each deletion only. The first one comes after so many seconds. While the "
        "disk is short of room each deletion searches.",
    ).tag(config=True)
    hold_seconds = Float(
        600.0,
        min=0,
        help="Seconds that a content is kept after it was last looked at, even if its snapshot is "
        "deleted meanwhile: a service may be about to be made from it.",
    ).tag(config=True)

    @default("data_dir")
    def _default_data_dir(self) -> Path:
        return default_data_dir()

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        require_room: Callable[[], None] = lambda: None,
        publish_event: PublishEvent = drop_event,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._publish_event = publish_event
        self._store = SnapshotStore(database=database)
        self._is_shared = database.kind != "sqlite"
        self._blobs = blobs
        self._staging = Staging(self.data_dir, require_room=require_room)
        self._ingests: set[Ingest | Unpacking] = set()
        self._caches: WeakKeyDictionary[SessionPort, SessionCache] = WeakKeyDictionary()
        self._looked_at: dict[str, float] = {}
        self._renewed_at: dict[str, float] = {}
        self._collecting = asyncio.Lock()
        self._collector: asyncio.Task[None] | None = None

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Remove the staging folders of killed servers, and plan to collect unused blobs.

        Nothing is collected yet: what the database refers to shows first in what the server does.
        """
        await asyncio.to_thread(self._staging.open)
        await self._blobs.open()
        if self.collect_interval and self._collector is None:
            self._collector = asyncio.create_task(self._collect_for_ever())

    async def stop(self) -> None:
        """Stop collecting; may be called twice."""
        if self._collector is not None:
            self._collector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._collector
            self._collector = None
        await asyncio.to_thread(self._staging.close)
        await self._blobs.close()

    # --- what a person does ------------------------------------------------------------------

    async def create(
        self, principal: Principal, session: SessionPort, name: str | None = None
    ) -> models.CreateSnapshotResponse:
        """Store the workspace and working directory of a session (contract: ``createSnapshot``).

        Parameters
        ----------
        principal
            Who is to own the snapshot.
        session
            A session of theirs.
        name
            What to call it; the names of two snapshots may be the same. By default the date.

        Raises
        ------
        InvalidSnapshotName, SnapshotTooLarge, QuotaExceeded, CaptureFailed
            Nothing was kept.
        """
        _require_name(name)
        ingest = Ingest(
            blobs=self._blobs,
            staging=self._staging,
            limit=self.max_snapshot_bytes,
            cache=self._caches.setdefault(session, SessionCache()),
        )
        with self._arriving(ingest):
            manifest = await ingest.run(session)
            await self._require_room(principal, manifest)
            return await self._insert(principal, manifest, name, f"session {session.id}")

    async def upload(
        self, principal: Principal, archive: BinaryIO, name: str | None = None
    ) -> models.CreateSnapshotResponse:
        """Store a snapshot from an archive of this or another server (our addition).

        Nothing in it is run: that is left to sessions and services which load it.

        Parameters
        ----------
        principal
            Who is to own the snapshot.
        archive
            The zip archive.
        name
            As for :meth:`create`.

        Raises
        ------
        InvalidSnapshotName, InvalidArchive, SnapshotTooLarge, QuotaExceeded
            Nothing was kept.
        """
        require(principal, Action.USE_SNAPSHOTS, principal.owner, "upload snapshots")
        _require_name(name)
        unpacking = Unpacking(
            blobs=self._blobs,
            limit=self.max_snapshot_bytes,
            most_files=self.max_archive_files,
            most_ratio=self.max_archive_ratio,
        )
        with self._arriving(unpacking):
            manifest = await unpacking.manifest(archive)
            await self._require_room(principal, manifest)
            await unpacking.store(archive, manifest)
            return await self._insert(principal, manifest, name, "an archive")

    async def load(self, principal: Principal, snapshot_id: str, session: SessionPort) -> str:
        """Load a snapshot over what a session has (contract: ``loadSnapshot``).

        Objects and files of the same names are overwritten, others stay.

        Returns
        -------
        str
            A sentence for the person: what came back, and what did not.

        Raises
        ------
        SnapshotNotFound, OtherRuntime, FilesCannotBeWritten, ContentDamaged
            No object was loaded.
        """
        record = await self.get(principal, snapshot_id)
        if record.runtime_type != session.runtime_type:
            raise OtherRuntime(record.runtime_type, session.runtime_type)
        content = await self.content(record.content_id)
        manifest = content.manifest
        workspace = msgspec.to_builtins(manifest.workspace)
        checked = await session.call_agent("check", {"workspace": workspace})
        try:
            await asyncio.to_thread(
                write_files, manifest.files, content.path, session.directory, session.user
            )
        except OSError as error:
            reason = without_paths(_what_is_wrong(error), [str(session.directory)])
            raise machine_fault(error) or FilesCannotBeWritten(reason) from error
        request = {"manifest": msgspec.to_builtins(manifest)}
        digests = manifest.workspace_digests
        async with self._blobs.lent(digests, session.readable, session.user) as lent:
            answer = await session.call_agent("restore", {**request, "blobs": str(lent)})
        self.log.info("loaded snapshot %s into session %s", snapshot_id, session.id)
        return _loaded(answer, len(manifest.files), checked["warnings"])

    async def list(self, principal: Principal) -> list[models.Snapshot]:
        """List a person's snapshots, oldest first (contract: ``listSnapshots``)."""
        rows = await self._store.list(principal.id)
        return [
            models.Snapshot(
                id=record.id,
                name=record.name,
                owner=record.owner.name,
                creation_time=record.created_at,
                content_size=record.content_size,
                runtime_type=record.runtime_type,
                skipped=_shown(skipped),
            )
            for record, skipped in rows
        ]

    async def get(self, principal: Principal, snapshot_id: str) -> SnapshotRecord:
        """Return a snapshot of a person's own.

        Raises
        ------
        SnapshotNotFound
            There is none, or it is another person's.
        """
        record = await self.find(snapshot_id)
        if record is None or not may(principal, Action.USE_SNAPSHOTS, record.owner):
            raise SnapshotNotFound(snapshot_id)
        return record

    async def delete(self, principal: Principal, snapshot_id: str) -> None:
        """Delete a snapshot; services made from it keep working (contract: ``deleteSnapshot``).

        Raises
        ------
        SnapshotNotFound
            There is none, or it is another person's.
        """
        record = await self.get(principal, snapshot_id)
        if not await self._store.delete(record.id, record.owner.id):
            raise SnapshotNotFound(snapshot_id)
        self._publish_event(record.change(EventAction.DELETED))
        self.log.info("deleted snapshot %s of %s", record.id, record.owner.name)
        await self.collect_after_deletion()

    async def zip_stream(self, principal: Principal, snapshot_id: str) -> AsyncGenerator[bytes]:
        """Return a snapshot as an archive, in pieces (contract: ``getSnapshotContent``).

        Raises
        ------
        SnapshotNotFound
            There is none, or it is another person's.
        ContentDamaged
            It could not be sent as it was taken.
        """
        record = await self.get(principal, snapshot_id)
        return zip_stream(await self.content(record.content_id))

    async def archive_size(self, principal: Principal, snapshot_id: str) -> int:
        """Return the size of what :meth:`zip_stream` gives, in bytes; raises as that."""
        record = await self.get(principal, snapshot_id)
        return archive_size(await self._manifest(record.content_id))

    async def contents(self, principal: Principal, snapshot_id: str) -> models.SnapshotContents:
        """Return the contents of a snapshot, and the services that hold the same (our addition).

        Raises
        ------
        SnapshotNotFound
            There is none, or it is another person's.
        """
        record = await self.get(principal, snapshot_id)
        manifest = await self._manifest(record.content_id)
        holders = await self._store.services_with(record.content_id)
        return models.SnapshotContents(
            id=record.id,
            name=record.name,
            owner=record.owner.name,
            creation_time=record.created_at,
            content_size=record.content_size,
            services=[models.NamedVersion(name=name, version=version) for name, version in holders],
            **members(manifest),
        )

    # --- what services need ------------------------------------------------------------------

    async def find(self, snapshot_id: str) -> SnapshotRecord | None:
        """Return a snapshot, whoever owns it."""
        record = await self._store.find(snapshot_id)
        if record is not None:
            await self._look_at(record.content_id)
        return record

    async def manifest(self, content_id: str) -> Manifest:
        """Return what a content holds, without looking at its blobs.

        Raises
        ------
        ContentNotFound
            There is none of that id (any more).
        """
        return await self._manifest(content_id)

    async def content(self, content_id: str) -> Content:
        """Return the content of a snapshot or service, whose blobs are whole.

        Blobs are read when they are asked for the first time since the server started, or since
        they changed.

        Raises
        ------
        ContentNotFound
            There is none of that id (any more).
        ContentDamaged
            A part of it is not what was stored.
        """
        manifest = await self._manifest(content_id)
        try:
            blobs = await self._blobs.hold(manifest.digests)
        except DamagedBlob as damage:
            raise ContentDamaged(manifest.part(damage.digest), str(damage)) from damage
        return Content(content_id, manifest, blobs)

    async def add_content(
        self, runtime_type: str, workspace: Workspace, stream: bytes, buffers: Sequence[Path]
    ) -> str:
        """Store a service's content that was never in a session, and return its id.

        Parameters
        ----------
        runtime_type, workspace
            What the manifest says of it.
        stream, buffers
            Pickled objects, and files with the buffers that they refer to, which are moved.
        """
        manifest = Manifest(
            runtime_type=runtime_type,
            workspace=workspace,
            stream=_entry(await self._blobs.put(stream)),
            buffers=tuple([_entry(await self._blobs.ingest(buffer)) for buffer in buffers]),
        )
        # Until then the grace time of its blobs keeps them.
        return await self._store.insert_content(manifest, now_text(), self._hold)

    async def collect(self) -> None:
        """Delete contents that nothing has, and put blobs that no content has into the trash."""
        async with self._collecting:
            since = time.monotonic() - self.hold_seconds
            self._looked_at = {key: at for key, at in self._looked_at.items() if at > since}
            self._renewed_at = {key: at for key, at in self._renewed_at.items() if at > since}
            # Others renew what they look at once in half of the time.
            before = to_text(datetime.now(UTC) - timedelta(seconds=1.5 * self.hold_seconds))
            used = await self._store.delete_unused(lambda: list(self._looked_at), before)
            arriving = [ingest.digests for ingest in self._ingests]
            await self._blobs.collect(used.union(*arriving))

    async def collect_after_deletion(self) -> None:
        """Collect where nothing else does, and where room is wanted.

        A search looks at all that is stored. What was deleted just now is kept for
        ``hold_seconds`` anyway, so the next one by the clock finds as much.
        """
        if not self.collect_interval or self._blobs.is_disk_short():
            await self.collect()

    # --- inside ------------------------------------------------------------------------------

    async def _manifest(self, content_id: str) -> Manifest:
        await self._look_at(content_id)
        manifest = await self._store.manifest(content_id)
        if manifest is None:
            raise ContentNotFound
        return manifest

    async def _insert(
        self, principal: Principal, manifest: Manifest, name: str | None, origin: str
    ) -> models.CreateSnapshotResponse:
        """Store the row of a snapshot whose blobs are stored."""
        record = SnapshotRecord(
            id=str(uuid.uuid4()),
            name=name or f"Snapshot {datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            owner=principal.owner,
            runtime_type=manifest.runtime_type,
            content_id=str(uuid.uuid4()),
            content_size=archive_size(manifest),
            created_at=now_text(),
        )
        await self._store.insert(
            record, manifest, quota=self.max_bytes_per_user, most=self.max_snapshots_per_user
        )
        self._publish_event(record.change(EventAction.CREATED))
        self.log.info(
            "snapshot %s of %s owner=%s bytes=%d objects=%d skipped=%d",
            *(record.id, origin, principal.name, record.content_size),
            *(len(manifest.workspace.objects), len(manifest.skipped)),
        )
        skipped = _shown(manifest.skipped)
        return models.CreateSnapshotResponse(snapshot_id=record.id, skipped=skipped)

    @contextlib.contextmanager
    def _arriving(self, ingest: Ingest | Unpacking) -> Iterator[None]:
        """Keep the blobs of an ingest until a manifest refers to them."""
        self._ingests.add(ingest)
        try:
            yield
        finally:
            self._ingests.discard(ingest)

    async def _look_at(self, content_id: str) -> None:
        """Keep a content for a while, from other servers of the database as well."""
        self._hold(content_id)
        now = time.monotonic()
        renewed_at = self._renewed_at.get(content_id, float("-inf"))
        if self._is_shared and now - renewed_at > self.hold_seconds / 2:
            await self._store.renew(content_id, now_text())
            self._renewed_at[content_id] = now

    def _hold(self, content_id: str) -> None:
        self._looked_at[content_id] = time.monotonic()

    async def _collect_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.collect_interval)
            try:
                await self.collect()
            except Exception:
                self.log.exception("unused snapshots could not be collected")

    async def _require_room(self, principal: Principal, manifest: Manifest) -> None:
        quota = self.max_bytes_per_user
        if quota and await self._store.size(principal.id) + manifest.size > quota:
            raise QuotaExceeded(quota)


def _entry(blob: Blob) -> BlobEntry:
    return BlobEntry(digest=blob.digest, size=blob.size)


def _require_name(name: str | None) -> None:
    if name and len(name) > MAX_NAME:
        raise InvalidSnapshotName(MAX_NAME)


def _shown(skipped: tuple[ObjectEntry, ...]) -> list[models.SkippedObject]:
    return [
        models.SkippedObject(name=entry.name, type=entry.type, reason=entry.reason)
        for entry in skipped
    ]


def _what_is_wrong(error: OSError) -> str:
    name = error.filename or ""
    return f"{name}: {error.strerror or error}" if name else str(error.strerror or error)


def _loaded(answer: dict[str, Any], files: int, warnings: list[str]) -> str:
    """Return the sentence that says which objects and files came back."""
    lost = [f"{name} is missing: {reason}" for name, reason in answer["lost"].items()]
    counts = f"Loaded {_count(len(answer['names']), 'object')} and {_count(files, 'file')}."
    return " ".join([counts, *lost, *warnings])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
