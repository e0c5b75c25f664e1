"""Blobs of several servers in one object store, and the cache that each has of it."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.formats.blobs import DamagedBlob
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob
from jupyter_mlsvc_server.storage.installation import ID_FILE
from jupyter_mlsvc_server.storage.machine_faults import ObjectStoreUnavailable
from jupyter_mlsvc_server.storage.object_store import ObjectStore, UnusableObjectStore
from jupyter_mlsvc_server.storage.shared_blobs import SharedBlobStore, make_blob_store

obstore = pytest.importorskip("obstore", reason="pip install obstore")

LOG = logging.getLogger("test")
GRACE = 100.0
WEEK = 7 * 86400.0


class Bucket:
    """An object store in memory, whose time can be set and which can be out of reach."""

    def __init__(self) -> None:
        self.store = obstore.store.MemoryStore()
        self.passed = 0.0
        self.is_out = False

    def opened(self) -> ObjectStore:
        return _Objects(self)

    def put(self, path: str, data: bytes) -> None:
        obstore.put(self.store, path, data)

    def paths(self, folder: str) -> list[str]:
        found = [each["path"] for some in obstore.list(self.store, folder) for each in some]
        return sorted(path.split("/")[2 if folder == "blobs" else 1] for path in found)

    def later(self, seconds: float) -> None:
        """Let time pass for the objects that are there."""
        self.passed += seconds


class _Objects(ObjectStore):
    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket.store, "memory:///", LOG, clock=lambda: time.time() + bucket.passed)
        self._bucket = bucket

    def _answering(self) -> Any:
        if self._bucket.is_out:
            raise ObjectStoreUnavailable
        return super()._answering()


OpenServer = Callable[..., Awaitable[SharedBlobStore]]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
async def server(tmp_path: Path, bucket: Bucket) -> AsyncIterator[OpenServer]:
    """Opens the blob store of a server, by its name."""
    opened = []

    async def open_one(name: str, **settings: Any) -> SharedBlobStore:
        data_dir = tmp_path / name
        data_dir.mkdir(exist_ok=True)
        (data_dir / ID_FILE).write_text("installation\n")
        times = iter(range(0, 10**9, 1000))
        blobs = SharedBlobStore(
            objects=bucket.opened(),
            data_dir=data_dir,
            grace_seconds=GRACE,
            # It has always run for longer than the time of grace.
            clock=lambda: float(next(times)),
            **settings,
        )
        await blobs.open()
        opened.append(blobs)
        return blobs

    yield open_one
    for blobs in opened:
        await blobs.close()


def files(blobs: SharedBlobStore) -> set[str]:
    return {path.name for path in blobs.folder.rglob("*") if path.is_file()}


def content(size: int, number: int = 0) -> bytes:
    return bytes([number]) * size


async def test_what_one_server_stores_another_reads(server: OpenServer) -> None:
    one, other = await server("one"), await server("other")
    intake = Intake()
    taken = one.take_in(intake, io.BytesIO(b"taken"), None)
    await one.settle(intake)
    put = await one.put(b"")
    (one.folder / "moved").write_bytes(b"moved")
    moved = await one.ingest(one.folder / "moved")
    held = await other.hold([taken.digest, put.digest, moved.digest])
    assert held.path(taken.digest).read_bytes() == b"taken"
    assert held.path(put.digest).read_bytes() == b""
    assert held.path(moved.digest).read_bytes() == b"moved"
    assert held.path(put.digest).is_relative_to(other.folder)
    assert set(held.stamps) == {taken.digest, put.digest, moved.digest}


async def test_large_blobs_come_in_pieces(
    server: OpenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc_server.storage.object_store._PIECE_BYTES", 10)
    data = bytes(range(25))
    blob = await (await server("one")).put(data)
    held = await (await server("other")).hold([blob.digest])
    assert held.path(blob.digest).read_bytes() == data


async def test_nothing_is_stored_where_the_object_store_is_out(
    server: OpenServer, bucket: Bucket
) -> None:
    one, other = await server("one"), await server("other")
    cached = await one.put(b"cached")
    bucket.is_out = True
    intake = Intake()
    one.take_in(intake, io.BytesIO(b"taken"), None)
    with pytest.raises(ObjectStoreUnavailable):
        await one.put(b"new")
    with pytest.raises(ObjectStoreUnavailable):
        await one.settle(intake)
    with pytest.raises(ObjectStoreUnavailable):
        await one.probe()
    with pytest.raises(ObjectStoreUnavailable):
        await other.hold([cached.digest])
    assert (await one.hold([cached.digest])).path(cached.digest).read_bytes() == b"cached"
    bucket.is_out = False
    assert bucket.paths("blobs") == [cached.digest]
    await one.put(b"new")
    await one.probe()


async def test_what_is_not_what_its_name_says_is_not_read(
    server: OpenServer, bucket: Bucket
) -> None:
    one = await server("one")
    digest = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(DamagedBlob, match="it is missing in the object store"):
        await one.hold([digest])
    bucket.put(f"blobs/{digest[:2]}/{digest}", b"wrong")
    with pytest.raises(DamagedBlob, match="the object store has something else under its name"):
        await one.hold([digest])
    assert files(one) == set()
    # Good content takes its place.
    await one.put(b"right")
    held = await (await server("other")).hold([digest])
    assert held.path(digest).read_bytes() == b"right"


async def test_a_damaged_file_of_the_cache_is_downloaded_again(server: OpenServer) -> None:
    one = await server("one")
    blob = await one.put(b"content")
    one.path(blob.digest).chmod(0o600)
    one.path(blob.digest).write_bytes(b"damaged")
    held = await one.hold([blob.digest])
    assert held.path(blob.digest).read_bytes() == b"content"


async def test_the_cache_keeps_its_budget_and_what_is_in_use(server: OpenServer) -> None:
    one = await server("one", cache_bytes=1000)
    used = await one.put(content(400, 1))
    held = await one.hold([used.digest])
    second, third = await one.put(content(300, 2)), await one.put(content(200, 3))
    await one.verify([second.digest])
    assert len(files(one)) == 3
    fourth = await one.put(content(200, 4))
    # The third was used least recently, and what is left is what the cache has room for.
    assert files(one) == {used.digest, second.digest, fourth.digest}
    again = await one.hold([third.digest])
    assert again.path(third.digest).read_bytes() == content(200, 3)
    assert files(one) == {used.digest, third.digest, fourth.digest}
    assert held.path(used.digest).exists()
    del held
    await one.put(content(900, 5))
    assert used.digest not in files(one)
    assert again.path(third.digest).exists()


async def test_nothing_goes_from_the_cache_that_is_nowhere_else(
    server: OpenServer, bucket: Bucket
) -> None:
    one = await server("one", cache_bytes=1000)
    bucket.is_out = True
    with pytest.raises(ObjectStoreUnavailable):
        await one.put(content(800, 1))
    bucket.is_out = False
    first = hashlib.sha256(content(800, 1)).hexdigest()
    assert bucket.paths("blobs") == []
    await one.put(content(800, 2))
    assert first not in files(one)
    assert first in bucket.paths("blobs")


async def test_what_was_stored_before_there_was_an_object_store_is_uploaded(
    server: OpenServer, bucket: Bucket, tmp_path: Path
) -> None:
    whole, damaged = (hashlib.sha256(each).hexdigest() for each in (b"whole", b"damaged"))
    for digest, data in ((whole, b"whole"), (damaged, b"other")):
        path = tmp_path / "one" / "blobs" / digest[:2] / digest
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    await server("one")
    assert bucket.paths("blobs") == [whole]


async def test_an_object_store_of_another_installation_is_refused(
    server: OpenServer, bucket: Bucket
) -> None:
    bucket.put("installation.id", b"another")
    with pytest.raises(UnusableObjectStore, match="a bucket or a prefix of its own"):
        await server("one")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "cannot be used: relative URL without a base. A URL is like s3://"),
        ("s3x://bucket/prefix", "Unable to recognise URL"),
        ("file:///no/such/folder", "cannot be used: "),
    ],
)
def test_a_url_of_no_object_store_is_refused(url: str, why: str) -> None:
    with pytest.raises(UnusableObjectStore) as refused:
        ObjectStore.at(url, LOG)
    assert str(refused.value).startswith(f"The object store {url} (BlobStore.url)")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_to_install_is_said_where_the_library_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UnusableObjectStore, match=r"pip install 'jupyter-mlsvc\[object-store\]'"):
        ObjectStore.at("s3://bucket", LOG)


def test_without_a_url_blobs_are_on_the_disk_alone(tmp_path: Path) -> None:
    local = make_blob_store(data_dir=tmp_path)
    shared = make_blob_store(data_dir=tmp_path, url="memory:///")
    assert [type(local), type(shared)] == [BlobStore, SharedBlobStore]


class TestCollection:
    """Of what no row of the shared database names."""

    async def test_moves_what_is_old_and_unused_to_the_trash_and_deletes_it_later(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one, other = await server("one"), await server("other")
        used, unused = await one.put(b"used"), await one.put(b"unused")
        assert await other.collect({used.digest}) == 0
        bucket.later(GRACE)
        assert await other.collect({used.digest}) == 1
        assert bucket.paths("blobs") == [used.digest]
        assert bucket.paths("trash") == [unused.digest]
        bucket.later(WEEK)
        await one.collect({used.digest})
        assert bucket.paths("trash") == []
        assert bucket.paths("blobs") == [used.digest]

    async def test_waits_for_the_next_time_where_the_object_store_is_out(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one = await server("one")
        await one.put(b"unused")
        bucket.later(GRACE)
        bucket.is_out = True
        assert await one.collect(set()) == 0
        bucket.is_out = False
        assert await one.collect(set()) == 1

    async def test_keeps_nothing_unused_in_the_cache(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one = await server("one")
        blob = await one.put(b"unused")
        os.utime(one.path(blob.digest), (time.time() - 2 * GRACE,) * 2)
        held = await one.hold([blob.digest])
        await one.collect(set())
        assert held.path(blob.digest).exists()
        del held
        await one.collect(set())
        assert files(one) == set()

    async def test_gives_back_what_another_server_came_to_name(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one, other, third = [await server(name) for name in ("one", "other", "third")]
        blob = await one.put(b"old")
        bucket.later(GRACE)
        # The row is written between the other's look at the database and what it does.
        await other.collect(set())
        assert bucket.paths("blobs") == []
        held = await third.hold([blob.digest])
        assert held.path(blob.digest).read_bytes() == b"old"
        assert bucket.paths("blobs") == [blob.digest]
        bucket.later(WEEK)
        await other.collect({blob.digest})
        assert bucket.paths("blobs") == [blob.digest]

    async def test_gives_back_what_is_named_before_it_deletes(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one, other = await server("one"), await server("other")
        blob = await one.put(b"old")
        bucket.later(GRACE)
        await other.collect(set())
        bucket.later(WEEK)
        await one.collect({blob.digest})
        assert bucket.paths("blobs") == [blob.digest]

    async def test_stores_again_what_another_server_has_moved(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one, other = await server("one"), await server("other")
        blob = await one.put(b"content")
        bucket.later(GRACE)
        await other.collect(set())
        assert bucket.paths("blobs") == []
        # In the cache of this one it still is.
        assert await one.renew([Blob(blob.digest, blob.size)]) == {blob}
        assert bucket.paths("blobs") == [blob.digest]

    async def test_never_deletes_the_copy_that_another_server_has_just_made(
        self, server: OpenServer, bucket: Bucket
    ) -> None:
        one = await server("one")
        blob = await one.put(b"content")
        bucket.later(GRACE)
        objects = bucket.opened()
        (stored,) = objects.blobs()
        objects.put_into_trash(stored)
        bucket.later(WEEK)
        seen = list(objects.trash())
        # Meanwhile it came back, and others have moved it anew.
        bucket.opened().take_back(blob.digest)
        (stored,) = objects.blobs()
        bucket.opened().put_into_trash(stored)
        objects.delete(seen)
        assert bucket.paths("trash") == [blob.digest]
