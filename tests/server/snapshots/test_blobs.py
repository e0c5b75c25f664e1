"""Content-addressed files: one for each content, whole, and gone when nothing refers to them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server.formats.blobs import CheckedBlobs, DamagedBlob
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.blobs import BlobStore, Intake
from jupyter_mlsvc_server.storage.copying import Blob
from jupyter_mlsvc_server.storage.database import Database


class Clock:
    """Says what time it is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(tmp_path: Path, clock: Clock) -> BlobStore:
    """A store that has been open for longer than its time of grace."""
    store = BlobStore(data_dir=tmp_path, grace_seconds=100, clock=clock)
    clock.now = 1000
    return store


def stored(blobs: BlobStore) -> list[str]:
    return sorted(path.name for path in blobs.folder.rglob("*") if path.is_file())


def make_old(path: Path, seconds: float = 200) -> None:
    """Set the time that a file is counted from."""
    os.utime(path, (time.time() - seconds,) * 2)


def in_trash(blobs: BlobStore) -> list[str]:
    return sorted(path.name for path in (blobs.folder / "trash").glob("*"))


def overwrite(path: Path, content: bytes) -> None:
    """Change a file in place."""
    path.chmod(0o600)
    path.write_bytes(content)


async def copied(blobs: BlobStore, content: bytes, limit: int | None = None) -> Blob:
    """Take in one blob from an open file."""
    intake = Intake()
    try:
        blob = blobs.take_in(intake, io.BytesIO(content), limit)
        await blobs.settle(intake)
    finally:
        await blobs.give_up(intake)
    return blob


