"""Content-addressed files: one for each content, whole, and gone when nothing refers to them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import time
from pathlib import Path

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import Blob, BlobStore
from jupyter_mlsvc_server.storage.database import Database


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(data_dir=tmp_path, grace_seconds=100)


def stored(blobs: BlobStore) -> list[str]:
    return sorted(path.name for path in blobs.folder.rglob("*") if path.is_file())


def make_old(blobs: BlobStore, digest: str) -> None:
    os.utime(blobs.path(digest), (time.time() - 200,) * 2)


async def test_a_blob_is_named_by_its_content(blobs: BlobStore, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    (tmp_path / "file").write_bytes(b"content")
    assert await blobs.put(b"content") == (digest, 7)
    assert await blobs.ingest_copy(io.BytesIO(b"content")) == (digest, 7)
    assert await blobs.ingest(tmp_path / "file") == (digest, 7)
    assert not (tmp_path / "file").exists()
    assert stored(blobs) == [digest]
    assert blobs.path(digest).read_bytes() == b"content"
    assert blobs.path(digest).parent.name == digest[:2]


def never_written() -> int:
    """Count bytes of files that this process deleted before they reached the disk."""
    counts = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in counts if line.startswith("cancelled")).split()[1])


@pytest.mark.usefixtures("tells_of_changes")
async def test_what_is_there_already_does_not_reach_the_disk_again(
    blobs: BlobStore, tmp_path: Path
) -> None:
    content = bytes(1_000_000)
    digest, size = await blobs.put(content)
    (tmp_path / "file").write_bytes(content)
    before = never_written()
    await blobs.ingest(tmp_path / "file")
    await blobs.ingest_copy(io.BytesIO(content))
    assert never_written() - before >= 2 * size
    assert stored(blobs) == [digest]


async def test_blobs_are_for_the_server_only_and_not_written_again(blobs: BlobStore) -> None:
    digest, _ = await blobs.put(b"")
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o400
    assert stat.S_IMODE(blobs.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("digest", ["../../secret.key", "ab", "", "A" * 64, "0" * 63 + "/"])
def test_only_digests_name_files(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(ValueError, match="is no SHA-256"):
        blobs.path(digest)


async def test_links_and_pipes_are_not_taken_in(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing"):
        with pytest.raises(OSError):  # noqa: PT011  # whichever the system answers
            await blobs.ingest(tmp_path / name)
    assert stored(blobs) == []


async def test_too_much_is_not_stored(blobs: BlobStore) -> None:
    with pytest.raises(OverflowError):
        await blobs.ingest_copy(io.BytesIO(b"x" * 11), limit=10)
    assert stored(blobs) == []
    assert (await blobs.ingest_copy(io.BytesIO(b"x" * 10), limit=10)).size == 10


async def test_a_blob_that_was_cut_is_replaced(blobs: BlobStore) -> None:
    digest, _ = await blobs.put(b"content")
    blobs.path(digest).chmod(0o600)
    blobs.path(digest).write_bytes(b"con")
    await blobs.put(b"content")
    assert blobs.path(digest).read_bytes() == b"content"


async def test_what_nothing_refers_to_goes_after_its_time_of_grace(blobs: BlobStore) -> None:
    used, _ = await blobs.put(b"used")
    unused, _ = await blobs.put(b"unused")
    young, _ = await blobs.put(b"young")
    make_old(blobs, used)
    make_old(blobs, unused)
    assert await blobs.delete_unreferenced({used}) == 1
    assert stored(blobs) == sorted([used, young])


async def test_storing_it_again_renews_the_time_of_grace(blobs: BlobStore) -> None:
    digest, _ = await blobs.put(b"content")
    make_old(blobs, digest)
    await blobs.put(b"content")
    assert await blobs.delete_unreferenced(set()) == 0
    assert stored(blobs) == [digest]


async def test_renewing_tells_what_is_there_and_begins_its_time_of_grace_anew(
    blobs: BlobStore,
) -> None:
    whole, cut = await blobs.put(b"content"), await blobs.put(b"another")
    make_old(blobs, whole.digest)
    missing = Blob("0" * 64, 7)
    assert await blobs.renew([whole, Blob(cut.digest, 8), missing]) == {whole}
    assert await blobs.delete_unreferenced(set()) == 0


async def test_another_hash_gets_the_same_bytes(blobs: BlobStore, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "file").write_bytes(content)
    await blobs.ingest(tmp_path / "file", other := hashlib.md5())
    assert other.digest() == hashlib.md5(content).digest()


async def test_what_a_killed_writer_left_goes_as_well(blobs: BlobStore) -> None:
    await blobs.put(b"content")
    left = blobs.folder / ".new-abc"
    left.write_text("half")
    os.utime(left, (0, 0))
    assert await blobs.delete_unreferenced(set()) == 1
    assert not left.exists()


async def test_an_empty_store_has_nothing_to_delete(blobs: BlobStore) -> None:
    assert await blobs.delete_unreferenced(set()) == 0


@pytest.mark.parametrize("interval", [0, 0.02])
async def test_collect_interval_searches_for_what_nobody_has(
    tmp_path: Path, interval: float
) -> None:
    blobs = BlobStore(data_dir=tmp_path, grace_seconds=0)
    database = Database(data_dir=tmp_path)
    snapshots = SnapshotManager(
        database=database,
        blobs=blobs,
        data_dir=tmp_path,
        config=Config({"SnapshotManager": {"collect_interval": interval}}),
    )
    await database.start()
    await snapshots.start()
    try:
        await blobs.put(b"nobody has this")
        if not interval:
            await asyncio.sleep(0.1)
            assert stored(blobs)
        async with asyncio.timeout(20):
            while interval and stored(blobs):  # noqa: ASYNC110 - files set no event
                await asyncio.sleep(0.01)
    finally:
        await snapshots.stop()
        await database.stop()
