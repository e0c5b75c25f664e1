"""Blobs that several servers share: an object store, and a cache of it on the local disk.

A blob is written to the local disk first, as without an object store, and then uploaded; only then
does whoever stored it learn its name. So a row of the database never names a blob that the others
can't have. What a process is to read is downloaded to the local disk, checked and kept there for
as long as it is in use. The rest of the cache goes when there is too much: what was used least
recently first, and nothing before the object store has it.

Servers need not know of each other when they collect. A blob that is old, and that no row names,
moves to the trash of the object store. Who needs it after all finds it there. It is deleted when
it has been there for longer than a server may take from storing a blob to naming it in a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from weakref import WeakValueDictionary

from jupyter_mlsvc_server.formats.blobs import DamagedBlob, LocalBlobs, Stamp
from jupyter_mlsvc_server.formats.private_files import write_atomic
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob, Hasher
from jupyter_mlsvc_server.storage.installation import ID_FILE
from jupyter_mlsvc_server.storage.machine_faults import ObjectStoreUnavailable
from jupyter_mlsvc_server.storage.object_store import ObjectStore, StoredObject

T = TypeVar("T")

_REQUESTS: Final = 16
"""Requests to the object store at a time."""
_FILLED: Final = 0.9
"""Share of the cache that is filled after blobs had to make room."""
_DIGEST_LENGTH: Final = 64
UPLOADED: Final = "object-store.url"
"""File of the data folder with the URL of the object store that has all of its blobs."""


def make_blob_store(**kwargs: Any) -> BlobStore:
    """Return the store that the settings name; the arguments are those of :class:`BlobStore`."""
    local = BlobStore(**kwargs)
    return SharedBlobStore(**kwargs) if local.url else local


class SharedBlobStore(BlobStore):
    """Keeps blobs in an object store, and those that are in use on the local disk as well.

    Parameters
    ----------
    objects
        The object store; that of the URL by default.
    """

    def __init__(self, *, objects: ObjectStore | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._given = objects
        self._threads: ThreadPoolExecutor | None = None
        self._uploaded: dict[str, float] = {}
        """When each blob was seen in the object store, or put there."""
        self._held: WeakValueDictionary[int, LocalBlobs] = WeakValueDictionary()
        self._hold_numbers = itertools.count()
        self._cached_bytes = 0
        self._uploading: Counter[str] = Counter()
        self._damaged: set[str] = set()
        """Blobs that the object store has got wrong: the next good content replaces them."""
        self._making_room = threading.Lock()

    async def open(self) -> None:
        """Find the object store, and upload what is on the local disk only.

        Raises
        ------
        UnusableObjectStore
            It can't be used, or has the blobs of another installation.
        """
        self._threads = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="mlsvc-objects")
        if self._given is None:
            self._given = await asyncio.to_thread(ObjectStore.at, self.url, self.log)
        installation = await asyncio.to_thread((self.data_dir / ID_FILE).read_text, "ascii")
        await asyncio.to_thread(self._objects.require, installation.strip())
        await super().open()
        await asyncio.to_thread(self._upload_all)

    async def close(self) -> None:
        """Leave the stamps, and let requests end; may be called twice."""
        await super().close()
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)

    async def probe(self) -> None:
        """Ask the object store for something small."""
        await asyncio.to_thread(self._objects.probe)

    @property
    def _objects(self) -> ObjectStore:
        if self._given is None:
            raise RuntimeError("The blob store is not open: call open() first.")
        return self._given

    # --- storing -----------------------------------------------------------------------------

    async def ingest(self, path: Path, *others: Hasher) -> Blob:
        """Move a file of the same file system into the store."""
        blob = await super().ingest(path, *others)
        await self._upload([blob.digest])
        return blob

    async def put(self, data: bytes) -> Blob:
        """Store bytes."""
        blob = await super().put(data)
        await self._upload([blob.digest])
        return blob

    def take_in(
        self,
        intake: Intake,
        source: BinaryIO,
        limit: int | None,
        *others: Hasher,
        expected: Blob | None = None,
    ) -> Blob:
        """Write a copy of what can be read from an open file; it is no blob before ``settle``."""
        blob = super().take_in(intake, source, limit, *others, expected=expected)
        intake.digests.add(blob.digest)
        return blob

    async def settle(self, intake: Intake) -> None:
        """Flush what was taken in, give it its names, and upload it."""
        await super().settle(intake)
        await self._upload(intake.digests)

    async def renew(self, blobs: Collection[Blob]) -> set[Blob]:
        """Begin the grace time of blobs anew; those that are not in the cache count as gone."""
        found = await super().renew(blobs)
        await self._upload([blob.digest for blob in found])
        return found

    async def _upload(self, digests: Collection[str]) -> None:
        """Have the object store keep blobs that are on the local disk.

        Raises
        ------
        ObjectStoreUnavailable
            It does not answer.
        """
        await self._for_each(self._upload_one, digests)
        await asyncio.to_thread(self._make_room)

    def _upload_one(self, digest: str) -> None:
        with self._lock:
            since = self._clock() - self.grace_seconds / 2
            # What was there a while ago may be in the trash by now.
            if self._uploaded.get(digest, since) > since:
                return
            # A number, as others may do the same.
            self._uploading[digest] += 1
        try:
            if digest in self._damaged or not self._objects.has(digest):
                path = self.path(digest)
                if not path.exists():
                    raise DamagedBlob(digest, "its file is missing")
                self._objects.put(digest, path)
                self._damaged.discard(digest)
            self._note_uploaded(digest)
        finally:
            with self._lock:
                self._uploading -= Counter([digest])

    def _note_uploaded(self, digest: str) -> None:
        with self._lock:
            self._uploaded[digest] = self._clock()

    def _upload_all(self) -> None:
        """Upload what was stored before there was an object store, or another one."""
        mark, data = self.data_dir / UPLOADED, f"{self._objects.url}\n".encode()
        paths = self._blob_files()
        self._cached_bytes = sum(_size(path) for path in paths)
        if mark.exists() and mark.read_bytes() == data:
            return
        there = {each.digest for each in self._objects.blobs()} if paths else set()
        missing = [path.name for path in paths if path.name not in there]
        if missing:
            self.log.info("uploading %d blobs to %s", len(missing), self._objects.url)
            missing = [each for each in missing if not self._lacks(each)]
        for _ in self._map(self._upload_one, missing):
            pass
        write_atomic(mark, data)

    # --- reading -----------------------------------------------------------------------------

    async def hold(self, digests: Collection[str]) -> LocalBlobs:
        """Return blobs as files, which are downloaded where they are missing or damaged.

        Raises
        ------
        DamagedBlob
            The object store has not got it either, or something else under its name.
        ObjectStoreUnavailable
            It does not answer, and a blob is not in the cache.
        """
        # From now on, so that nothing goes between the look at the files and the answer.
        held = self._hold(dict.fromkeys(digests, Stamp(0, 0, 0, 0)))
        missing = await asyncio.to_thread(lambda: [each for each in digests if self._lacks(each)])
        if missing:
            intake = Intake()
            try:
                await self._for_each(partial(self._download, intake), missing)
            finally:
                await asyncio.to_thread(self._flush_names, intake)
            await asyncio.to_thread(self._make_room)
        found = self._hold(await self.verify(digests))
        del held
        return found

    def _hold(self, stamps: dict[str, Stamp]) -> LocalBlobs:
        blobs = LocalBlobs(self.folder, stamps)
        with self._lock:
            self._held[next(self._hold_numbers)] = blobs
        return blobs

    def _lacks(self, digest: str) -> bool:
        try:
            self._verify(digest)
        except DamagedBlob:
            return True
        return False

    def _download(self, intake: Intake, digest: str) -> None:
        temporary, blob = self._copy_in(self._objects.pieces(digest), None)
        try:
            if blob.digest != digest:
                reason = "the object store has something else under its name"
                self.log.error("%s", DamagedBlob(digest, reason))
                self._damaged.add(digest)
                raise DamagedBlob(digest, reason)
            self._place(temporary, digest, intake)
        finally:
            self._drop(temporary)
        self._note_uploaded(digest)

    def _place(self, temporary: str, digest: str, intake: Intake | None = None) -> None:
        super()._place(temporary, digest, intake)
        with self._lock:
            self._cached_bytes += _size(self.path(digest))

    def _blob_files(self) -> list[Path]:
        return [path for path in self._all_files() if len(path.name) == _DIGEST_LENGTH]

    # --- what goes ---------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Remove what was used least recently from the cache, where there is too much in it."""
        is_short = self.is_disk_short()
        if not is_short and not (self.cache_bytes and self._cached_bytes > self.cache_bytes):
            return
        if not self._making_room.acquire(blocking=False):
            return
        try:
            # It is tried again with the next blob.
            with contextlib.suppress(ObjectStoreUnavailable):
                self._remove_least_recent(0.0 if is_short else self.cache_bytes * _FILLED)
        finally:
            self._making_room.release()

    def _remove_least_recent(self, wanted: float) -> None:
        paths = self._blob_files()
        total = sum(_size(path) for path in paths)
        with self._lock:
            last_used = {digest: number for number, digest in enumerate(self._stamps)}
        before = total
        for path in sorted(paths, key=lambda path: last_used.get(path.name, -1)):
            if total <= wanted:
                break
            size = _size(path)
            if self._evict(path):
                total -= size
        with self._lock:
            self._cached_bytes = total
        self.log.info("removed %d bytes of %d from the cache of blobs", before - total, before)

    def _evict(self, path: Path) -> bool:
        digest = path.name
        if self._is_held(digest):
            return False
        # Nothing goes that is nowhere else.
        self._upload_one(digest)
        with self._lock:
            if self._is_held(digest) or self._uploading[digest]:
                return False
            path.unlink(missing_ok=True)
            self._stamps.pop(digest, None)
        return True

    def _is_held(self, digest: str) -> bool:
        return any(digest in blobs.stamps for blobs in list(self._held.values()))

    def _collect(self, referenced: frozenset[str]) -> int:
        since = self._clock() - self.grace_seconds
        if self._started > since:
            return 0
        for path in self._find_unused(referenced)[0]:
            self._drop_unused(path, since)
        # Of before there was an object store.
        self._sort_trash(referenced)
        moved = 0
        # The next search finds as much.
        with contextlib.suppress(ObjectStoreUnavailable):
            moved = self._collect_objects(referenced, since)
        self._forget_renewed(since)
        with self._lock:
            self._uploaded = {name: at for name, at in self._uploaded.items() if at > since}
        self._make_room()
        return moved

    def _drop_unused(self, path: Path, since: float) -> None:
        """Remove a blob that nothing refers to from the cache; the object store has a trash."""
        with self._lock:
            if self._renewed.get(path.name, since) <= since and not self._is_held(path.name):
                path.unlink(missing_ok=True)
                self._stamps.pop(path.name, None)

    def _collect_objects(self, referenced: frozenset[str], since: float) -> int:
        blobs = list(self._objects.blobs())
        unused = [
            each
            for each in blobs
            if each.digest not in referenced
            and each.age >= self.grace_seconds
            and self._renewed.get(each.digest, since) <= since
        ]
        if self._is_large_share(len(unused), len(blobs)):
            unused = []
        for _ in self._map(self._put_into_trash, unused):
            pass
        if unused:
            self.log.info(
                "moved %d blobs that nothing refers to into the trash of the object store",
                len(unused),
            )
        self._sort_trashed_objects(referenced, {each.digest for each in blobs})
        return len(unused)

    def _put_into_trash(self, blob: StoredObject) -> None:
        with self._lock:
            self._uploaded.pop(blob.digest, None)
        self._objects.put_into_trash(blob)

    def _sort_trashed_objects(self, referenced: frozenset[str], there: set[str]) -> None:
        # Longer than from the upload of a blob to the row that names it, at any server.
        seconds = max(self.trash_seconds, self.grace_seconds)
        trash = list(self._objects.trash())
        for digest in {each.digest for each in trash} & (referenced - there):
            self._objects.take_back(digest)
        self._objects.delete([each for each in trash if each.age >= seconds])

    # --- many at a time ----------------------------------------------------------------------

    async def _for_each(self, work: Callable[[str], object], digests: Collection[str]) -> None:
        await asyncio.to_thread(lambda: [None for _ in self._map(work, sorted(digests))])

    def _map(self, work: Callable[[Any], T], items: Iterable[Any]) -> Iterable[T]:
        if self._threads is None:
            raise RuntimeError("The blob store is not open: call open() first.")
        return self._threads.map(work, items)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