async def test_a_blob_is_named_by_its_content(blobs: BlobStore, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    (tmp_path / "file").write_bytes(b"content")
    assert await blobs.put(b"content") == (digest, 7)
    assert await copied(blobs, b"content") == (digest, 7)
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
    await copied(blobs, content)
    assert never_written() - before >= 2 * size
    assert stored(blobs) == [digest]


class Dripping(io.BytesIO):
    """Gives fewer bytes at a time than it is asked for, as some files do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 30_000))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
async def test_files_of_any_size_are_taken_in_whole(blobs: BlobStore, size: int) -> None:
    content, other, intake = os.urandom(size), hashlib.md5(usedforsecurity=False), Intake()
    blob = blobs.take_in(intake, Dripping(content), None, other)
    assert blob == (hashlib.sha256(content).hexdigest(), size)
    assert other.digest() == hashlib.md5(content, usedforsecurity=False).digest()
    await blobs.settle(intake)
    assert blobs.path(blob.digest).read_bytes() == content
    assert stored(blobs) == [blob.digest]


async def test_small_files_that_are_there_already_are_not_written(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"in a snapshot already"
    await blobs.put(content)
    intake = Intake()
    first = blobs.take_in(intake, io.BytesIO(b"twice in this one"), None)
    monkeypatch.setattr("jupyter_mlsvc_server.storage.blobs.write_all", None)
    blobs.take_in(intake, io.BytesIO(content), None)
    blobs.take_in(intake, io.BytesIO(b"twice in this one"), None)
    assert list(intake.written) == [first.digest]
    await blobs.give_up(intake)
    assert stored(blobs) == [hashlib.sha256(content).hexdigest()]


async def test_a_file_that_finds_no_room_leaves_nothing(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jupyter_mlsvc_server.storage.blobs.write_all", fill)
    with pytest.raises(OSError, match="No space left"):
        await copied(blobs, b"content")
    assert stored(blobs) == []


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
        await copied(blobs, b"x" * 11, limit=10)
    assert stored(blobs) == []
    assert (await copied(blobs, b"x" * 10, limit=10)).size == 10


def cut(path: Path) -> None:
    overwrite(path, b"con")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    overwrite(path, bytes(content))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_link(path: Path) -> None:
    path.unlink()
    (path.parent / "other").write_bytes(b"content")
    path.symlink_to("other")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "its content is not what it was"),
    "flipped": (flip, "its content is not what it was"),
    "missing": (Path.unlink, "its file is missing"),
    "folder": (make_folder, "it is no regular file"),
    "link": (make_link, "it is no regular file"),
}


@pytest.mark.parametrize("kind", DAMAGES)
async def test_a_damaged_blob_is_refused_and_replaced_by_good_content(
    blobs: BlobStore, kind: str
) -> None:
    digest, _ = await blobs.put(b"content")
    assert await blobs.verify([digest])
    damage, reason = DAMAGES[kind]
    damage(blobs.path(digest))
    with pytest.raises(DamagedBlob, match=f"{digest} is damaged.*{reason}"):
        await blobs.verify([digest])
    assert await blobs.renew([Blob(digest, 7)]) == set()
    await blobs.put(b"content")
    assert await blobs.verify([digest])
    assert blobs.path(digest).read_bytes() == b"content"


async def test_another_server_finds_what_was_damaged_while_none_ran(
    blobs: BlobStore, tmp_path: Path
) -> None:
    digest, _ = await blobs.put(b"content")
    await blobs.close()
    flip(blobs.path(digest))
    other = BlobStore(data_dir=tmp_path)
    await other.open()
    with pytest.raises(DamagedBlob):
        await other.verify([digest])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The blobs that are read to check them."""
    names: list[str] = []

    def digest_of(file: BinaryIO, name: str) -> Any:
        names.append(file.name)
        return hashlib.new(name, file.read())

    monkeypatch.setattr("jupyter_mlsvc_server.formats.blobs.hashlib.file_digest", digest_of)
    return names


async def test_the_next_run_reads_no_blob_that_was_checked(
    blobs: BlobStore, tmp_path: Path, read: list[str]
) -> None:
    digest, _ = await blobs.put(b"content")
    await blobs.close()
    other = BlobStore(data_dir=tmp_path)
    await other.open()
    await other.verify([digest])
    assert read == []
    # It is killed, and leaves no word of what it has checked.
    other = BlobStore(data_dir=tmp_path)
    await other.open()
    await other.verify([digest])
    assert len(read) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": [1]}'])
async def test_what_a_run_left_and_cannot_be_read_is_passed_over(
    blobs: BlobStore, tmp_path: Path, read: list[str], content: bytes
) -> None:
    digest, _ = await blobs.put(b"content")
    await blobs.close()
    (tmp_path / "checked-blobs.json").write_bytes(content)
    other = BlobStore(data_dir=tmp_path)
    await other.open()
    await other.verify([digest])
    assert len(read) == 1


async def test_a_blob_is_read_again_only_when_it_has_changed(
    blobs: BlobStore, tmp_path: Path, read: list[str]
) -> None:
    digest, _ = await blobs.put(b"content")
    await blobs.verify([digest])
    assert read == []  # it was hashed when it was written
    other = BlobStore(data_dir=tmp_path)
    stamps = await other.verify([digest])
    await other.verify([digest])
    assert len(read) == 1
    there = CheckedBlobs(blobs.folder, stamps)
    assert there.path(digest) == blobs.path(digest)
    assert len(read) == 1
    os.utime(blobs.path(digest))
    there.path(digest)
    there.path(digest)
    assert len(read) == 2
    flip(blobs.path(digest))
    with pytest.raises(DamagedBlob):
        there.path(digest)


async def test_what_nothing_refers_to_goes_after_its_time_of_grace(
    blobs: BlobStore, clock: Clock
) -> None:
    used, _ = await blobs.put(b"used")
    unused, _ = await blobs.put(b"unused")
    young, _ = await blobs.put(b"young")
    make_old(blobs.path(used))
    make_old(blobs.path(unused))
    clock.now += 200
    assert await blobs.collect({used}) == 1
    assert in_trash(blobs) == [unused]
    assert sorted(set(stored(blobs)) - {unused}) == sorted([used, young])


async def test_nothing_is_collected_in_the_first_time_after_a_start(tmp_path: Path) -> None:
    clock = Clock()
    blobs = BlobStore(data_dir=tmp_path, grace_seconds=100, clock=clock)
    digest, _ = await blobs.put(b"content")
    make_old(blobs.path(digest))
    clock.now = 99
    assert await blobs.collect(()) == 0
    clock.now = 100
    assert await blobs.collect(()) == 1


async def test_what_finds_no_room_in_the_trash_stays(
    blobs: BlobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, _ = await blobs.put(b"content")
    make_old(blobs.path(digest))
    clock.now += 200

    def rename(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        assert await blobs.collect(()) == 0
    assert blobs.path(digest).exists()
    make_old(blobs.path(digest))
    assert await blobs.collect(()) == 1


async def test_the_trash_is_emptied_after_days(blobs: BlobStore, clock: Clock) -> None:
    first, second = [(await blobs.put(data)).digest for data in (b"first", b"second")]
    for digest in (first, second):
        make_old(blobs.path(digest))
    clock.now += 200
    await blobs.collect(())
    make_old(blobs.folder / "trash" / first, blobs.trash_seconds + 1)
    await blobs.collect(())
    assert in_trash(blobs) == [second]


async def test_the_trash_is_emptied_while_the_disk_is_short_the_oldest_first(
    tmp_path: Path, clock: Clock
) -> None:
    blobs = BlobStore(
        data_dir=tmp_path, grace_seconds=100, clock=clock, is_disk_short=lambda: len(trash()) > 1
    )

    def trash() -> list[str]:
        return in_trash(blobs) if is_full else []

    is_full = False
    clock.now = 1000
    digests = [(await blobs.put(data)).digest for data in (b"one", b"two", b"three")]
    for digest in digests:
        make_old(blobs.path(digest))
    clock.now += 200
    await blobs.collect(())
    assert in_trash(blobs) == sorted(digests)
    for age, digest in zip((30, 90, 60), digests, strict=True):
        make_old(blobs.folder / "trash" / digest, age)
    is_full = True
    await blobs.collect(())
    assert in_trash(blobs) == [digests[0]]


async def test_what_is_needed_again_is_taken_back_out_of_the_trash(
    blobs: BlobStore, clock: Clock
) -> None:
    digests = [(await blobs.put(data)).digest for data in (b"one", b"two", b"three")]
    for digest in digests:
        make_old(blobs.path(digest))
    clock.now += 200
    await blobs.collect(())
    assert in_trash(blobs) == sorted(digests)
    one, two, three = digests
    assert await blobs.verify([one])  # by who uses it
    assert await blobs.put(b"two") == (two, 3)  # by who stores it
    clock.now += 1000
    await blobs.collect(digests)  # because the database refers to it
    assert in_trash(blobs) == []
    assert all(map(os.path.exists, map(blobs.path, (one, two, three))))


async def test_a_large_share_is_left_for_a_day_with_a_warning(
    blobs: BlobStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    digests = [(await blobs.put(b"%d" % number)).digest for number in range(120)]
    for digest in digests:
        make_old(blobs.path(digest))
    clock.now += 200
    blobs.max_collected_share = 0.5
    assert await blobs.collect(digests[:60]) == 60
    assert await blobs.collect(()) == 0
    assert "60 of 60 blobs are referred to by nothing in the database" in caplog.text
    clock.now += blobs.large_share_seconds - 1
    assert await blobs.collect(()) == 0
    clock.now += 1
    assert await blobs.collect(()) == 60


async def test_storing_it_again_renews_the_time_of_grace(blobs: BlobStore) -> None:
    digest, _ = await blobs.put(b"content")
    make_old(blobs.path(digest))
    await blobs.put(b"content")
    assert await blobs.collect(set()) == 0
    assert stored(blobs) == [digest]


async def test_renewing_tells_what_is_there_and_begins_its_time_of_grace_anew(
    blobs: BlobStore,
) -> None:
    whole, short = await blobs.put(b"content"), await blobs.put(b"another")
    make_old(blobs.path(whole.digest))
    missing = Blob("0" * 64, 7)
    assert await blobs.renew([whole, Blob(short.digest, 8), missing]) == {whole}
    assert await blobs.collect(set()) == 0


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
    assert await blobs.collect(set()) == 0
    assert not left.exists()


async def test_an_empty_store_has_nothing_to_delete(blobs: BlobStore) -> None:
    assert await blobs.collect(set()) == 0


@pytest.mark.parametrize("interval", [0, 0.02])
async def test_collect_interval_searches_for_what_nobody_has(
    tmp_path: Path, interval: float
) -> None:
    blobs = BlobStore(data_dir=tmp_path, grace_seconds=0, trash_seconds=0)
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
        async with asyncio.timeout(60):
            while interval and stored(blobs):  # noqa: ASYNC110 - files set no event
                await asyncio.sleep(0.01)
    finally:
        await snapshots.stop()
        await database.stop()
